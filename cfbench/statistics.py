"""Intervals: how far a number could have been off, had other patients been drawn.

Lines of one patient resemble each other, so whole patients are resampled; taking lines for independent gives
intervals that are too narrow (the tests show by how much). A line without a patient is its own patient: the caller
passes its id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64, Int64

from cfbench.errors import UndefinedError

#: Replicates times patients that are drawn at a time: 32 MiB of indices. Part of no result.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Bounds:
    """An interval, and how many replicates were dropped because the number did not exist for them."""

    low: float
    high: float
    dropped: int = 0


def patient_bootstrap_weights(patients: Sequence[str], replicates: int, seed: int) -> Float64[np.ndarray, "rows n"]:
    """Return how often each line is drawn in each bootstrap replicate when whole patients are drawn.

    Args:
        patients: the patient of each of n lines.
        replicates: r >= 0.
        seed: of the draws; the same as those of `interval_of_mean`, and independent of the order of the lines.

    Returns:
        float64[r + 1, n]; row 0 is all ones.

    Raises:
        UndefinedError: there are no lines.
    """
    count, index = _numbered(patients)
    weights = np.ones((replicates + 1, index.size))
    row = 1
    for drawn in _draws(count, replicates, seed):
        rows = len(drawn)
        cells = drawn + count * np.arange(rows)[:, None]
        times = np.bincount(cells.ravel(), minlength=rows * count).reshape(rows, count)
        weights[row : row + rows] = times[:, index]
        row += rows
    return weights


def jackknife_weights(patients: Sequence[str], groups: int, seed: int) -> Float64[np.ndarray, "rows n"]:
    """Return 0/1 weights of the delete-a-group jackknife: row g leaves out the lines of the g-th group of patients.

    Args:
        patients: the patient of each of n lines.
        groups: groups that patients are dealt into at random, equal but for one patient; with fewer patients than
            that, each patient is a group.
        seed: of the dealing.

    Returns:
        float64[g + 1, n]; row 0 is all ones.

    Raises:
        UndefinedError: there are fewer than two patients, or fewer than two groups are asked for.
    """
    count, index = _numbered(patients)
    used = min(groups, count)
    if used < 2:
        raise UndefinedError(f"a jackknife needs 2 patients and 2 groups, got {count} and {groups}")
    dealt = np.empty(count, dtype=np.int64)
    dealt[np.random.default_rng(seed).permutation(count)] = np.arange(count) % used
    rows = np.concatenate([[-1], np.arange(used)])
    kept: Float64[np.ndarray, "rows n"] = (dealt[index][None, :] != rows[:, None]).astype(np.float64)
    return kept


def percentile_interval(replicates: Float64[np.ndarray, " r"], level: float = 0.95) -> Bounds:
    """Return the percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    NaN replicates (a draw with one class only has no AUC) are dropped and counted.

    Raises:
        UndefinedError: no replicate is left.
    """
    kept = replicates[~np.isnan(replicates)]
    if not kept.size:
        raise UndefinedError(f"none of {replicates.size} bootstrap replicates has a value, so there is no interval")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Bounds(float(low), float(high), replicates.size - kept.size)


def jackknife_interval(value: float, leave_out_values: Float64[np.ndarray, " g"], level: float = 0.95) -> Bounds:
    """Return `value -+ t * se` of the delete-a-group jackknife, `se^2 = (g - 1) / g * sum (v_j - mean v)^2`.

    With t on g - 1 degrees of freedom (Kott, Journal of Official Statistics 17, 2001). Made for numbers that a
    bootstrap would bias, since drawing a case twice makes a set look less diverse (Frechet distance, KID). NaN values
    are dropped and counted.

    Raises:
        UndefinedError: the value is not finite, or fewer than two leave-out values are.
    """
    kept = leave_out_values[~np.isnan(leave_out_values)]
    g = kept.size
    if g < 2 or not isfinite(value):
        raise UndefinedError(f"a jackknife needs a finite value and 2 leave-out values, got {value} and {g}")
    error = sqrt((g - 1) / g * float(np.square(kept - kept.mean()).sum()))
    reach = _t_quantile((1 + level) / 2, g - 1) * error
    return Bounds(value - reach, value + reach, leave_out_values.size - g)


def interval_of_mean(
    values: Float64[np.ndarray, " n"],
    patients: Sequence[str],
    replicates: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Bounds:
    """Return the percentile interval of the mean over lines, resampling whole patients.

    A replicate is a ratio of sums over the drawn patients, `sum of values / number of lines`. Only [block, patients]
    indices are held at a time, however many replicates are asked for. NaN values are left out.

    Args:
        values: float64[n], one per line.
        patients: the patient of each line.
        replicates: number of draws.
        seed: of the draws; two methods on the same lines get the same draws.
        level: coverage.

    Raises:
        UndefinedError: no line has a value.
    """
    there = ~np.isnan(values)
    if not there.any():
        raise UndefinedError(f"none of {len(values)} lines has a value, so there is no mean")
    count, index = _numbered(patients)
    lines = np.bincount(index[there], minlength=count).astype(np.float64)
    # centred first: replicates differ in their last digits, which a large common offset would eat
    centre = float(values[there].mean())
    sums = np.bincount(index[there], weights=values[there] - centre, minlength=count)
    with np.errstate(invalid="ignore"):
        means = [sums[drawn].sum(1) / lines[drawn].sum(1) for drawn in _draws(count, replicates, seed)]
    bounds = percentile_interval(np.concatenate([*means, np.empty(0)]), level)
    return Bounds(bounds.low + centre, bounds.high + centre, bounds.dropped)


def _numbered(patients: Sequence[str]) -> tuple[int, Int64[np.ndarray, " n"]]:
    """Return the number of patients, and each line's patient as a number in the patients' sorted order."""
    if not len(patients):
        raise UndefinedError("there are no lines to resample")
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    return len(names), index.astype(np.int64)


def _draws(patients: int, replicates: int, seed: int) -> Iterator[Int64[np.ndarray, "rows patients"]]:
    """Yield blocks of rows, each row the numbers of the patients of one replicate, drawn with replacement."""
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // patients)
    for start in range(0, replicates, rows):
        yield generator.integers(0, patients, (min(rows, replicates - start), patients))


def _t_quantile(p: float, freedom: int) -> float:
    """Return a quantile of Student's t: exact for 1 and 2 degrees of freedom, else to 0.8 % (3) or better (9: 5e-5).

    Abramowitz and Stegun 26.7.5, whose terms expand the normal quantile in 1 / freedom.
    """
    if freedom == 1:
        return float(np.tan(np.pi * (p - 0.5)))
    if freedom == 2:
        return (2 * p - 1) * sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**k for k, term in enumerate(terms)))
