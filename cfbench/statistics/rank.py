"""Rank tiers: methods that cannot be told from the best of their tier share its place."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import combinations
from math import ceil
from typing import Literal

import numpy as np
from jaxtyping import Float64

from cfbench.errors import UndefinedError
from cfbench.statistics.correction import holm
from cfbench.statistics.paired import Difference, paired_differences
from cfbench.statistics.paired_sets import paired_difference_of_sets

Tiers = tuple[tuple[str, ...], ...]
Pairs = Sequence[tuple[str, str]]
Rows = Mapping[str, Float64[np.ndarray, " rows"]]


def rank_tiers(
    scores: Rows,
    patients: Sequence[str],
    direction: Literal["higher", "lower"],
    excluded: Collection[str] = (),
    alpha: float = 0.05,
    replicates: int = 10_000,
    seed: int = 0,
) -> Tiers:
    """Return the methods in tiers, the best tier first; the members of a tier in the order of their means.

    Every pair is tested on the lines that both have (`paired_differences`), and the p-values are corrected over all
    pairs (`holm`): against the best alone would be too few, since the best was chosen by looking at the same scores.
    Then see `tiers`. The draws and the order of names that tie are fixed, so the result is, too.

    Args:
        scores: method to one score per line, failed lines as the worst value (`with_failures`).
        patients: the patient of each line.
        direction: which scores are better.
        excluded: methods without a place, such as sentinels and those with too little coverage: they take part in no
            test.
        alpha: how likely one false division, or more, may be if all methods are alike.
        replicates: number of draws; more are made if there are so many pairs that no p-value could be small enough.
        seed: of the draws.

    Raises:
        UndefinedError: a method has no score.
    """

    def compare(better: Rows, pairs: Pairs) -> list[Difference]:
        enough = max(replicates, ceil(4 * len(pairs) / alpha))
        return paired_differences(np.stack([better[a] - better[b] for a, b in pairs], axis=1), patients, enough, seed)

    means = {name: float(np.nanmean(rows)) if not np.isnan(rows).all() else np.nan for name, rows in scores.items()}
    return _ranked(scores, means, direction, excluded, alpha, compare)


def rank_tiers_of_sets(
    replicates: Rows,
    patients: int,
    direction: Literal["higher", "lower"],
    interval: Literal["bootstrap", "jackknife"] = "bootstrap",
    excluded: Collection[str] = (),
    alpha: float = 0.05,
) -> Tiers:
    """Return `rank_tiers` by a number that is no mean over lines (`paired_difference_of_sets`).

    Args:
        replicates: method to the number for all lines (row 0) and under every row of weights after it.
        patients: how many there are.
        direction: which numbers are better.
        interval: which weights these are.
        excluded: methods without a place.
        alpha: as above.

    Raises:
        UndefinedError: a method has no number, or a pair has too few draws in common.
    """

    def compare(better: Rows, pairs: Pairs) -> list[Difference]:
        return [paired_difference_of_sets(better[a], better[b], patients, interval) for a, b in pairs]

    values = {name: float(rows[0]) for name, rows in replicates.items()}
    return _ranked(replicates, values, direction, excluded, alpha, compare)


def tiers_of_differences(
    order: Sequence[str], differences: Mapping[tuple[str, str], Difference], alpha: float = 0.05
) -> Tiers:
    """Return `tiers`, from how much better the first of each pair is than the second, corrected over all pairs.

    Args:
        order: the methods, best mean first.
        differences: (first, second) to the difference, above 0 if the first is better; a pair that is not there, or
            whose p is NaN (too few patients in common), is not told apart.
        alpha: how likely one false division, or more, may be if all methods are alike.
    """
    adjusted = holm(np.array([one.p for one in differences.values()]))
    told = set()
    for (first, second), one, p in zip(differences, differences.values(), adjusted, strict=True):
        if p <= alpha:
            told.add((first, second) if one.value > 0 else (second, first))
    return tiers(order, told)


def tiers(order: Sequence[str], worse: Collection[tuple[str, str]]) -> Tiers:
    """Return tiers of methods in the order of their means, the best first.

    A tier is the best of the methods that are left, and every other of them that is not significantly worse than that
    one. A method whose scores scatter may so stand in a tier above that of one with a better mean.

    Args:
        order: the methods, best mean first.
        worse: pairs (better, worse) of methods that differ significantly.
    """
    found: list[tuple[str, ...]] = []
    left = list(order)
    while left:
        tier = tuple(name for name in left if (left[0], name) not in worse)
        found.append(tier)
        left = [name for name in left if name not in tier]
    return tuple(found)


def _ranked(
    rows: Rows,
    values: Mapping[str, float],
    direction: Literal["higher", "lower"],
    excluded: Collection[str],
    alpha: float,
    compare: Callable[[Rows, Pairs], list[Difference]],
) -> Tiers:
    sign = 1.0 if direction == "higher" else -1.0
    order = sorted((name for name in rows if name not in excluded), key=lambda name: (-sign * values[name], name))
    empty = [name for name in order if np.isnan(values[name])]
    if empty:
        raise UndefinedError(f"{', '.join(empty)}: there is no value, so there is no place; name it in `excluded`")
    pairs = list(combinations(order, 2))
    found = compare({name: sign * rows[name] for name in order}, pairs) if pairs else []
    return tiers_of_differences(order, dict(zip(pairs, found, strict=True)), alpha)
