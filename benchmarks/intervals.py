"""What intervals, comparisons and ranks cost. Needs no data.

    python benchmarks/intervals.py

20 methods with 30 metrics each, on 500 cases of 200 patients, with the 10,000 replicates of every interval.
"""

import os
import time
from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from cfbench.statistics import (
    interval_of_mean,
    interval_over_seeds,
    intervals_of_means,
    jackknife_interval,
    jackknife_weights,
    paired_difference,
    paired_differences,
    patient_bootstrap_weights,
    rank_tiers,
)
from cfbench_metrics.frechet import frechet_distances

CASES, METHODS, METRICS = 500, 20, 30

Array = NDArray[np.float64]


def timed(what: str, work: Callable[[], object]) -> float:
    """Print and return how many seconds the work takes."""
    started = time.perf_counter()
    work()
    taken = time.perf_counter() - started
    print(f"{what:62}{taken:8.2f} s", flush=True)
    return taken


def pairs(scores: Array, patients: list[str]) -> None:
    """Compare all pairs of 20 methods one by one, and under one draw of patients as the step `rank` does."""
    differences = np.stack([a - b for a, b in combinations(scores[:, :METHODS].T, 2)], axis=1)

    def alone() -> None:
        for one in differences.T:
            paired_differences(one[:, None], patients)

    apart = timed(f"{differences.shape[1]} paired differences, one by one", alone)
    together = timed("the same under one draw", lambda: paired_differences(differences, patients))
    print(f"{'ratio':62}{apart / together:8.1f}", flush=True)


def frechet(x: torch.Tensor, patients: list[str]) -> None:
    """Make a Frechet distance with its interval, the way that `measure` does."""
    weights = torch.from_numpy(jackknife_weights([*patients, *patients], 20, 0))
    found = frechet_distances(x, x.flip(0) * 1.1, weights[:, : len(x)], weights[:, len(x) :])
    jackknife_interval(float(found[0]), found[1:].numpy())


def main() -> None:
    """Time everything once."""
    rng = np.random.default_rng(0)
    patients = [f"p{i:03}" for i in np.sort(rng.integers(0, 200, CASES))]
    scores = rng.normal(size=(CASES, METHODS * METRICS))
    holes = np.where(rng.random(scores.shape) < 0.02, np.nan, scores)
    methods = {f"m{i:02}": scores[:, i] + 0.05 * i for i in range(METHODS)}
    features = torch.from_numpy(rng.normal(size=(CASES, 2048))).float()
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
    timed("interval of one mean", lambda: interval_of_mean(scores[:, 0], patients))
    timed("20 methods x 30 metrics: intervals", lambda: intervals_of_means(scores, patients))
    timed("the same with 2 % of the values missing", lambda: intervals_of_means(holes, patients))
    timed("one paired difference", lambda: paired_difference(scores[:, 0], scores[:, 1], patients))
    pairs(scores, patients)
    timed("rank tiers of 20 methods (190 pairs)", lambda: rank_tiers(methods, patients, "higher"))
    timed("interval over 3 seeds", lambda: interval_over_seeds(scores[:, :3].T.copy(), patients))
    timed("bootstrap weights of a set metric", lambda: patient_bootstrap_weights(patients, 10_000, 0))
    timed("Frechet distance, 2048 features, 20 jackknife groups", lambda: frechet(features, patients))


if __name__ == "__main__":
    main()
