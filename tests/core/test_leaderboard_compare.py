"""Pairs of methods, trade-offs and their pages."""

import json
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from board import HOSTILE, Page, record, write_run
from hypothesis import given
from hypothesis import strategies as st
from scored import CASES, draw, number, scored_run

from cfbench.compare.pairs import corrected
from cfbench.compare.site import build
from cfbench.errors import StoreError
from cfbench.leaderboard import chooser
from cfbench.leaderboard.board import make_boards
from cfbench.leaderboard.lines import count, widest
from cfbench.leaderboard.pareto import Point, first_pairs, front, plot
from cfbench.leaderboard.plot import axis
from cfbench.leaderboard.ranks import Pair, read_ranks
from cfbench.leaderboard.runs import read_runs
from cfbench.leaderboard.table import make_grid
from cfbench.leaderboard.versus import best_of, versus

FLIP = ("vertebra", "fracture", "counterfactual", "l1")


def run_of(folder):
    return next(iter(read_runs([folder])))


@pytest.fixture(scope="module")
def duel(tmp_path_factory):
    """Return a run of three methods and a sentinel; `far` is worse than `near`, which `twin` resembles."""
    rows = {"near": draw(1), "twin": draw(1) + 0.001, "far": draw(2, level=0.7), "blur": draw(3, level=0.2)}
    return scored_run(tmp_path_factory.mktemp("duel") / "run", rows, sentinels=("blur",))


# What ranks.json says


def test_a_pair_is_read_from_both_sides(duel):
    ranks = read_ranks(duel)
    one, other = ranks.pair(FLIP, "near", "far"), ranks.pair(FLIP, "far", "near")
    assert one.difference == pytest.approx(np.mean(draw(1)) - np.mean(draw(2, level=0.7)))
    assert (other.difference, other.low, other.high) == (-one.difference, -one.high, -one.low)
    assert ranks.pair(FLIP, "near", "nobody") is None


def test_holm_is_over_the_pairs_of_ranked_rows(duel):
    """Three pairs of the three ranked rows; a pair with the sentinel keeps its own p-value."""
    run = corrected(run_of(duel))
    pairs = run.ranks.pairs[FLIP]
    ranked = {key: pair for key, pair in pairs.items() if "blur" not in key}
    in_order = sorted(ranked.values(), key=lambda pair: pair.p)
    expected, largest = [], 0.0
    for factor, pair in zip((3, 2, 1), in_order, strict=True):
        largest = max(largest, min(1.0, factor * pair.p))
        expected.append(largest)
    assert [pair.adjusted for pair in in_order] == pytest.approx(expected)
    assert {pair.adjusted for key, pair in pairs.items() if "blur" in key} == {None}
    assert not Pair(0.1, 0.0, 0.2, p=0.01, adjusted=0.06).significant
    assert Pair(0.1, 0.0, 0.2, p=0.01).significant


@pytest.mark.parametrize("pairs", [3, [3], [{"a": "x"}], [{"a": "x", "b": "y", "difference": [], "low": 0}]])
def test_pairs_that_are_none_are_refused(tmp_path, pairs):
    item = dict(zip(("dataset", "task", "view", "metric"), FLIP, strict=True)) | {"tiers": {}, "reasons": {}}
    (tmp_path / "ranks.json").write_text(json.dumps([{**item, "pairs": pairs}]))
    with pytest.raises(StoreError, match="not the ranks of a run"):
        read_ranks(tmp_path)


def test_numbers_that_nobody_can_draw_are_dropped(tmp_path):
    item = dict(zip(("dataset", "task", "view", "metric"), FLIP, strict=True)) | {"tiers": {}, "reasons": {}}
    odd = {"a": "x", "b": "y", "difference": float("nan"), "low": 0, "high": 1e308, "p": 0}
    (tmp_path / "ranks.json").write_text(json.dumps([{**item, "pairs": [odd], "intervals": {"x": [2, 1]}}]))
    ranks = read_ranks(tmp_path)
    assert (ranks.pairs[FLIP], ranks.intervals) == ({}, {})


def test_a_row_of_several_seeds_shows_the_interval_over_seeds(tmp_path):
    seeds = [record("l1", "counterfactual", 0.5 + i / 10, seed=i) for i in range(3)]
    folder = write_run(tmp_path / "run", seeds, {"suite": "vcf"})
    item = dict(zip(("dataset", "task", "view", "metric"), FLIP, strict=True)) | {"tiers": {}, "reasons": {}}
    (folder / "ranks.json").write_text(json.dumps([{**item, "pairs": [], "intervals": {"dae / reflect": [0.3, 0.9]}}]))
    run = run_of(folder)
    (cells,) = make_grid(run.records, run.ranks).rows.values()
    (cell,) = cells.values()
    assert (cell.low, cell.high, cell.extent) == (0.3, 0.9, (0.3, 0.9))
    assert cell.spread == (0.5, pytest.approx(0.7))
    source = build([folder], tmp_path / "site").read_text()
    assert "<small>[0.300, 0.900]</small>" in source
    assert "for other seeds and other patients); seeds from 0.5 to 0.7" in source
    (folder / "ranks.json").unlink()
    assert "<small>0.500 … 0.700</small>" in build([folder], tmp_path / "bare").read_text()


