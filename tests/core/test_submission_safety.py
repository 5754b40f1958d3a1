"""A bundle from an enemy: it is refused, or shown as the text that it is."""

import io
import json
import os
import re
import shutil
import struct
import subprocess
import zipfile
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pytest
from board import HOSTILE, Page, record
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from test_leaderboard_safety import TAGS

from cfbench.cli.main import cli
from cfbench.cli.verify import check
from cfbench.leaderboard.site import build
from cfbench.records import Cell, records_digest
from cfbench.registry import load
from cfbench.submission import archive, case_scores, strict_json
from cfbench.submission.archive import BundleError, pack, unpack
from cfbench.submission.bundle import read_bundle
from cfbench.submission.case_scores import CaseScores, read_scores, write_scores
from cfbench.submission.checks import check_form
from cfbench.submission.privacy import leads_out, without_paths
from cfbench.submission.schema import SCHEMA, faults_of
from cfbench.submission.show import write_run
from cfbench.submission.strict_json import dumps, loads

KEY = "measure-" + "0123456789" * 4


@pytest.fixture(scope="module")
def registry():
    return load(("mlflow",))


def scores(n=12, **columns):
    values = np.linspace(0.1, 0.9, n)
    names = {"case": [f"c{i}" for i in range(n)], "patient": [f"p{i // 2}" for i in range(n)], "status": ["ok"] * n}
    return CaseScores(**{**names, "score": values, **columns})


def hostile(text="plain", *, suite=None, table=None, evil_key=None):
    """Return the entries of a bundle of good form in which every name and sentence is `text`."""
    from cfbench.statistics import interval_of_mean

    table = table or scores(patient=[text] * 2 + [f"p{i}" for i in range(10)], status=["ok"] * 12)
    bounds = interval_of_mean(table.score, table.patient)
    facts = {"n": len(table), "patients": len(set(table.patient)), "coverage": 1.0, "interval": "bootstrap"}
    number = {"value": float(np.mean(table.score)), "low": bounds.low, "high": bounds.high, **facts}
    cell = {"dataset": text, "task": text, "generator": text, "attribution": text}
    records = [
        record(text, text, key=KEY, suite=text, notes=(text,), unranked=(f"stale: {text}",), **cell, **number),
        record(text, "probe", suite=text, status="failed", reason=text, **cell),
        record(text, "map", 0.5, suite=text, published=text, unranked=(text,), **{**cell, "generator": None}),
    ]
    part = {"use": text, "version": 1, "params": {text: text}, "summary": text, "citation": text, "definition": text}
    metric = {**part, "params": {}, "kind": "case", "range": [0, 1], "worst": None, "unit": text, "barred": text}
    digest = sha256(json.dumps(suite or {"datasets": {text: {"use": text}}}, sort_keys=True).encode()).hexdigest()
    about = {
        "suite": text,
        "title": text,
        "description": text,
        "suite_hash": digest,
        "seeds": [0],
        "cfbench": text[:90],
        "command": text,
        "plugins": {text: text},
        "environment": {text: text},
        "datasets": {text: part},
        "metrics": {text: metric},
        "components": {"attributions": {text: part}, "generators": {text: part}},
    }
    planned = [{"cell": r.cell.__dict__, "metric": r.metric, "view": r.view, "key": r.key} for r in records]
    cost = {**cell, "seed": 0, "stages": {}, "weights": {text: {text: text}}, "machines": [text[:90]]}
    rank = {"dataset": text, "task": text, "view": text, "metric": text}
    row = {"name": text, "sentinel": False, "seeds": [0], "keys": [KEY], "validity": []}
    entries = {
        "run.json": dumps(about),
        "suite.json": dumps(suite or {"datasets": {text: {"use": text}}}),
        "plan.json": dumps(
            {
                "steps": {evil_key or KEY: {"kind": "measure", "label": text, "inputs": {}}},
                "measurements": planned,
                "ranks": [{**rank, "direction": "higher", "range": [0, 1], "floor": "", "rows": [row]}],
            }
        ),
        "costs.json": dumps([cost]),
        "ranks.json": dumps(
            [{**rank, "tiers": {text: 1}, "reasons": {f"no {text}": text}, "pairs": [], "intervals": {}}]
        ),
        "records.jsonl": "".join(f"{r.to_json()}\n" for r in records).encode(),
        f"scores/{KEY}.parquet": write_scores(table),
    }
    return with_manifest(entries, text, digest, records)


