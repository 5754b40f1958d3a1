"""What a table says of ranked rows that no trivial answer has to fear, and of what was skipped altogether."""

import json
from io import StringIO

import numpy as np
import pytest
from board import Page, record, write_run
from rich.console import Console
from scored import draw, scored_run

from cfbench.cli.tables import print_tables
from cfbench.leaderboard.board import make_boards
from cfbench.leaderboard.controls import unbeaten
from cfbench.leaderboard.export import export
from cfbench.leaderboard.ranks import read_ranks
from cfbench.leaderboard.runs import read_runs
from cfbench.leaderboard.site import build

COLUMN = ("vertebra", "fracture", "counterfactual", "l1")
CONTROLS = ("identity", "mean", "truth")


def run_of(folder):
    return next(iter(read_runs([folder])))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a run whose errors are planted: `good` beats the identity, `alike` is its twin, `bad` is worse.

    The `mean` image has the error of the truth, so nobody is held against it by this metric.
    """
    same, noise = draw(1, level=0.5), draw(7, level=0.0, spread=0.02)
    rows = {"good": draw(2, level=0.25), "alike": same + noise - noise.mean(), "bad": draw(3, level=0.9)}
    rows |= {"identity": same, "mean": draw(4, level=0.1), "truth": draw(4, level=0.1)}
    return scored_run(tmp_path_factory.mktemp("controls") / "run", rows, sentinels=CONTROLS)


def test_a_ranked_row_is_held_against_the_controls_that_the_truth_beats(folder):
    ranks = read_ranks(folder)
    assert unbeaten(ranks, COLUMN, "good", "lower") == ()
    (alike,) = unbeaten(ranks, COLUMN, "alike", "lower")
    (bad,) = unbeaten(ranks, COLUMN, "bad", "lower")
    assert (alike.verdict, bad.verdict) == ("no better than identity", "worse than identity")
    assert alike.low < 0 < alike.high
    assert bad.low > 0
    assert bad.difference == pytest.approx(np.mean(draw(3, level=0.9)) - np.mean(draw(1, level=0.5)))


def test_the_direction_decides_who_is_better(folder):
    """Were more better, the truth would beat nothing, and nobody would be held against anything."""
    ranks = read_ranks(folder)
    assert unbeaten(ranks, COLUMN, "good", "higher") == unbeaten(ranks, COLUMN, "bad", "none") == ()


def test_without_a_truth_maps_face_every_control_and_validity_those_that_change_nothing(folder, tmp_path):
    (group,) = json.loads((folder / "ranks.json").read_text())
    del group["reasons"]["truth"]
    group["pairs"] = [pair for pair in group["pairs"] if "truth" not in (pair["a"], pair["b"])]
    (tmp_path / "ranks.json").write_text(json.dumps([group, {**group, "view": "map"}]))
    ranks = read_ranks(tmp_path)
    found = {role: unbeaten(ranks, COLUMN, "good", "lower", role) for role in ("validity", "proximity", "")}
    assert found == {"validity": (), "proximity": (), "": ()}
    assert [one.control for one in unbeaten(ranks, COLUMN, "bad", "lower", "validity")] == ["identity"]
    assert unbeaten(ranks, COLUMN, "bad", "lower", "proximity") == ()
    of_map = ("vertebra", "fracture", "map", "l1")
    assert [one.control for one in unbeaten(ranks, of_map, "bad", "lower")] == ["mean", "identity"]


def test_site_terminal_and_exports_say_whom_a_ranked_row_does_not_beat(folder, tmp_path):
    run = run_of(folder)
    page = Page(build([folder], tmp_path / "site"))
    assert page.source.count('<em class="under">no better than identity</em>') == 1
    assert page.source.count('<em class="under">worse than identity</em>') == 1
    assert page.source.count(' under" role="img"') == 2
    method = Page(tmp_path / "site" / "method-duel-alike.html")
    assert "no better than identity, a control: difference" in method.text
    assert "a control:" not in Page(tmp_path / "site" / "method-duel-good.html").text
    out = StringIO()
    print_tables(run.records, run.ranks, Console(file=out, width=200))
    assert "fracture / bad, l1: worse than identity, a control" in " ".join(out.getvalue().split())
    for form in ("md", "tex"):
        assert "worse than identity, a control" in export(form, [run])
    (table,) = json.loads(export("json", [run]))["suites"][0]["tables"]
    held = {row["attribution"]: [one["control"] for one in row["cells"][0]["unbeaten"]] for row in table["rows"]}
    assert held == {"good": [], "alike": ["identity"], "bad": ["identity"], "identity": [], "mean": [], "truth": []}


def test_what_was_skipped_altogether_is_a_sentence_and_neither_row_nor_column(tmp_path):
    missing = {"status": "skipped", "reason": "no weights; run `x`"}
    records = [record("flip", "counterfactual"), record("fid", "counterfactual", **missing)]
    records += [record("l1", "counterfactual", status="failed", reason="killed")]
    records += [record(m, "counterfactual", attribution="edit", **missing) for m in ("flip", "fid")]
    records += [record("flip", "counterfactual", generator="pca", attribution="walk", **missing)]
    records += [record("flip", "sweep", attribution=a, **missing) for a in ("reflect", "edit")]
    folder = write_run(tmp_path / "run", records)
    (board,) = make_boards(run_of(folder))
    assert [line.label for line in board.lines] == ["dae / reflect"]
    assert [head.id for head in board.heads] == ["flip@counterfactual", "l1@counterfactual"]
    assert board.skipped == {"no weights; run `x`": ["dae / edit", "pca / walk"]}
    assert board.unmeasured == {"no weights; run `x`": ["fid", "flip (sweep)"]}
    page = Page(build([folder], tmp_path / "site"))
    assert "2 pairings were skipped: no row above dae / edit, pca / walk : no weights; run x" in page.text
    assert "2 metrics were skipped: no column above fid, flip (sweep) : no weights; run x" in page.text


def test_a_generators_numbers_stay_though_every_pairing_with_it_was_skipped(tmp_path):
    general = {"generator": "lone", "task": None, "attribution": None}
    records = [record("l1", "reconstruction", 0.2, **general), record("flip", "counterfactual")]
    records += [record("flip", "counterfactual", generator="lone", status="skipped", reason="no")]
    (board,) = make_boards(run_of(write_run(tmp_path / "run", records)))
    assert [line.label for line in board.lines] == ["dae / reflect", "lone"]


def test_a_run_in_which_everything_was_skipped_says_so(tmp_path):
    folder = write_run(tmp_path / "run", [record("flip", "counterfactual", status="skipped", reason="no data")])
    page = Page(build([folder], tmp_path / "site"))
    assert "Nothing was measured. 1 pairing was skipped: no row above dae / reflect : no data" in page.text
    assert "table" not in page.tags