# Lines


scores = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), max_size=30)


@given(scores, st.sampled_from(["higher", "lower"]))
def test_wins_losses_and_ties_add_up_and_turn_with_the_direction(pairs, direction):
    lines = [((f"c{i}", None), float(a), float(b)) for i, (a, b) in enumerate(pairs)]
    found = count(lines, direction)
    sign = 1 if direction == "higher" else -1
    assert found.wins == sum(sign * (a - b) > 0 for a, b in pairs)
    assert found.losses == sum(sign * (a - b) < 0 for a, b in pairs)
    assert found.wins + found.losses + found.ties == len(pairs)
    most = widest(lines, direction, 2)
    gaps = sorted((sign * (a - b) for a, b in pairs), reverse=True)
    assert [sign * (a - b) for *_, a, b in most["ahead"]] == [gap for gap in gaps[:2] if gap > 0]
    assert [sign * (a - b) for *_, a, b in most["behind"]] == [gap for gap in gaps[::-1][:2] if gap < 0]


def test_two_rows_are_compared_on_their_own_lines(duel, tmp_path):
    run = run_of(duel)
    (board,) = make_boards(run)
    rows = {line.label: line for line in board.lines}
    found = versus(run, board, rows["near"], rows["far"], 0)
    assert len(found.lines) == CASES
    assert found.counts.wins == int((draw(1) < draw(2, level=0.7)).sum())
    assert (found.verdict, versus(run, board, rows["far"], rows["near"], 0).verdict) == ("better", "worse")
    elsewhere = [number(tmp_path, draw(1), attribution="near", generator=None)]
    elsewhere += [number(tmp_path, draw(1), attribution="far", generator=None, first=7)]
    folder = tmp_path
    (folder / "records.jsonl").write_text("".join(f"{r.to_json()}\n" for r in elsewhere))
    other = run_of(folder)
    (board,) = make_boards(other)
    assert list(versus(other, board, *board.lines, 0).lines) == []


def test_the_best_is_held_against_the_second_and_the_others_against_it(duel):
    (board,) = make_boards(run_of(duel))
    rows = {line.label: line for line in board.lines}
    assert best_of(board, 0, rows["near"]) is rows["twin"]
    assert {best_of(board, 0, rows[name]).label for name in ("twin", "far", "blur")} == {"near"}, "no sentinel is best"


def test_a_method_is_never_held_against_the_number_of_its_own_generator(tmp_path):
    general = {"task": None, "attribution": None}
    records = [
        record("ssim", "reconstruction", 0.9, **general),
        record("ssim", "reconstruction", 0.5, **general, generator="pca"),
    ]
    records += [record("flip", "counterfactual", attribution=name) for name in ("a", "b")]
    records += [record("flip", "counterfactual", attribution="a", generator="pca")]
    folder = write_run(tmp_path / "run", records)
    group = {
        "dataset": "vertebra",
        "task": None,
        "view": "reconstruction",
        "metric": "ssim",
        "reasons": {},
        "pairs": [],
    }
    (folder / "ranks.json").write_text(json.dumps([group | {"tiers": {"dae": 1, "pca": 2}}]))
    (board,) = make_boards(run_of(folder))
    rows = {line.label: line for line in board.lines}
    ssim = [head.column.metric for head in board.heads].index("ssim")
    assert best_of(board, ssim, rows["dae / a"]).label == "pca / a"
    assert best_of(board, ssim, rows["pca / a"]).generator == "dae"


# Pages


@pytest.fixture(scope="module")
def site(duel, tmp_path_factory):
    return build([duel], tmp_path_factory.mktemp("site")).parent


def test_each_method_has_a_page_against_the_best(site):
    assert sorted(p.name for p in site.glob("versus-*.html")) == [
        f"versus-duel-{n}.html" for n in ("far", "near", "twin")
    ]
    page = Page(site / "versus-duel-far.html")
    (path,) = [d for d in page.all("path", "d") if d.count("h0") == sum(draw(2, level=0.7) > draw(1))]
    assert path.count("M") == path.count("h0")
    assert "far against the best of each column" in page.text
    assert "worse" in page.text
    assert {"Ahead", "Behind"} <= set(page.text.split())
    assert "method-duel-near.html" in page.all("a", "href")