def with_manifest(entries, suite, digest, records):
    files = {name: {"sha256": sha256(data).hexdigest(), "bytes": len(data)} for name, data in entries.items()}
    manifest = {
        "format": "cfbench bundle",
        "version": 1,
        "suite": suite,
        "suite_hash": digest,
        "cfbench": "",
        "commit": "",
    }
    manifest |= {"records_digest": records_digest(records), "pseudonymous": [], "redacted": False, "marks": [suite]}
    return {**entries, "bundle.json": dumps({**manifest, "files": files})}


#: What a schema of names lets through: shorter than its limits, and UTF-8.
TEXTS = [text for text in HOSTILE if len(text) <= 200 and "\ud800" not in text]


def write(tmp_path, data, name="b.cfbench.zip"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


# The archive


def zipped(entries, **change):
    """Return an archive that zipfile makes of (name, data) pairs, with fields of its entries changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", change.pop("compression", zipfile.ZIP_STORED)) as file:
        for name, data in entries:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            info.compress_type = file.compression
            for field, value in change.items():
                setattr(info, field, value)
            file.writestr(info, data)
    return out.getvalue()


PLAIN = [(name, b"{}") for name in sorted(["bundle.json", *archive.TEXTS])]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped([*PLAIN, ("../../evil.json", b"x")]), "does not belong"),
        (zipped([*PLAIN, ("/etc/passwd", b"x")]), "does not belong"),
        (zipped([*PLAIN, ("scores/../../x.parquet", b"x")]), "does not belong"),
        (zipped([*PLAIN, ("C:\\x.json", b"x")]), "does not belong"),
        (zipped([*PLAIN, ("scores/", b"")]), "does not belong"),
        (zipped([*PLAIN, ("run.json\n", b"")]), "does not belong"),
        (zipped([*PLAIN, ("verified.json", b"{}")]), "does not belong"),
        (zipped([*PLAIN, ("gallery/x.png", b"x")]), "does not belong"),
        (zipped([*PLAIN[:-1], ("suite.json", b"/etc/passwd")], external_attr=0o120777 << 16), "more than its entries"),
        (zipped(PLAIN, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (zipped(PLAIN, date_time=(2026, 1, 1, 0, 0, 0)), "more than its entries"),
        (zipped(PLAIN, comment=b"hidden"), "more than its entries"),
        (zipped(PLAIN, extra=b"\xfe\xca\x00\x00"), "more than its entries"),
        (zipped(PLAIN[::-1]), "more than its entries"),
        (zipped(PLAIN) + b"appended", "ZIP cannot be read|more than"),
        (b"#!/bin/sh\n" + zipped(PLAIN), "more than its entries"),
        (zipped(PLAIN)[:-30], "ZIP cannot be read"),
        (b"", "ZIP cannot be read"),
        (zipped([(f"scores/measure-{i:040x}.parquet", b"") for i in range(archive.MOST_ENTRIES + 1)]), "entries"),
    ],
)
def test_an_archive_has_one_form(tmp_path, data, words):
    with pytest.raises(BundleError, match=words):
        unpack(write(tmp_path, data))
    assert [path.name for path in tmp_path.iterdir()] == ["b.cfbench.zip"], "nothing is written"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(BundleError, match="twice"):
        unpack(write(tmp_path, zipped([*PLAIN, PLAIN[0]])))


def test_overlapping_entries_are_refused(tmp_path):
    """The bomb of Fifield (2019): many entries of the directory that all point to the same data."""
    data = bytearray(zipped([("costs.json", b"x" * 5000), ("plan.json", b"y" * 5000)]))
    directory = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[directory + 42 : directory + 46] = struct.pack("<I", 0)
    with pytest.raises(BundleError, match="overlaps"):
        unpack(write(tmp_path, bytes(data)))


def test_entries_end_where_the_file_ends(tmp_path):
    data = bytearray(zipped(PLAIN))
    at = data.rindex(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 2**20, 2**20)
    with pytest.raises(BundleError, match="beyond the end"):
        unpack(write(tmp_path, bytes(data)))


def test_claimed_sizes_are_bounded_before_anything_is_read(tmp_path):
    data = bytearray(zipped(PLAIN))
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
    with pytest.raises(BundleError, match="larger than"):
        unpack(write(tmp_path, bytes(data)))


def test_large_files_links_and_devices_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    with pytest.raises(BundleError, match="larger than"):
        unpack(write(tmp_path, b"x" * 1001))
    (tmp_path / "link.zip").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="cannot be opened"):
        unpack(tmp_path / "link.zip")
    os.mkfifo(tmp_path / "fifo.zip")
    with pytest.raises(BundleError, match="not a file"):
        unpack(tmp_path / "fifo.zip")


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_no_damage_is_overlooked(junk, at):
    """Whatever a few bytes become, what is read is what was packed, or nothing."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    data = pack(dict(PLAIN))
    changed = data[:at] + junk + data[at + len(junk) :]
    with TemporaryDirectory() as folder:
        try:
            assert pack(unpack(write(Path(folder), changed))) == changed
        except BundleError:
            assert changed != data


# JSON


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper"),
        (b'"' + b'\\"' * 2_000_000, "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 1e301}', "too large"),
        (b"1" * 5000, "too many digits"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"\\udfff": 1}', "lone surrogate"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'"' + b"x" * 20_001 + b'"', "20001 characters"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
    ],
)
def test_json_out_of_bounds_is_refused(text, words):
    with pytest.raises(BundleError, match=words):
        loads(text, "run.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e200, 1e200) | st.text(max_size=50),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_is_written_is_read_again(value):
    try:
        assert loads(dumps(value), "x") == value
    except BundleError as error:
        assert "nested deeper" in str(error)  # noqa: PT017 - the one reason why generated values may be refused


# Per-case scores


def parquet_of(table, **options):
    out = io.BytesIO()
    parquet.write_table(table, out, **options)
    return out.getvalue()


def columns(n=4, **change):
    plain = {"case": ["a"] * n, "patient": ["p"] * n, "status": ["ok"] * n, "score": [0.5] * n}
    return pa.table({**plain, **change})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PAR1 not really PAR1", "not a table"),
        (b"", "not a table"),
        (parquet_of(columns()).replace(b"PAR1", b"PARE"), "not a table"),
        (parquet_of(columns(extra=[1] * 4)), "expected the columns"),
        (parquet_of(columns().drop_columns(["score"])), "expected the columns"),
        (parquet_of(columns(score=["x"] * 4)), "column score is of type"),
        (parquet_of(columns(case=[b"x"] * 4)), "column case is of type"),
        (parquet_of(columns(case=[["x"]] * 4)), "not a table"),
        (parquet_of(columns(score=[float("inf")] * 4)), "too large"),
        (parquet_of(columns(score=[1e305] * 4)), "too large"),
        (parquet_of(columns(case=["x" * 500] * 4)), "above 400"),
        (parquet_of(columns(case=["x", None, "y", "z"])), "missing name"),
        (parquet_of(columns(0, score=pa.array([], pa.float64()))), "type|lines"),
        (parquet_of(columns(200), row_group_size=2), "100 groups"),
        (parquet_of(columns(1_000_001)), "1000001 lines"),
    ],
)
def test_tables_that_are_no_scores_are_refused(data, words):
    with pytest.raises(BundleError, match=words):
        read_scores(data, "scores/x.parquet")


