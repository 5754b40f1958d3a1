"""The pairs of a run's tables, corrected over all pairs of a column as its tiers are."""

from dataclasses import replace

import numpy as np

from cfbench.leaderboard.ranks import Ranks
from cfbench.leaderboard.runs import Run
from cfbench.statistics import holm


def corrected(run: Run) -> Run:
    """Return the run with Holm's p-values in its pairs.

    The family is that of the rank step: all pairs of rows of a column that have a tier. A pair with a sentinel, or with
    a row that is not ranked, keeps its own p-value alone.
    """
    pairs = {}
    for group, some in run.ranks.pairs.items():
        ranked = [key for key in some if all(run.ranks.ranked(group, row) for row in key)]
        adjusted = holm(np.array([some[key].p for key in ranked]))
        found = {key: float(p) for key, p in zip(ranked, adjusted, strict=True)}
        pairs[group] = {key: replace(pair, adjusted=found.get(key)) for key, pair in some.items()}
    return replace(run, ranks=Ranks(run.ranks.places, run.ranks.intervals, pairs))
