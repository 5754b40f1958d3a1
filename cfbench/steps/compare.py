"""Stored results of several rows of one table column: their spread over seeds, and the differences of pairs."""

from collections.abc import Iterator, Mapping
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
    paired_difference_of_sets,
    paired_differences,
)
from cfbench.steps.work import Work

Array = NDArray[np.float64]
#: Positions of two rows.
Pair = tuple[int, int]
#: Roles of the results of a pair's first and second row, one per seed.
Roles = tuple[list[str], list[str]]
Sets = Literal["bootstrap", "jackknife"]


def differences_of_rows(work: Work, pairs: Mapping[Pair, Roles], draws: int) -> dict[Pair, Difference]:
    """Return how much more each pair's first row has than its second, but for pairs whose lines are not the same.

    A row is the roles of its results, one per seed, aligned within a pair. Rows of one seed that have scores are
    compared at once: one draw of patients, which costs more than a pair, serves them all.
    """
    together = {pair: rows for pair, rows in pairs.items() if len(rows[0]) == 1 and _has_scores(work, rows[0][0])}
    found = _of_single_scores(work, together, draws)
    for pair in pairs.keys() - together.keys():
        one = _difference(work, *pairs[pair], draws)
        if one is not None:
            found[pair] = one
    return {pair: found[pair] for pair in pairs if pair in found}


def _difference(work: Work, a: list[str], b: list[str], draws: int) -> Difference | None:
    try:
        return _over_seeds(work, a, b, draws) if _has_scores(work, a[0]) else _of_replicates(work, a, b)
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


def _of_single_scores(work: Work, pairs: Mapping[Pair, Roles], draws: int) -> dict[Pair, Difference]:
    tables = {role: _table(work, role) for rows in pairs.values() for (role,) in rows}
    lines = {role: _lines(table) for role, table in tables.items()}
    groups: dict[bytes, list[Pair]] = {}
    for pair, ((a,), (b,)) in pairs.items():
        if lines[a] == lines[b]:
            groups.setdefault(lines[a], []).append(pair)
    return {pair: one for group in groups.values() for pair, one in _of_same_lines(tables, pairs, group, draws)}


def _of_same_lines(
    tables: Mapping[str, pd.DataFrame], pairs: Mapping[Pair, Roles], group: list[Pair], draws: int
) -> Iterator[tuple[Pair, Difference]]:
    """Yield the differences of pairs that all have the same lines, but for those that have none."""
    rows = [(tables[a], tables[b]) for (a,), (b,) in (pairs[pair] for pair in group)]
    differences = np.stack([_score(a) - _score(b) for a, b in rows], axis=1)
    for pair, found in zip(group, paired_differences(differences, rows[0][0]["patient"].tolist(), draws), strict=True):
        if not np.isnan(found.p):
            yield pair, found


def _over_seeds(work: Work, a: list[str], b: list[str], draws: int) -> Difference | None:
    found = _scores(work, [*a, *b])
    if found is None:
        return None
    scores, patients = found
    return difference_over_seeds(scores[: len(a)], scores[len(a) :], patients, draws)


def _scores(work: Work, roles: list[str]) -> tuple[Array, list[str]] | None:
    """Return the scores, a row per role, and the patients; nothing if they are of different lines."""
    tables = [_table(work, role) for role in roles]
    if len({_lines(table) for table in tables}) > 1:
        return None
    return np.stack([_score(table) for table in tables]), tables[0]["patient"].tolist()


def _table(work: Work, role: str) -> pd.DataFrame:
    return pd.read_parquet(work.folder(role) / "scores.parquet")


def _lines(table: pd.DataFrame) -> bytes:
    """Return what tells lines apart: a number for each case and target, in order."""
    known = [name for name in ("case", "target") if name in table]
    return pd.util.hash_pandas_object(table[known], index=False).to_numpy().tobytes()


def _score(table: pd.DataFrame) -> Array:
    return table["score"].to_numpy(np.float64)


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