def test_a_table_that_unfolds_is_not_unfolded():
    """A small file that holds a name of 300 kB 900,000 times: 270 GB, were they written out."""
    import tracemalloc

    bomb = pa.table(dict.fromkeys(("patient", "status"), ["ok"] * 900_000))
    big = pa.DictionaryArray.from_arrays(pa.array(np.zeros(900_000, np.int32)), pa.array(["x" * 300_000]))
    data = parquet_of(bomb.append_column("case", big).append_column("score", pa.array(np.zeros(900_000))))
    assert len(data) < 400_000
    tracemalloc.start()
    with pytest.raises(BundleError, match="above 400"):
        read_scores(data, "x")
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


def test_no_extension_type_is_looked_up():
    """Extension types once made a Parquet file run code (CVE-2023-47248); a bundle's metadata is not even asked."""
    field = pa.field("score", pa.float64(), metadata={b"ARROW:extension:name": b"arrow.py_extension_type"})
    table = columns().drop_columns(["score"]).append_column(field, pa.array([0.5] * 4))
    assert list(read_scores(parquet_of(table), "x").score) == [0.5] * 4


@given(st.lists(st.tuples(st.text(max_size=20), st.floats(-1e9, 1e9) | st.just(float("nan"))), min_size=1, max_size=30))
def test_scores_are_written_and_read_again(lines):
    case = [name for name, _ in lines]
    before = CaseScores(case=case, patient=case, status=["ok"] * len(case), score=np.array([v for _, v in lines]))
    after = read_scores(write_scores(before), "x")
    assert (after.case, after.grade) == (case, None)
    np.testing.assert_array_equal(after.score, before.score)


