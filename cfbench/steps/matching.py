"""Real images in the proportions of the grades that counterfactuals were asked for."""

import numpy as np
from numpy.typing import NDArray

from cfbench.errors import UndefinedError

Array = NDArray[np.float64]


def matched_to_targets(
    grade: Array, target: Array, weights: Array, reference_weights: Array, scale: tuple[float, ...]
) -> Array:
    """Return weights of the m real cases under which each grade is as frequent as among the targets of the n lines.

    Post-stratification: real cases of grade g count `sum of weights of lines asked for g / sum of weights of real cases
    of g` times, row by row (r replicates). A set of perfect counterfactuals then has the distribution of the real side;
    unweighted, a set whose cases are mostly ill is compared with mostly ill images though all of it was asked to be
    healthy, and whoever changes nothing comes nearest. Grades and targets go to the nearest of `scale`; a real case of
    unknown grade (NaN) counts nothing.

    Raises:
        UndefinedError: no real case has a grade that was asked for.
    """
    of_case, of_line = _nearest(grade, scale), _nearest(target, scale)
    matched = np.zeros_like(reference_weights, dtype=np.float64)
    for index, value in enumerate(scale):
        lines, cases = of_line == index, of_case == index
        if not lines.any():
            continue
        if not cases.any():
            raise UndefinedError(f"{lines.sum()} lines were asked for grade {value:g}, and no real case of them has it")
        wanted, there = weights[:, lines].sum(1), reference_weights[:, cases].sum(1)
        factor = np.divide(wanted, there, out=np.zeros_like(wanted), where=there > 0)
        matched[:, cases] = reference_weights[:, cases] * factor[:, None]
    return matched


def effective_number(weights: Array) -> float:
    """Return `(sum w)^2 / sum w^2`: as many equally weighted cases tell as much (Kish, Survey Sampling, 1965)."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def _nearest(values: Array, scale: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the index of the nearest grade of the scale, -1 where the value is unknown."""
    distance = np.abs(np.nan_to_num(values)[:, None] - np.asarray(scale))
    return np.where(np.isnan(values), -1, distance.argmin(1)).astype(np.int64)
