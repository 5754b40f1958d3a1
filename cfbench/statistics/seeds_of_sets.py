"""Several training seeds and a number that is no mean over lines: AUC, F1, a Frechet distance.

The seeds answer for the same patients, and the same draws of patients were made for all of them. So the spread of the
seeds' numbers is theirs alone, and the spread of their mean under the draws is that of the patients. The two variances
add up; Student's t has Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946).
"""

from math import sqrt
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtrit

from cfbench.errors import UndefinedError
from cfbench.statistics.bounds import Bounds
from cfbench.statistics.paired import Difference, two_sided_p

Rows = Float64[np.ndarray, "seeds rows"]


def interval_of_sets_over_seeds(
    values: Rows, patients: int, interval: Literal["bootstrap", "jackknife"] = "bootstrap", level: float = 0.95
) -> Bounds:
    """Return the interval of the mean over seeds, for other seeds and other patients.

    Args:
        values: for each seed the number for all lines (column 0) and under every row of weights after it, which are
            those of `patient_bootstrap_weights` or `jackknife_weights` for the same patients in all seeds.
        patients: how many there are.
        interval: which weights these are.
        level: coverage.

    Raises:
        UndefinedError: there are fewer than two seeds, patients, or draws in which all seeds have a value.
    """
    mean, error, freedom, dropped = _spread(values, patients, interval)
    reach = error * float(stdtrit(freedom, (1 + level) / 2))
    return Bounds(mean - reach, mean + reach, dropped)


def difference_of_sets_over_seeds(
    first: Rows,
    second: Rows,
    patients: int,
    interval: Literal["bootstrap", "jackknife"] = "bootstrap",
    level: float = 0.95,
) -> Difference:
    """Return the mean over seeds of `first - second`, with its interval and two-sided p-value.

    Raises:
        UndefinedError: as above, of seeds and draws in which both have a value.
    """
    mean, error, freedom, _ = _spread(first - second, patients, interval)
    reach = error * float(stdtrit(freedom, (1 + level) / 2))
    return Difference(mean, mean - reach, mean + reach, two_sided_p(mean, error, freedom), patients)


def _spread(
    values: Rows, patients: int, interval: Literal["bootstrap", "jackknife"]
) -> tuple[float, float, float, int]:
    """Return the mean, its standard error, the degrees of freedom, and how many draws had no value."""
    seeds, drawn = len(values), values[:, 1:].mean(0)
    kept = drawn[~np.isnan(drawn)]
    if seeds < 2 or patients < 2 or kept.size < 2 or np.isnan(values[:, 0]).any():
        raise UndefinedError(
            "an interval over seeds needs 2 seeds, all with a value, 2 patients and 2 draws, got "
            f"{values[:, 0].tolist()}, {patients} and {kept.size}"
        )
    units = patients if interval == "bootstrap" else kept.size
    factor = units / (units - 1) if interval == "bootstrap" else units - 1
    of_patients, of_seeds = factor * float(kept.var()), float(values[:, 0].var(ddof=1)) / seeds
    both = of_patients + of_seeds
    freedom = both**2 / (of_patients**2 / (units - 1) + of_seeds**2 / (seeds - 1)) if both > 0 else seeds - 1.0
    return float(values[:, 0].mean()), sqrt(both), freedom, drawn.size - kept.size