# Schema


def test_the_schema_is_a_schema_and_knows_every_field():
    from dataclasses import fields

    from jsonschema import Draft202012Validator

    from cfbench.records import Cost, Record

    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    known = {kind: set(schema["$defs"][kind]["properties"]) for kind in ("record", "cell")}
    assert known["record"] == {f.name for f in fields(Record)} | {"sha256"}
    assert known["cell"] == {f.name for f in fields(Cell)}
    assert set(schema["$defs"]["record"]["properties"]["cost"]["properties"]) == {f.name for f in fields(Cost)}


@pytest.mark.parametrize(
    ("entry", "edit"),
    [
        ("records.jsonl", lambda c: c[0].update(value="0.9")),
        ("records.jsonl", lambda c: c[0].update(more=1)),
        ("records.jsonl", lambda c: c[0].update(status="fine")),
        ("records.jsonl", lambda c: c[0].update(coverage=1.5)),
        ("records.jsonl", lambda c: c[0].update(key="measure-../../x")),
        ("records.jsonl", lambda c: c[0].update(reason="x" * 5000)),
        ("records.jsonl", lambda c: c[0]["cell"].update(dataset="x" * 201)),
        ("records.jsonl", lambda c: c[0]["cell"].update(seed=True) or c[0]["cell"].update(seed="0")),
        ("records.jsonl", lambda c: c.clear()),
        ("bundle.json", lambda c: c.update(commit="<script>")),
        ("bundle.json", lambda c: c["files"].update({"../x": {"sha256": "0" * 64, "bytes": 1}})),
        ("bundle.json", lambda c: c.update(version=2)),
        ("run.json", lambda c: c.pop("datasets")),
        ("run.json", lambda c: c["components"].update(commands={})),
        ("suite.json", lambda c: c.update(seeds=3)),
        ("suite.json", lambda c: c.update(datasets=[])),
        ("plan.json", lambda c: c["steps"].update({"no key": {}})),
        ("ranks.json", lambda c: c[0].update(tiers={"a": -1})),
        ("costs.json", lambda c: c[0]["stages"].update(evil={})),
    ],
)
def test_what_does_not_fit_the_schema_is_named(entry, edit):
    entries = hostile()
    content = {n: loads(d, n) for n, d in entries.items() if n.endswith(".json")}
    content["records.jsonl"] = [json.loads(line) for line in entries["records.jsonl"].splitlines()]
    assert faults_of(content) == []
    edit(content[entry])
    found = faults_of(content)
    assert found
    assert all(fault.startswith(entry) and len(fault) < 600 for fault in found)


