"""Everything that a run folder says may come from a stranger."""

import json
import os
import re
import shutil
import subprocess

import pytest
from board import HOSTILE, Page, gallery_cell, png, record, write_run

from cfbench.errors import StoreError
from cfbench.leaderboard.site import build
from cfbench.records import from_json, read_records

#: Tags that our templates use; anything else came out of a record.
TAGS = set(
    re.findall(
        r"\w+",
        "html head meta link title style body a nav ul li main header h1 h2 h3 p b i em small span section form div "
        "table thead tbody tr th td svg path circle sup details summary ol dl dt dd code pre footer script article "
        "figure figcaption img noscript text title rect g",
    )
)


def hostile_run(folder):
    """Write a run whose every string is hostile, each in every place."""
    records, cells, costs, figures = [], [], [], []
    for evil in HOSTILE:
        records.append(record(metric=evil, attribution=evil, notes=(evil,), unranked=(f"stale: {evil}",), dataset=evil))
        records.append(record(metric=evil, generator=evil, status="failed", reason=evil, view=evil, task=evil))
        records.append(record(value=0.5, attribution=evil, published=evil, key=evil, interval=evil, direction=evil))
        records.append(record(metric=HOSTILE[0], attribution=evil, dataset=HOSTILE[0], view="map"))
        records += [record(metric=evil, attribution=evil, dataset=HOSTILE[0], direction="lower", view="map")]
        skipped = {"status": "skipped", "reason": evil, "dataset": HOSTILE[0]}
        records.append(record(metric=evil, generator="never", attribution=evil, **skipped))
        item = {"id": evil, "patient": evil, "status": evil, "numbers": {evil: evil}, "dataset": evil}
        cell = gallery_cell({"input": evil, evil: evil, "counterfactual": "ok.png"}, **item)
        cells.append(cell | {"task": evil, "generator": evil, "attribution": evil})
        names = {"dataset": evil, "task": evil, "generator": evil, "attribution": evil}
        costs.append(
            {**names, "stages": {evil: {"seconds": evil}}, "weights": {evil: {evil: evil}}, "machines": [evil]}
        )
        figures.append({**names, "figure": evil, "view": evil, "summary": evil, "file": evil, "public": True})
    text = dict.fromkeys(HOSTILE[:15], "1") | {"k": HOSTILE[1]}
    about = {
        "suite": HOSTILE[0],
        "title": HOSTILE[1],
        "description": HOSTILE[2],
        "command": f"cfbench run {HOSTILE[3]}",
    }
    about |= {"plugins": text, "environment": text, "suite_hash": HOSTILE[12], "finished": HOSTILE[1]}
    part = {"use": HOSTILE[0], "params": text, "summary": HOSTILE[1], "citation": HOSTILE[3], "definition": HOSTILE[2]}
    about["components"] = {"attributions": dict.fromkeys(text, part), "generators": {"dae": part}}
    about["metrics"] = dict.fromkeys(text, part | {"barred": HOSTILE[0], "unit": HOSTILE[1]}) | {"auc": part}
    about["datasets"] = dict.fromkeys(text, part)
    write_run(folder, records, about, cells, costs, figures)
    group = {"dataset": HOSTILE[0], "task": "fracture", "view": "map", "metric": HOSTILE[0]}
    names = [f"dae / {evil}" for evil in HOSTILE[:15]]
    pairs = [{"a": names[0], "b": evil, "difference": 0.1, "low": 0, "high": 1, "p": 0.01} for evil in names[1:]]
    ranks = [{**group, "tiers": dict.fromkeys(names, 1), "reasons": {HOSTILE[1]: HOSTILE[2]}, "pairs": pairs}]
    # A row that does not beat a control with a hostile name.
    row, control = f"dae / {HOSTILE[1]}", HOSTILE[16]
    pair = {"a": row, "b": control, "difference": 0, "low": -1, "high": 1, "p": 0.5}
    held = {"tiers": {row: 1}, "reasons": {control: "a sentinel"}, "pairs": [pair]}
    ranks.append({**group, "metric": HOSTILE[1], **held})
    (folder / "ranks.json").write_text(json.dumps(ranks))
    (folder / "gallery" / "ok.png").write_bytes(png())
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the site of a hostile run."""
    tmp = tmp_path_factory.mktemp("hostile")
    return build([hostile_run(tmp / "run")], tmp / "site").parent


def test_hostile_strings_stay_text(site):
    pages = sorted(site.glob("*.html"))
    assert len(pages) > 60
    for path in pages:
        page = Page(path)
        assert set(page.tags) <= TAGS, path.name
        scripts = page.tags.count("script") - page.all("script", "type").count("application/json")
        assert scripts <= 2
        assert page.tags.count("style") == 1
        for tag, name, value in page.attributes:
            assert not name.startswith("on"), (path.name, tag, name)
            assert name != "style"
            if name in ("href", "src"):
                assert re.fullmatch(
                    r"data:,|#[\w-]*|[a-z0-9-]+\.(html|csv|md|tex|json)(#[\w-]+)?|images/[0-9a-f]{24}\.png", value
                )
        invisible = re.findall("[\u202e\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029\ud800-\udfff]", page.source)
        assert not invisible, path.name
    index = Page(site / "index.html")
    assert "{{ 7 * 7 }}" in index.text
    assert HOSTILE[0] in index.text
    assert "no better than <script>document.title" in index.text
    assert index.text.count("pairings were skipped") == 1


def test_nothing_is_written_but_pages_pictures_and_tables(site):
    names = [p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()]
    pattern = r"[a-z0-9-]{1,200}\.(html|csv|md|tex|json)|images/[0-9a-f]{24}\.png"
    assert not [name for name in names if not re.fullmatch(pattern, name)]
    assert names.count("index.html") == 1


def test_huge_strings_are_cut(site):
    for path in site.glob("*.html"):
        assert "x" * 1000 not in path.read_text(), path.name


def test_data_for_scripts_cannot_leave_its_element(site):
    found = re.compile(r'<script type="application/json" id="data">(.*?)</script>')
    blocks = [block for path in site.glob("*.html") for block in found.findall(path.read_text())]
    assert len(blocks) > 1, "cases and pairs"
    assert not set("".join(blocks)) & set("<>&\u2028\u2029")
    assert any(HOSTILE[1] in json.dumps(json.loads(block)) for block in blocks)


@pytest.mark.parametrize(
    "change",
    [
        {"value": "0.9"},
        {"value": 1e400},
        {"value": float("nan")},
        {"low": [1]},
        {"n": 1.5},
        {"n": 10**400},
        {"key": 3},
        {"status": "fine"},
        {"notes": [1]},
        {"cell": {"dataset": "a", "task": None, "generator": None, "attribution": None, "seed": "0"}},
        {"cell": {"dataset": "a", "task": 3, "generator": None, "attribution": None, "seed": 0}},
        {"cost": {"seconds": "<b>", "peak_mb": 0, "host": "", "device": "", "finished": ""}},
        {"cost": {"seconds": 0, "peak_mb": 0, "host": 3, "device": "", "finished": ""}},
        {"more": 1},
    ],
)
def test_records_of_wrong_types_are_refused(change):
    from hashlib import sha256

    content = json.loads(record().to_json()) | change
    fields = {k: v for k, v in content.items() if k not in ("cost", "sha256")}
    content["sha256"] = sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    with pytest.raises(StoreError, match=r"not a cfbench record|digest"):
        from_json(json.dumps(content))


def test_a_changed_record_is_refused(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(record(value=0.5).to_json().replace('"value": 0.5', '"value": 0.9'))
    with pytest.raises(StoreError, match="digest"):
        read_records(path)


def _chromium():
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(_chromium() is None or not os.environ.get("CFBENCH_TEST_BROWSER"), reason="asks for a browser")
def test_nothing_runs_in_a_browser(site, tmp_path):
    """Scripts of a record would call `alert` or fail loudly; ours build the tools, so the page is not just dead."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    pages = [site / "index.html", *sorted(site.glob("cases-*.html"))[:3], *sorted(site.glob("method-*.html"))[:2]]
    pages += [*sorted(site.glob("tradeoffs-*.html"))[:2], *sorted(site.glob("pairs-*.html"))[:1]]
    for path in pages:
        command = [_chromium(), *flags.split(), f"--user-data-dir={tmp_path}", "--dump-dom", f"file://{path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        dom = tmp_path / path.name
        dom.write_text(done.stdout)
        page = Page(dom)
        assert "owned" not in re.search("<title>(.*?)</title>", done.stdout).group(1)
        tools = {"button", "input", "label", "output", "select", "option", "optgroup", "fieldset", "legend"}
        assert set(page.tags) <= TAGS | tools
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        if path.name == "index.html":
            assert "chip" in page.all("button", "class"), "our own script runs"