def test_every_link_of_the_comparisons_leads_somewhere(site):
    files = {p.name for p in site.iterdir()}
    for path in [*site.glob("versus-*"), *site.glob("pairs-*"), *site.glob("tradeoffs-*"), site / "index.html"]:
        page = Page(path)
        ids = [value for _, name, value in page.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        for link in page.all("a", "href"):
            file, _, anchor = link.partition("#")
            assert not file or file in files, (path.name, link)
            assert file or not anchor or anchor in ids, (path.name, link)


def test_any_pair_can_be_chosen_from_the_data_of_one_page(site):
    source = (site / "pairs-duel-1.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', source).group(1))
    (column,) = data["columns"]
    names = [row[0] for row in data["rows"]]
    assert column["lines"][0] == ["c0", 0.0]
    assert column["scores"][names.index("near")] == pytest.approx(draw(1), rel=1e-3)
    assert {tuple(sorted(names[i] for i in pair[:2])) for pair in column["pairs"]} == set(
        combinations(sorted(names), 2)
    )
    assert {pair[6] is None for pair in column["pairs"] if names.index("blur") in pair[:2]} == {True}


def test_a_page_holds_only_so_many_numbers_and_says_what_it_left_out(duel, tmp_path, monkeypatch):
    monkeypatch.setattr(chooser, "MOST_NUMBERS", 100)
    page = Page(build([duel], tmp_path).parent / "pairs-duel-1.html")
    assert "Too many cases to choose from here: l1" in page.text


def test_hostile_names_stay_text_in_comparisons(tmp_path):
    rows = {evil: draw(i) for i, evil in enumerate(HOSTILE[:15]) if "\ud800" not in evil}
    folder = scored_run(tmp_path / "run", rows, about={"title": HOSTILE[1]})
    twice = build([folder], tmp_path / "site").parent
    tags = set()
    for path in [*twice.glob("versus-*"), *twice.glob("pairs-*"), *twice.glob("tradeoffs-*")]:
        page = Page(path)
        tags |= set(page.tags)
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        assert "javascript:" not in "".join(page.all("a", "href"))
        for block in re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.source):
            assert not set(block) & set("<>&\u2028\u2029")
    assert not tags & {"img", "iframe", "object", "marquee"}


# Trade-offs


points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)


@given(points, st.tuples(*[st.sampled_from(["higher", "lower"])] * 2))
def test_the_front_is_what_nothing_beats(values, better):
    found = [Point(i, str(i), "", "method", float(x), float(y), counts=True) for i, (x, y) in enumerate(values)]
    signs = [1 if each == "higher" else -1 for each in better]

    def beaten(p):
        gaps = [(signs[0] * (q.x - p.x), signs[1] * (q.y - p.y)) for q in found]
        return any(min(gap) >= 0 and max(gap) > 0 for gap in gaps)

    assert {p.row for p in front(found, better)} == {p.row for p in found if not beaten(p)}


def test_better_is_to_the_right_and_up_and_only_ranked_methods_are_on_the_front(tmp_path):
    sentinel, barred = ("a sentinel: shown, never ranked",), ("stale: the code has changed",)
    about = {"a": (0.9, 0.3, ()), "b": (0.5, 0.1, ()), "worse": (0.5, 0.3, ()), "old": (0.99, 0.01, barred)}
    about |= {"truth": (1.0, 0.0, sentinel)}
    records = []
    for name, (flip, l1, unranked) in about.items():
        fields = {"attribution": name, "generator": None, "unranked": unranked}
        records += [record("flip", "counterfactual", flip, **fields)]
        records += [record("l1", "counterfactual", l1, direction="lower", **fields)]
    records += [record("flip", "counterfactual", 0.8, generator=None, attribution="paper", published="A, Table 1", n=0)]
    (board,) = make_boards(run_of(write_run(tmp_path / "run", records)))
    names = [head.column.metric for head in board.heads]
    x, y = names.index("flip"), names.index("l1")
    assert first_pairs(board, [x, y])[0] == (x, y)
    drawn = plot(board, ["page.html"] * 6, x, y)
    at = {d["point"].label: (d["x"], d["y"]) for d in drawn["points"]}
    assert at["a"][0] > at["b"][0]
    assert at["b"][1] < at["a"][1], "less L1 is better, and up"
    assert [p.label for p, *_ in drawn["front"]] == ["a", "b"]
    page = Page(build([tmp_path / "run"], tmp_path / "site").parent / "tradeoffs-vcf-1.html")
    classes = page.all("circle", "class") + page.all("path", "class") + page.all("rect", "class")
    for kind in ("point method best", "point method", "point method pale", "point sentinel"):
        assert kind in classes


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.booleans())
def test_an_axis_holds_its_values_between_round_ticks(values, turned):
    found = axis(values, 40, 400, turned=turned)
    assert all(40 <= found.at(value) <= 400 for value in values)
    places = [at for at, _ in found.ticks]
    assert 3 <= len(places) <= 9
    assert places == sorted(places, reverse=turned)
    assert all(39.9 <= at <= 400.1 for at in places)


def test_no_trade_off_is_offered_where_there_is_none(tmp_path):
    folder = write_run(tmp_path / "run", [record("flip", "counterfactual")])
    site = build([folder], tmp_path / "site").parent
    assert not [*site.glob("tradeoffs-*"), *site.glob("pairs-*"), *site.glob("versus-*")]
    assert "Compare two methods" not in (site / "index.html").read_text()
    assert replace(run_of(folder), verified=True).badge == "verified"