# Paths


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("/data/mimic", "<path>"),
        ("~/data", "<path>"),
        ("../data", "<path>"),
        ("data/../../etc", "<path>"),
        ("/dev/zero", "<path>"),
        ("file:///etc/passwd", "<path>"),
        (r"C:\Users\x", "<path>"),
        (r"\\server\share", "<path>"),
        ("cfbench run /home/anna/s.yaml datasets.a.root=/data/a", "cfbench run <path> datasets.a.root=<path>"),
        ("it broke (trace: /tmp/jobs/x.log)", "it broke (trace: <path>)"),
        ("vertebra / fracture / dae", "vertebra / fracture / dae"),
        ("https://x.org/a/b", "https://x.org/a/b"),
        ("(s+ > s-) / 2, about ~30 lines", "(s+ > s-) / 2, about ~30 lines"),
        ("data/retina", "data/retina"),
    ],
)
def test_paths_are_taken_out(text, public):
    assert without_paths(text) == public
    assert leads_out(text) == (text != public)
    assert without_paths(public) == public


@pytest.mark.parametrize("root", ["/dev/zero", "/", "~", "../../..", "/proc/self/fd/0", "file:///etc"])
def test_a_suite_may_not_point_to_the_checkers_files(tmp_path, registry, root):
    entries = hostile(suite={"datasets": {"plain": {"use": "image-folder", "root": root}}})
    verdict = check(read_bundle(write(tmp_path, pack(entries))), registry)
    (fault,) = [c for c in verdict.checks if c.status == "fault"]
    assert (fault.name, root in fault.summary) == ("paths", True)
    assert not verdict.numbers, "it is not planned"


def test_a_suite_that_explodes_is_not_planned(tmp_path, registry):
    many = {f"x{i}": {"use": "pca"} for i in range(200)}
    entries = hostile(suite=dict.fromkeys(("datasets", "tasks", "generators", "attributions"), many))
    verdict = check(read_bundle(write(tmp_path, pack(entries))), registry)
    assert "cells" in next(c.summary for c in verdict.checks if c.status == "fault")


# Strings


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_hostile_strings_are_checked_and_stay_text(tmp_path, registry, text):
    """Every name and every sentence is hostile, in a bundle that is otherwise true."""
    path = write(tmp_path, pack(hostile(text)))
    verdict = check(read_bundle(path), registry)
    allowed = {"paths", "suite"} if leads_out(text) else set()
    assert {c.name for c in verdict.checks if c.status == "fault"} <= allowed
    (tmp_path / "cwd").mkdir()
    arguments = ["-p", "no:mlflow", "verify", str(path), "--out", str(tmp_path / "cwd" / "v.json")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exception is None, done.output
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\u2029]", done.output)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["b.cfbench.zip", "v.json"]
    json.loads((tmp_path / "cwd" / "v.json").read_text())


def test_strings_that_are_none_are_refused(tmp_path):
    entries = hostile()
    entries["run.json"] = entries["run.json"].replace(b'"title": "plain"', b'"title": "\\ud800"')
    with pytest.raises(BundleError, match="surrogate"):
        read_bundle(write(tmp_path, pack(entries)))


