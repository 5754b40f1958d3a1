import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from board import Page, record, write_run

from cfbench.errors import StoreError
from cfbench.leaderboard.board import make_boards
from cfbench.leaderboard.published import papers, traps_of
from cfbench.leaderboard.runs import read_runs
from cfbench.leaderboard.site import build

SENTINEL = ("a sentinel: shown, never ranked",)


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a run folder."""
    return lambda *args, name="vcf", **fields: write_run(tmp_path / "runs" / name, *args, **fields)


def board_of(folder):
    (board,) = make_boards(next(read_runs([folder])))
    return board


# The board


def test_a_row_has_its_generators_numbers_beside_its_own(run):
    general = {"task": None, "attribution": None}
    records = [
        record("l1", "reconstruction", 0.1, **general),
        record("l1", "reconstruction", 0.2, **general, generator="lone"),
        record("flip", "counterfactual"),
        record("flip", "counterfactual", generator=None, attribution="retrieval"),
    ]
    board = board_of(run(records))
    assert [line.label for line in board.lines] == ["dae / reflect", "lone", "retrieval"]
    l1, flip = ([head.id for head in board.heads].index(name) for name in ("l1@reconstruction", "flip@counterfactual"))
    reflect, lone, retrieval = (line.cells for line in board.lines)
    assert (reflect[l1].value, reflect[l1].inherited, lone[l1].inherited) == (0.1, True, False)
    assert (lone[flip].status, retrieval[l1].status) == ("absent", "absent")


def test_columns_are_grouped_in_the_order_of_reading_and_of_the_suite(run):
    records = [record(m, "counterfactual") for m in ("ssim", "flip", "l1")]
    records += [record("auc"), record("fid", "sample", task=None, attribution=None), record("auprc", "map")]
    folder = run(records, {"metrics": {"auprc": {"role": "localisation"}}})
    (folder / "suite.json").write_text(json.dumps({"metrics": ["l1", "flip", "ssim"]}))
    heads = board_of(folder).heads
    assert [head.group for head in heads] == [
        "Detection and grading",
        "Generation",
        *["Counterfactuals"] * 3,
        "Localisation",
    ]
    assert [head.column.metric for head in heads[2:5]] == ["l1", "flip", "ssim"]


def test_each_groups_ranked_metrics_are_shown_first_and_others_where_none_is_ranked(run):
    records = [record(m, "counterfactual") for m in ("a", "b", "c")] + [record(m, "map") for m in ("x", "y", "z")]
    records += [record("b", "cycle")]
    folder = run(records)
    rank = {"dataset": "vertebra", "task": "fracture", "view": "counterfactual", "reasons": {}, "pairs": []}
    tiers = [{**rank, "metric": metric, "tiers": {"dae / reflect": 1}} for metric in "bc"]
    (folder / "ranks.json").write_text(json.dumps(tiers))
    shown = [head.id for head in board_of(folder).heads if head.key]
    assert shown == ["b@counterfactual", "c@counterfactual", "x@map", "y@map"]


def test_sentinels_and_published_rows_are_kinds_of_their_own(run, tmp_path):
    records = [
        record("flip", "counterfactual"),
        record("flip", "counterfactual", generator=None, attribution="identity", unranked=SENTINEL),
        record("flip", "counterfactual", generator=None, attribution="blur"),
        record("flip", "counterfactual", 0.83, generator=None, attribution="A paper", published="Atad 2024", n=0),
    ]
    folder = run(records, {"suite": "vcf", "components": {"attributions": {"blur": {"sentinel": True}}}})
    kinds = {line.label: line.kind for line in board_of(folder).lines}
    assert kinds == {"dae / reflect": "method", "A paper": "published", "blur": "sentinel", "identity": "sentinel"}
    page = Page(build([folder], tmp_path / "site"))
    assert page.all("tbody", "data-kind") == ["method", "published", "sentinel"]


def test_marks_of_circular_and_stale_numbers_are_on_the_cell_and_on_the_row(run, tmp_path):
    records = [
        record("flip", "counterfactual", unranked=("circular: judge a has the weights of b", "stale: code changed")),
        record("flip", "counterfactual", attribution="other"),
    ]
    folder = run(records)
    assert [line.tags for line in board_of(folder).lines] == [(), ("circular", "stale")]
    page = Page(build([folder], tmp_path / "site"))
    assert page.source.count("<em>circular</em><em>stale</em>") == 1
    assert page.source.count('<span class="tag warn">circular</span>') == 1
    assert "not ranked: circular: judge a has the weights of b" in page.text


def test_runs_that_nobody_has_checked_are_marked_on_every_row(run, tmp_path):
    folder = run([record("flip", "counterfactual")])
    assert "self-reported</span>" not in build([folder], tmp_path / "a").read_text()
    page = Page(build([folder], tmp_path / "b", unverified=[folder]))
    assert page.source.count("self-reported</span>") == 2
    assert "nobody has made those scores again" in page.text


def test_two_datasets_are_two_boards(run):
    records = [record(dataset=name) for name in ("a", "b")]
    boards = make_boards(next(read_runs([run(records)])))
    assert [(board.dataset, len(board.lines)) for board in boards] == [("a", 1), ("b", 1)]


def test_costs_are_columns_and_the_mean_over_seeds(run, tmp_path):
    cell = {"dataset": "vertebra", "task": "fracture", "generator": "dae", "attribution": "reflect"}
    stages = {"fit": {"seconds": 10.0, "peak_mb": 300.0}, "explain": {"seconds": 2.0, "peak_mb": 500.0}}
    costs = [{**cell, "seed": 0, "stages": stages}, {**cell, "seed": 1, "stages": {"fit": {"seconds": 20.0}}}]
    costs += [
        {**cell, "attribution": "x", "stages": {"fit": {"seconds": "<b>"}}},
        {"dataset": 3},
        {**cell, "stages": 7},
    ]
    folder = run([record("flip", "counterfactual")], costs=costs)
    board = board_of(folder)
    cost = {h.column.metric: board.lines[0].cells[i].value for i, h in enumerate(board.heads) if h.group == "Cost"}
    assert cost == {"fit time": 15.0, "explain time": 2.0, "peak memory": 500.0}
    build([folder], tmp_path / "site")
    assert "10.0 s" in Page(tmp_path / "site" / "method-vcf-dae-reflect.html").text


# Pages


def test_pages_ask_nothing_of_the_network_and_their_policy_names_their_own_code(run, tmp_path):
    import base64
    import hashlib

    build([run([record("flip", "counterfactual")], {"suite": "vcf"})], tmp_path / "site")
    pages = [Page(path) for path in (tmp_path / "site").glob("*.html")]
    assert len(pages) >= 4
    for page in pages:
        links = [value for t, n, value in page.attributes if n in {"href", "src", "action", "data", "srcset"}]
        assert not [link for link in links if re.match(r"(https?:)?//", link)]
        assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|innerHTML|eval\(", page.source)
        (policy,) = [v for v in page.all("meta", "content") if "default-src" in v]
        assert policy.startswith("default-src 'none'; img-src 'self' data:; ")
        assert "unsafe" not in policy
        for tag, rule in (("style", "style-src"), ("script", "script-src")):
            allowed = re.search(rf"{rule} ([^;]*)", policy).group(1).split()
            texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
            hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
            assert allowed == ([f"'sha256-{digest}'" for digest in hashes] or ["'none'"])


def test_every_link_leads_somewhere_and_every_id_is_unique(run, tmp_path):
    records = [record("flip", "counterfactual", attribution=name) for name in ("a b", "a-b", "A B", "é")]
    records += [record("f1", attribution="a b", status="skipped", reason="why")]
    folders = [run(records, {"suite": "one"}, name="1"), run([record()], {"suite": "one"}, name="2")]
    build(folders, tmp_path / "site")
    pages = {path.name: Page(path) for path in (tmp_path / "site").glob("*.html")}
    for page in pages.values():
        ids = [value for _, name, value in page.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        for link in page.all("a", "href"):
            file, _, anchor = link.partition("#")
            if file and not file.endswith(".html"):
                assert (tmp_path / "site" / file).is_file()
                continue
            target = pages[file] if file else page
            assert not anchor or ("id", anchor) in [(n, v) for _, n, v in target.attributes]
    methods = [name for name in pages if name.startswith("method-")]
    assert len(methods) == 5


def test_tables_are_fit_for_screen_readers(run, tmp_path):
    page = Page(build([run([record("flip", "counterfactual"), record()])], tmp_path / "site"))
    assert page.all("html", "lang") == ["en"]
    assert "main" in page.tags
    assert page.all("a", "href")[0] == "#main"
    assert set(page.all("th", "scope")) == {"col", "row", "colgroup"}
    assert page.tags.count("th") == len(page.all("th", "scope"))
    assert page.all("svg", "aria-hidden") == ["true"] * page.tags.count("svg")
    assert page.all("div", "tabindex") == ["0"]
    assert page.all("div", "role") == ["region"]
    assert "higher is better" in page.all("span", "aria-label")


def test_a_number_is_shown_with_its_interval_its_n_and_a_bar_on_the_columns_scale(run, tmp_path):
    records = [record(value=0.2, low=0.0, high=0.4), record(value=0.9, low=0.8, high=1.0, attribution="a")]
    page = Page(build([run(records)], tmp_path / "site"))
    assert "[0.800, 1.000]" in page.text
    assert "n = 20 from 10 patients" in page.text
    assert "0.9; 95 % interval 0.8 to 1 (bootstrap); n = 20 from 10 patients" in page.all("td", "title")
    assert page.all("td", "data-v") == ["0.9", "0.2"]
    drawn = [tuple(map(float, re.fullmatch(r"M(\S+) 5H(\S+)", d).groups())) for d in page.all("path", "d")]
    left, right = 4.0, 84.0
    assert drawn == [(left + 0.8 * 80, right), (left, pytest.approx(left + 0.4 * 80))]
    assert [float(x) for x in page.all("circle", "cx")] == [left + 0.9 * 80, left + 0.2 * 80]


def test_a_papers_numbers_are_as_printed_and_their_traps_are_told_once(run, tmp_path):
    source = "Atad et al., MELBA 2024, Table 4; cut to two digits"
    paper = {"generator": None, "published": source, "n": 0, "low": None, "high": None, "interval": "none"}
    records = [
        record(value=0.891),
        record(value=0.83, attribution="A", **paper),
        record(value=0.82, attribution="B", **paper),
    ]
    page = Page(build([run(records)], tmp_path / "site"))
    assert "<b>0.83</b>" in page.source
    assert "0.830" not in page.source
    assert traps_of(source)
    for trap in traps_of(source):
        assert page.text.count(trap) == 1


def test_reasons_are_footnotes_that_are_told_once(run, tmp_path):
    records = [record(attribution="a")]
    records += [record(attribution=a, status="undefined", reason="no weights; run `x`") for a in "bc"]
    page = Page(build([run(records)], tmp_path / "site"))
    assert page.source.count("<li id=") == page.source.count("no weights; run <code>x</code>") == 1
    assert page.all("a", "href").count("#t1-note-1") == 2
    assert page.text.count("n/a 1") == 2


def test_a_page_has_no_more_footnotes_than_a_person_reads(run, tmp_path):
    records = [record(attribution=str(i), status="failed", reason=f"why {i}") for i in range(500)]
    page = Page(build([run(records)], tmp_path / "site"))
    assert page.source.count("<li id=") == 300
    assert "see the exported records" in page.text


def test_a_page_per_method_tells_how_it_was_made_and_how_to_make_it_again(run, tmp_path):
    about = {
        "suite": "vcf",
        "suite_hash": "0123abcd",
        "commit": "feedbeef",
        "command": "cfbench run suites/vcf.yaml cases=9",
        "environment": {"processor": "A chip", "torch": "2.11"},
        "datasets": {
            "vertebra": {"use": "vertebra-phantom", "version": 1, "fingerprint": "fp/1", "params": {"size": 40}}
        },
        "components": {
            "attributions": {
                "reflect": {"use": "hyperplane", "version": 2, "params": {"probe": "svm", "root": "/home/x"}}
            },
            "generators": {"dae": {"use": "dae", "version": 1, "params": {"channel_mult": [1, 2]}}},
        },
    }
    cell = {"dataset": "vertebra", "task": "fracture", "generator": "dae", "attribution": "reflect", "seed": 0}
    costs = [{**cell, "stages": {}, "weights": {"fit dae": {"dae.safetensors": "ab" * 32}}}]
    folder = run([record("flip", "counterfactual", seed=7)], about, costs=costs)
    suite = {"attributions": {"reflect": {}, "other": {}}, "generators": {"dae": {}, "pca": {}}}
    (folder / "suite.json").write_text(json.dumps(suite))
    build([folder], tmp_path / "site")
    text = Page(tmp_path / "site" / "method-vcf-dae-reflect.html").text
    told = [
        "0123abcd",
        "feedbeef",
        "A chip",
        "fp/1",
        "probe svm",
        "channel_mult 1, 2",
        "size 40",
        "sha256 " + "ab" * 32,
    ]
    told += ["seeds 7", "cfbench run suites/vcf.yaml cases=9 attributions.other=null generators.pca=null"]
    assert not [part for part in told if part not in text]
    assert "/home/x" not in text


def test_means_by_grade_are_those_of_the_stored_scores(run, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    key = f"measure-{'a' * 40}"
    folder = run([record("flip", "counterfactual", key=key)])
    (folder / "scores").mkdir()
    table = {"case": ["a", "b", "c", "d"], "status": ["ok"] * 4, "score": [1.0, 0.5, 0.25, float("nan")]}
    table |= {"grade": [0.0, 0.0, 2.0, 2.0], "target": [2.0, 2.0, 0.0, 0.0]}
    parquet.write_table(pa.table(table), folder / "scores" / f"{key}.parquet")
    build([folder], tmp_path / "site")
    text = Page(tmp_path / "site" / "method-vcf-dae-reflect.html").text
    assert "Mean score grade 0 grade 2 flip counterfactual 0.750 n 2 0.250 n 1" in text


def test_a_metrics_page_has_definition_trap_and_validity(run, tmp_path):
    definition = "Return the share.\n\nMore.\n\nTrap: identity wins."
    about = {"summary": "share flipped", "use": "flip", "version": 3, "definition": definition, "range": [0, None]}
    for tested, barred, word in ((True, "", "passed"), (True, "prefers blur", "barred"), (False, "", "untested")):
        facts = {"suite": "vcf", "metrics": {"flip": {**about, "tested": tested, "barred": barred}}}
        folder = run([record("flip", "counterfactual")], facts, name=word)
        build([folder], tmp_path / word)
        page = Page(tmp_path / word / "metric-flip.html")
        assert f"flip {word}" in page.text
        assert "Definition Return the share. More. Traps identity wins." in page.text
        assert "range 0 to unbounded" in page.text
        assert barred in page.text


def test_published_numbers_have_sources_and_every_row_fills_its_columns(run, tmp_path):
    tables = [table for paper in papers() for table in paper.tables]
    assert len(tables) >= 11
    assert all(len(values) == len(table.metrics) for table in tables for _, values in table.rows)
    assert all(table.traps for table in tables)
    assert len({table.source for table in tables}) == len(tables)
    build([run([record()])], tmp_path / "site")
    text = Page(tmp_path / "site" / "published.html").text
    assert "RetinaMNIST: DAE, SVM 0.83 0.87 0.72 0.31" in text
    assert traps_of("Atad et al., MELBA 2024, Table 40") == ()


def test_two_runs_of_one_suite_get_pages_of_their_own_and_provenance_is_shown(run, tmp_path):
    about = [{"suite": "vcf", "environment": {"torch": f"2.1{i}"}} for i in (1, 2)]
    folders = [run([record(seed=i)], about[i - 1], name=str(i)) for i in (1, 2)]
    index = Page(build(folders, tmp_path / "site"))
    assert {"suite-vcf.html", "suite-vcf-2.html"} <= set(index.all("a", "href"))
    for name, torch in (("suite-vcf.html", "2.11"), ("suite-vcf-2.html", "2.12")):
        assert f"environment.torch {torch}" in Page(tmp_path / "site" / name).text


def test_a_build_is_reproducible_and_leaves_no_temporary_file(run, tmp_path):
    folder = run([record(), record("f1", value=0.3)])
    first = {p.name: p.read_bytes() for p in build([folder], tmp_path / "a").parent.iterdir() if p.is_file()}
    second = {p.name: p.read_bytes() for p in build([folder], tmp_path / "b").parent.iterdir() if p.is_file()}
    assert first == second
    expected = {"index.html", "published.html", "metric-auc.html", "metric-f1.html", "method-vcf-dae-reflect.html"}
    assert set(first) == expected | {f"results-vcf.{form}" for form in ("csv", "json", "md", "tex")}


def test_pages_of_an_earlier_build_go_and_other_files_stay(run, tmp_path):
    folder, site = run([record(), record(attribution="gone")]), tmp_path / "site"
    build([folder], site)
    (site / "mine.html").write_text("not ours")
    (folder / "records.jsonl").write_text(record().to_json() + "\n")
    build([folder], site)
    assert not (site / "method-vcf-dae-gone.html").exists()
    assert (site / "mine.html").exists()


def test_a_page_that_cannot_be_written_leaves_the_old_one_whole(run, tmp_path, monkeypatch):
    folder = run([record()])
    index = build([folder], tmp_path / "site")
    before = index.read_bytes()
    (folder / "records.jsonl").write_text(record(value=0.1).to_json() + "\n")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        build([folder], tmp_path / "site")
    assert index.read_bytes() == before
    assert not list((tmp_path / "site").rglob(".cfbench-*"))


@pytest.mark.parametrize("name", ["run.json", "suite.json", "costs.json"])
@pytest.mark.parametrize("text", ["3", "{", "[" * 100_000])
def test_a_broken_description_is_a_sentence(run, tmp_path, name, text):
    folder = run([record()])
    (folder / name).write_text(text)
    with pytest.raises(StoreError, match=name):
        build([folder], tmp_path / "site")


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path):
    with pytest.raises(StoreError, match="is this the folder of a run"):
        build([tmp_path], tmp_path / "site")


def test_a_run_without_records_is_said_to_have_none(run, tmp_path):
    assert "This run has no records." in Page(build([run([])], tmp_path / "site")).text


def test_importing_the_leaderboard_is_light():
    heavy = "{'torch', 'numpy', 'pandas', 'pyarrow', 'jinja2', 'yaml', 'mlflow'}"
    code = f"import sys, cfbench.leaderboard.site; print(*{heavy} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == ""


def test_a_barred_metric_is_shown_at_first_beside_the_ranked_ones(run):
    names = ("flip", "flip-explained", "measurement-error", "truth-error", "l1")
    why = "flip failed its own test"
    barred = {name: {"tested": True, "barred": why} for name in names[:2]}
    records = [record(n, "counterfactual", unranked=(why,) if n in barred else (), key=n) for n in names]
    folder = run(records, {"suite": "vcf", "metrics": barred})
    group = {"dataset": "vertebra", "task": "fracture", "view": "counterfactual", "reasons": {}}
    ranks = [{**group, "metric": n, "tiers": {"dae / reflect": 1}} for n in names if n not in barred]
    (folder / "ranks.json").write_text(json.dumps(ranks), encoding="utf-8")
    (board,) = make_boards(next(read_runs([folder])))
    shown = [head.column.metric for head in board.heads if head.key and head.group == "Counterfactuals"]
    assert len(shown) == 3
    assert shown[0] == "flip"
    assert not {"flip-explained"} & set(shown)
