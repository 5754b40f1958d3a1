"""`cfbench compare` and `cfbench leaderboard accept` as typed."""

import pytest
from click.testing import CliRunner
from scored import draw, scored_run

from cfbench.cli.compare import compare
from cfbench.cli.leaderboard import leaderboard


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """Return a function that types `cfbench compare ...` in a folder of its own and returns code and text."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, verb=compare):
        done = CliRunner(env={"COLUMNS": "200"}).invoke(verb, [str(a) for a in arguments], standalone_mode=False)
        code = 2 if done.exception else int(done.return_value or 0)
        return code, done.output + str(done.exception or "")

    return run


@pytest.fixture
def duel(tmp_path):
    rows = {"near": draw(1), "far": draw(2, level=0.7), "blur": draw(3, level=0.2)}
    return scored_run(tmp_path / "runs" / "duel" / "abc", rows, sentinels=("blur",))


def test_two_methods_of_the_newest_run(typed, duel):
    code, text = typed("near", "far", "--cases", 1)
    assert code == 0
    assert "A near   B far   (vertebra · fracture)" in text
    (line,) = [line for line in text.splitlines() if "↓ l1" in line]
    assert "A better" in line
    wins = int((draw(1) < draw(2, level=0.7)).sum())
    assert f"{wins}/{60 - wins}/0" in line
    assert "A ahead on c" in text
    assert "B better" in typed("far", "near", "--run", duel)[1]


def test_a_pair_with_a_control_says_that_it_is_not_ranked(typed, duel):
    text = typed("near", "blur")[1]
    assert "not ranked" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nera", "far"), ("no row 'nera'", "did you mean 'near'", "rows: far, near, blur")),
        (("near", "near"), ("same row",)),
        (("near", "far", "--metric", "l2"), ("no metric 'l2'", "did you mean 'l1'", "metrics: l1")),
        (("near", "far", "--fail-on-regression"), ("two runs", "records.jsonl")),
        (("runs/duel/abc", "far"), ("is a run", "both be folders")),
        (("runs/duel/abc", "runs/duel/abc", "--run", "runs/duel/abc"), ("leave --run out",)),
    ],
)
def test_what_is_wrong_is_said_with_what_there_is(typed, duel, arguments, words):
    code, text = typed(*arguments)
    assert code == 2
    for word in words:
        assert word in text


def test_without_a_run_it_says_so(typed):
    code, text = typed("a", "b")
    assert code == 2
    assert "no run below ./runs" in text


def test_two_runs_and_the_exit_code_of_a_regression(typed, duel, tmp_path):
    worse = scored_run(tmp_path / "worse", {"near": draw(1) + 0.05, "far": draw(2, level=0.7), "blur": draw(3, 0.2)})
    code, text = typed(duel, worse, "--fail-on-regression")
    assert code == 1
    assert "1 regressions of 3 numbers" in text
    assert "near" in text
    assert "far" not in text.replace(str(tmp_path), ""), "what did not change is left out"
    assert typed(duel, worse)[0] == 0
    assert typed(duel, duel, "--fail-on-regression")[0] == 0
    assert "no difference that can be told" in typed(duel, duel, "--all")[1]


def test_runs_of_two_suites_do_not_compare(typed, duel, tmp_path):
    other = scored_run(tmp_path / "other", {"near": draw(1), "far": draw(2)}, about={"suite": "other"})
    code, text = typed(duel, other)
    assert code == 2
    assert "two suites, 'duel' and 'other'" in text


def test_accept_writes_a_file_into_the_run(typed, duel):
    code, text = typed("accept", duel, verb=leaderboard)
    assert code == 0
    assert (duel / "accepted.json").is_file()
    assert "accepted" in text