@pytest.fixture(scope="module")
def site(tmp_path_factory, registry):
    """The site of hostile bundles, one per string, and everything that was written for it."""
    tmp = tmp_path_factory.mktemp("hostile-bundles")
    folders = []
    for number, text in enumerate(TEXTS):
        if not leads_out(text):
            verdict = check(read_bundle(write(tmp, pack(hostile(text)), f"{number}.zip")), registry)
            folders.append(write_run(verdict, tmp / f"run-{number}"))
    return build(folders, tmp / "site", unverified=folders[1:], verified=folders[:1]).parent


def test_a_site_of_hostile_bundles_is_text(site):
    pages = sorted(site.glob("*.html"))
    assert len(pages) > 20
    for path in pages:
        page = Page(path)
        assert set(page.tags) <= TAGS, path.name
        for tag, name, value in page.attributes:
            assert not name.startswith("on"), (path.name, tag, name)
            if name in ("href", "src"):
                assert re.fullmatch(r"data:,|#[\w-]*|[a-z0-9-]+\.(html|csv|md|tex|json)(#[\w-]+)?", value)
        assert not re.search("[\u202e\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029]", page.source), path.name
    assert "self-reported" in (site / "index.html").read_text()


def test_nothing_is_written_outside(site):
    there = {path.relative_to(site.parent).as_posix() for path in site.parent.rglob("*") if path.is_file()}
    runs = r"run-\d+/((run|suite|costs|ranks)\.json|records\.jsonl|scores/measure-[0-9a-f]{40}\.parquet)"
    odd = [p for p in there if not re.fullmatch(rf"\d+\.zip|{runs}|site/[a-z0-9-]{{1,200}}\.(html|csv|md|tex|json)", p)]
    assert not odd


def _chromium():
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(_chromium() is None or not os.environ.get("CFBENCH_TEST_BROWSER"), reason="asks for a browser")
def test_nothing_runs_and_nothing_is_asked_for_in_a_browser(site, tmp_path):
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    pages = [site / "index.html", *sorted(site.glob("suite-*.html"))[:4], *sorted(site.glob("method-*.html"))[:4]]
    for number, path in enumerate(pages):
        log = tmp_path / f"net-{number}.json"
        command = [_chromium(), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}"]
        command += ["--net-log-capture-mode=Everything", "--dump-dom", f"file://{path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "owned" not in re.search("<title>(.*?)</title>", done.stdout).group(1)
        dom = tmp_path / "dom.html"
        dom.write_text(done.stdout)
        page = Page(dom)
        assert set(page.tags) <= TAGS | {"button", "input", "label", "output", "select", "option", "fieldset", "legend"}
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        asked = set(re.findall(r'"(?:url|host)":"([^"]*)"', log.read_text(errors="replace")))
        files = {url for url in asked if url.startswith("file:")}
        assert not [url for url in asked if "evil" in url]
        assert files <= {f"file://{path}"}


def test_a_bundle_cannot_bring_its_own_verdict(tmp_path, registry):
    """Badges come from checks and from verdicts that the builder names, never from inside."""
    entries = hostile()
    with pytest.raises(BundleError, match="does not belong"):
        pack({**entries, "verified.json": b"{}"})
    verdict = check(read_bundle(write(tmp_path, pack(entries))), registry)
    assert all("verified" not in badges for badges in verdict.badges().values())


def test_form_is_checked_before_content(tmp_path):
    entries = hostile()
    entries["run.json"] = entries["run.json"].replace(b'"seeds": [\n  0\n ]', b'"seeds": "none"')
    found = check_form(read_bundle(write(tmp_path, pack(entries))))
    assert [c.status for c in found] == ["fault", "fault"]


def test_limits_are_what_the_docs_say():
    assert (archive.MOST_BYTES, archive.MOST_ENTRY_BYTES, archive.MOST_ENTRIES) == (64 * 2**20, 16 * 2**20, 4000)
    assert (strict_json.DEEPEST, strict_json.LONGEST) == (16, 20_000)
    assert case_scores.MOST_LINES == 1_000_000
