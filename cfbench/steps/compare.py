"""Stored results of several rows of one table column: their spread over seeds, and the differences of pairs."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

from cfbench.errors import UndefinedError
from cfbench.statistics import (
    Bounds,
    Difference,
    difference_of_sets_over_seeds,
    difference_over_seeds,
    interval_of_sets_over_seeds,
    interval_over_seeds,
    paired_difference,
    paired_difference_of_sets,
)
from cfbench.steps.work import Work

Array = NDArray[np.float64]
Sets = Literal["bootstrap", "jackknife"]


def difference_of_rows(work: Work, a: list[str], b: list[str], draws: int) -> Difference | None:
    """Return how much more row a has than row b over the same lines, or nothing if they have other lines.

    `a` and `b` are the roles of their results, one per seed, aligned.
    """
    try:
        if _has_scores(work, a[0]):
            return _of_scores(work, a, b, draws)
        return _of_replicates(work, a, b)
    except UndefinedError:
        return None


def interval_of_row(work: Work, roles: list[str]) -> Bounds | None:
    """Return the interval of a row's mean over two seeds or more, or nothing if it cannot be had."""
    try:
        if _has_scores(work, roles[0]):
            found = _scores(work, roles)
            return interval_over_seeds(found[0], found[1]) if found else None
        sets = _replicates(work, roles)
        return interval_of_sets_over_seeds(*sets) if sets else None
    except UndefinedError:
        return None


def _has_scores(work: Work, role: str) -> bool:
    return (work.folder(role) / "scores.parquet").is_file()


def _of_scores(work: Work, a: list[str], b: list[str], draws: int) -> Difference | None:
    found = _scores(work, [*a, *b])
    if found is None:
        return None
    scores, patients = found
    first, second = scores[: len(a)], scores[len(a) :]
    if len(a) == 1:
        return paired_difference(first[0], second[0], patients, draws)
    return difference_over_seeds(first, second, patients, draws)


def _scores(work: Work, roles: list[str]) -> tuple[Array, list[str]] | None:
    """Return the scores, a row per role, and the patients; nothing if they are of different lines."""
    tables = [pd.read_parquet(work.folder(role) / "scores.parquet") for role in roles]
    lines = [name for name in ("case", "target") if name in tables[0]]
    if any(not table[lines].equals(tables[0][lines]) for table in tables):
        return None
    return np.stack([table["score"].to_numpy(np.float64) for table in tables]), tables[0]["patient"].tolist()


def _of_replicates(work: Work, a: list[str], b: list[str]) -> Difference | None:
    found = _replicates(work, [*a, *b])
    if found is None:
        return None
    values, patients, interval = found
    first, second = values[: len(a)], values[len(a) :]
    if len(a) == 1:
        return paired_difference_of_sets(first[0], second[0], patients, interval)
    return difference_of_sets_over_seeds(first, second, patients, interval)


def _replicates(work: Work, roles: list[str]) -> tuple[Array, int, Sets] | None:
    """Return set metrics under the same draws of patients, a row per role; nothing if the draws were not the same."""
    values = [load_file(work.folder(role) / "replicates.safetensors")["values"] for role in roles]
    facts: list[dict[str, Any]] = [work.json(role, "result.json") for role in roles]
    drawn = {(v.shape, f["interval"], f["n"], f["patients"]) for v, f in zip(values, facts, strict=True)}
    if len(drawn) > 1 or facts[0]["interval"] == "none":
        return None
    return np.stack(values), facts[0]["patients"], facts[0]["interval"]
