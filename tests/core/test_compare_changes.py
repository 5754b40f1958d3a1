"""What changed from one run to the next."""

import json
from dataclasses import replace

import numpy as np
import pytest
from board import Page, record, write_run
from scored import CASES, draw, number, scored_run

from cfbench.compare.changes import changes
from cfbench.compare.site import build, history_of
from cfbench.leaderboard.accepted import accept, is_accepted
from cfbench.leaderboard.runs import read_runs


def run_of(folder):
    return next(iter(read_runs([folder])))


@pytest.fixture
def night(tmp_path):
    """Return a function that writes a run of one metric and one row."""
    count = iter(range(100))

    def write(*records_of, about=None):
        folder = tmp_path / f"night-{next(count)}"
        records = [make(folder) for make in records_of]
        return run_of(write_run(folder, records, {"suite": "duel"} | (about or {})))

    return write


def scores(values, **fields):
    return lambda folder: number(folder, values, **fields)


def verdicts(before, after):
    return {change.place[3]: change.verdict for change in changes(before, after)}


def test_the_same_numbers_are_the_same(night):
    (change,) = changes(night(scores(draw())), night(scores(draw())))
    assert (change.verdict, change.by, change.p, change.difference) == ("same", "paired", 1.0, 0.0)


@pytest.mark.parametrize(("direction", "shift", "verdict"), [
    ("lower", 0.02, "worse"), ("lower", -0.02, "better"), ("higher", -0.02, "worse"), ("higher", 0.02, "better"),
    ("none", 0.02, "same"),
])  # fmt: skip
def test_a_shift_of_every_case_is_found_though_the_intervals_overlap(night, direction, shift, verdict):
    jitter = np.random.default_rng(1).normal(0, 0.01, CASES)
    before = night(scores(draw(), direction=direction))
    after = night(scores(draw() + shift + jitter, direction=direction))
    (change,) = changes(before, after)
    old, new = change.before, change.after
    assert new.low < old.high, "intervals that overlap could not tell"
    assert old.low < new.high
    assert (change.verdict, change.by) == (verdict, "paired")
    assert change.low < shift < change.high


def test_noise_and_rounding_are_no_regressions(night):
    noise = np.random.default_rng(2).normal(0, 0.05, CASES)
    rounded = [scores(draw(level=level), metric=f"m{level}") for level in (0.0, 0.5)]
    rounded += [scores(np.ones(CASES), metric="constant")]
    shifted = [scores(draw(level=level) * (1 + 1e-6), metric=f"m{level}") for level in (0.0, 0.5)]
    shifted += [scores(np.ones(CASES) * (1 + 1e-6), metric="constant")]
    assert set(verdicts(night(*rounded), night(*shifted)).values()) == {"same"}
    assert verdicts(night(scores(draw())), night(scores(draw() + noise - noise.mean()))) == {"l1": "same"}


