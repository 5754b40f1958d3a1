"""Differences of rows that are compared at once, against each pair compared alone."""

from dataclasses import asdict
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from cfbench.errors import UndefinedError
from cfbench.protocols import Context
from cfbench.registry import load
from cfbench.statistics import difference_over_seeds, paired_difference
from cfbench.steps.compare import differences_of_rows
from cfbench.steps.work import Work
from cfbench.store import Store

CASES = [f"c{i:02}" for i in range(40)]
PATIENTS = [f"p{i // 2}" for i in range(40)]
DRAWS = 2_000


def scores_of(seed):
    return np.random.default_rng(seed).normal(size=40)


def some_missing(seed):
    scores = scores_of(seed)
    scores[[3, 17, 18]] = np.nan
    return scores


#: What four rows scored on the same lines; the fourth nowhere.
SCORES = [scores_of(0), scores_of(1) + 1, some_missing(2), np.full(40, np.nan)]


@pytest.fixture
def work(tmp_path):
    """A step that has the rows of `SCORES` as its inputs, and one more whose cases are others."""
    store, inputs = Store(tmp_path / "store"), {}
    rows = [*((CASES, scores) for scores in SCORES), ([f"x{case}" for case in CASES], scores_of(4))]
    for i, (cases, scores) in enumerate(rows):
        with store.writing(f"measure-{i:040}", {}) as folder:
            table = pd.DataFrame({"case": cases, "patient": PATIENTS, "target": 1.0, "score": scores})
            table.to_parquet(folder / "scores.parquet", index=False)
        inputs[f"row:{i}:0"] = f"measure-{i:040}"
    return Work({}, inputs, tmp_path, Context(0, tmp_path), load(()), store)


def roles(a, b):
    return [f"row:{a}:0"], [f"row:{b}:0"]


def test_each_pair_is_as_if_compared_alone(work):
    found = differences_of_rows(work, {pair: roles(*pair) for pair in combinations(range(4), 2)}, DRAWS)
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    for (a, b), one in found.items():
        assert asdict(one) == asdict(paired_difference(SCORES[a], SCORES[b], PATIENTS, DRAWS))
    with pytest.raises(UndefinedError, match="2 patients"):
        paired_difference(SCORES[0], SCORES[3], PATIENTS, DRAWS)


def test_rows_of_other_lines_are_not_compared(work):
    pairs = {(0, 1): roles(0, 1), (0, 4): roles(0, 4), (4, 1): roles(4, 1)}
    assert list(differences_of_rows(work, pairs, DRAWS)) == [(0, 1)]


def test_rows_of_several_seeds_are_compared_over_their_seeds(work):
    (found,) = differences_of_rows(work, {(0, 1): (["row:0:0", "row:1:0"], ["row:1:0", "row:2:0"])}, DRAWS).values()
    expected = difference_over_seeds(np.stack(SCORES[:2]), np.stack(SCORES[1:3]), PATIENTS, DRAWS)
    assert asdict(found) == asdict(expected)