def test_many_tests_of_alike_runs_rarely_find_a_regression(night):
    """20 numbers are tested against noise alone, 8 times: without correction, half the runs would have a regression."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(8):
        base = [draw(seed=i) for i in range(20)]
        before = night(*(scores(x, metric=f"m{i}") for i, x in enumerate(base)))
        after = night(*(scores(x + rng.normal(0, 0.05, CASES), metric=f"m{i}") for i, x in enumerate(base)))
        found += any(change.regression for change in changes(before, after))
    assert found <= 2


def test_other_cases_are_compared_by_their_intervals(night):
    before = night(scores(draw(), first=0))
    same, worse = night(scores(draw(1), first=1000)), night(scores(draw(1, level=0.9), first=1000))
    assert [(c.verdict, c.by, c.p) for c in changes(before, same)] == [("same", "intervals", None)]
    assert [(c.verdict, c.by, c.p) for c in changes(before, worse)] == [("worse", "intervals", None)]


def test_numbers_without_scores_or_intervals(night):
    def plain(value, **fields):
        return lambda _: record("auc", "probe", value, **fields)

    without = {"low": None, "high": None, "interval": "none"}
    assert verdicts(night(plain(0.8)), night(plain(0.85))) == {"auc": "same"}
    assert verdicts(night(plain(0.8)), night(plain(0.5))) == {"auc": "worse"}
    assert verdicts(night(plain(0.8, **without)), night(plain(0.5, **without))) == {"auc": "untested"}
    assert verdicts(night(plain(0.8, **without)), night(plain(0.8, **without))) == {"auc": "same"}


def test_what_is_not_measured_any_more_is_lost_only_if_it_broke(night):
    def missing(status):
        return lambda _: record("l1", "counterfactual", status=status, reason="out of memory", direction="lower")

    before = night(scores(draw()))
    for status, verdict in (("failed", "lost"), ("undefined", "lost"), ("skipped", "gone")):
        (change,) = changes(before, night(missing(status)))
        assert (change.verdict, change.reason, change.regression) == (verdict, "out of memory", verdict == "lost")
        assert verdicts(night(missing(status)), before) == {"l1": "new"}
    assert verdicts(before, night(scores(draw(), metric="other"))) == {"l1": "gone", "other": "new"}
    paper = night(lambda _: record(published="A paper, Table 1", n=0))
    assert changes(paper, paper) == []


def test_several_seeds_are_compared_over_seeds(night):
    """A jump of one seed of three is no regression; a jump of all of them is."""

    def three(*shifts):
        return [scores(draw(seed) + shift, seed=seed) for seed, shift in enumerate(shifts)]

    before = night(*three(0, 0, 0))
    one, every = (changes(before, night(*three(*shifts)))[0] for shifts in ((0.3, 0, 0), (0.31, 0.3, 0.29)))
    assert (one.verdict, every.verdict) == ("same", "worse")
    assert (one.by, every.by) == ("paired", "paired")
    assert one.difference == pytest.approx(0.1)


# History


@pytest.fixture
def nights(tmp_path):
    """Return four nights of one suite; the last one is worse."""
    folders = []
    for i, shift in enumerate((0, 0.001, 0, 0.1)):
        rows = {"good": draw(1) + shift, "bad": draw(2, level=0.8)}
        about = {"finished": f"2026-01-0{i + 1}T02:00:00Z", "suite_hash": "abc", "title": "Duels"}
        folders.append(scored_run(tmp_path / f"night-{i}", rows, about=about))
    return folders


def test_the_newest_is_held_against_the_last_accepted_run(nights, tmp_path):
    runs = [run_of(folder) for folder in nights]
    oldest = history_of(runs)
    assert (oldest.reference, oldest.accepted) == (0, False)
    accept(nights[1])
    accept(nights[2])
    last = history_of(runs)
    assert (last.reference, last.accepted) == (2, True)
    named = history_of(runs, accepted=nights[1])
    assert (named.reference, named.accepted) == (1, True)
    accept(nights[3])
    assert history_of(runs).reference == 2, "the newest is not held against itself"


def test_a_run_with_other_results_is_not_accepted_any_more(nights):
    accept(nights[0])
    assert is_accepted(run_of(nights[0]))
    (nights[0] / "records.jsonl").write_text((nights[1] / "records.jsonl").read_text())
    assert not is_accepted(run_of(nights[0]))
    for text in ("[]", "{", '{"records": 3}'):
        (nights[2] / "accepted.json").write_text(text)
        assert not is_accepted(run_of(nights[2]))


def test_a_regression_is_marked_on_the_page_of_the_history(nights, tmp_path):
    accept(nights[2])
    index = build(nights, tmp_path / "site")
    assert "history-duel.html" in Page(index).all("a", "href")
    page = Page(index.parent / "history-duel.html")
    assert "1 regression" in page.text
    assert "2026-01-04 02:00) against the last accepted one (2026-01-03 02:00)" in page.text
    assert page.source.count('<td class="worse">') == 1
    assert page.source.count('<svg class="trend"') == 2
    assert page.source.count('<circle class="ring"') == 2


def test_of_nights_of_one_suite_only_the_newest_is_shown_in_full(nights, tmp_path):
    site = build(nights, tmp_path / "site").parent
    assert [p.name for p in site.glob("results-*.csv")] == ["results-duel.csv"]
    assert "2026-01-04" in (site / "index.html").read_text()
    other = json.loads((nights[1] / "run.json").read_text()) | {"suite_hash": "changed suite"}
    (nights[1] / "run.json").write_text(json.dumps(other))
    site = build(nights, tmp_path / "both").parent
    assert sorted(p.name for p in site.glob("results-*.csv")) == ["results-duel-2.csv", "results-duel.csv"]


def test_what_was_handed_in_is_no_night_of_ours(nights, tmp_path):
    site = build(nights[:2], tmp_path / "site", unverified=[nights[0]], verified=[nights[1]]).parent
    assert not list(site.glob("history-*.html"))
    text = (site / "index.html").read_text()
    assert "self-reported</span>" in text
    assert "verified</span>" in text


def test_a_number_of_an_accepted_run_that_failed_tells_why(nights, tmp_path):
    lines = (nights[3] / "records.jsonl").read_text().splitlines()
    from cfbench.records import from_json

    broken = replace(from_json(lines[0]), status="failed", value=None, low=None, high=None, reason="killed")
    (nights[3] / "records.jsonl").write_text(broken.to_json() + "\n" + lines[1] + "\n")
    page = Page(build(nights, tmp_path / "site").parent / "history-duel.html")
    assert "lost" in page.text
    assert "killed" in page.text
