"""Ranks of a bundle, made again: differences of pairs from per-case scores, and tiers from the differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil, isnan
from typing import Any

import numpy as np

from cfbench.errors import UndefinedError
from cfbench.records import Record
from cfbench.statistics import (
    Difference,
    difference_over_seeds,
    interval_over_seeds,
    paired_difference,
    tiers_of_differences,
)
from cfbench.submission.aggregates import CLOSE, REDRAWN
from cfbench.submission.bundle import Bundle
from cfbench.submission.case_scores import CaseScores

#: As in the step that ranks (`docs/statistics.md`).
_ALPHA = 0.05
_FLOOR = 0.5
_DRAWS = 10_000
#: Under pseudonyms patients are drawn in another order, and p moves by what the draws leave open.
_REDRAWN_P = 0.02
Pairs = dict[tuple[str, str], Difference]


@dataclass(frozen=True)
class Ranked:
    """What came of one column's ranks."""

    where: str
    #: Whether the differences were made again from scores; otherwise the bundle's own were taken for the tiers.
    recomputed: bool
    faults: Sequence[str] = ()


def check_ranks(bundle: Bundle) -> list[Ranked]:
    """Return what came of every column that the bundle ranks, and of those that it should rank."""
    planned = {_group(item): item for item in bundle.plan["ranks"]}
    told = {_group(item): item for item in bundle.ranks}
    by_key = {record.key: record for record in bundle.records if record.key}
    found = [_check(bundle, planned[group], told[group], by_key) for group in told if group in planned]
    found += [_odd(group, "ranked, but not planned to be") for group in told if group not in planned]
    left_out = [group for group in planned if group not in told and _complete(planned[group], by_key)]
    return found + [_odd(group, "planned to be ranked, and its ranks are missing") for group in left_out]


def _complete(plan: Mapping[str, Any], by_key: Mapping[str, Record]) -> bool:
    """Return whether all numbers of a column are there: the step that ranks cannot have been kept from its work."""
    return all(key in by_key and by_key[key].status != "failed" for row in plan["rows"] for key in row["keys"])


def _odd(group: tuple[str, str | None, str, str], what: str) -> Ranked:
    return Ranked(_where(group), recomputed=False, faults=[what])


def _group(item: Mapping[str, Any]) -> tuple[str, str | None, str, str]:
    return str(item["dataset"]), item["task"], str(item["view"]), str(item["metric"])


def _where(group: tuple[str, str | None, str, str]) -> str:
    return " / ".join(part for part in group if part)


@dataclass(frozen=True)
class _Column:
    """One column: its rows' records by name, and how it is ranked."""

    plan: Mapping[str, Any]
    rows: Mapping[str, Sequence[Record]]
    validity: Mapping[str, Sequence[Record]]
    values: Mapping[str, float]
    reasons: Mapping[str, str]


def _check(bundle: Bundle, plan: Mapping[str, Any], told: Mapping[str, Any], by_key: Mapping[str, Record]) -> Ranked:
    where, column = _where(_group(plan)), _column(bundle, plan, by_key)
    scored = all(r.key in bundle.scores for rows in column.rows.values() for r in rows if r.status == "ok")
    loose = plan["dataset"] in bundle.pseudonymous
    given = {
        (item["a"], item["b"]): Difference(item["difference"], item["low"], item["high"], item["p"], 0)
        for item in told["pairs"]
    }
    faults = []
    if scored:
        pairs = _pairs(bundle, column)
        faults += list(_differ(given, pairs, loose=loose))
        faults += list(_intervals(bundle, column, told["intervals"], loose=loose))
    faults += [f"{n!r} has a place in spite of: {why}" for n, why in column.reasons.items() if n in told["tiers"]]
    placed = _tiers(column, given)
    faults += (
        [] if told["tiers"] == placed else [f"tiers are {_short(told['tiers'])}; by the differences {_short(placed)}"]
    )
    return Ranked(where, scored, faults)


def _column(bundle: Bundle, plan: Mapping[str, Any], by_key: Mapping[str, Record]) -> _Column:
    def of(row: Mapping[str, Any], what: str) -> list[Record]:
        return [by_key[key] for key in row[what] if key in by_key and by_key[key].status != "failed"]

    rows = {str(row["name"]): of(row, "keys") for row in plan["rows"]}
    validity = {str(row["name"]): of(row, "validity") for row in plan["rows"]}
    seeds = {str(row["name"]): len(row["seeds"]) for row in plan["rows"]}
    values = {n: _mean(found) for n, found in rows.items() if len(found) == seeds[n] and _measured(found)}
    column = _Column(plan, rows, validity, values, {})
    sentinels = {str(row["name"]) for row in plan["rows"] if row["sentinel"]}
    reasons = {name: why for name in rows if (why := _why_not(bundle, column, name, sentinels))}
    return replace(column, reasons=reasons)


def _measured(records: Sequence[Record]) -> bool:
    return bool(records) and all(r.status == "ok" and r.value is not None for r in records)


def _mean(records: Sequence[Record]) -> float:
    return float(np.mean([r.value for r in records if r.value is not None]))


def _why_not(bundle: Bundle, column: _Column, name: str, sentinels: set[str]) -> str:
    """Return why a row has no place, or nothing; as the step that ranks decides."""
    if name in sentinels:
        return "a sentinel"
    if name not in column.values:
        return "it has no number for every seed"
    later = str(bundle.about["metrics"].get(column.plan["metric"], {}).get("barred", ""))
    marks = [why for r in column.rows[name] for why in r.unranked if not why.startswith("stale: ") and why != later]
    if marks or not column.plan["floor"]:
        return marks[0] if marks else ""
    valid = column.validity.get(name, [])
    if not _measured(valid):
        return f"{column.plan['floor']} is not known"
    return f"{column.plan['floor']} is below {_FLOOR}" if _mean(valid) < _FLOOR else ""


def _pairs(bundle: Bundle, column: _Column) -> Pairs:
    rows = len(column.rows)
    draws = max(_DRAWS, ceil(4 * rows * (rows - 1) / 2 / _ALPHA))
    found = {
        (a, b): _difference(bundle, column.rows[a], column.rows[b], draws) for a, b in combinations(column.values, 2)
    }
    return {pair: one for pair, one in found.items() if one is not None}


def _difference(bundle: Bundle, a: Sequence[Record], b: Sequence[Record], draws: int) -> Difference | None:
    first, second = ({r.cell.seed: r for r in records} for records in (a, b))
    seeds = [seed for seed in first if seed in second]
    found = _stacked(bundle, [first[s] for s in seeds] + [second[s] for s in seeds]) if seeds else None
    if found is None:
        return None
    scores, patients = found
    one, other = scores[: len(seeds)], scores[len(seeds) :]
    try:
        if len(seeds) == 1:
            return paired_difference(one[0], other[0], patients, draws)
        return difference_over_seeds(one, other, patients, draws)
    except UndefinedError:
        return None


def _stacked(bundle: Bundle, records: Sequence[Record]) -> tuple[Any, Sequence[str]] | None:
    """Return the scores, a row per record, and the patients; nothing if they are of different lines."""
    tables = [bundle.scores[str(r.key)] for r in records]
    first = tables[0]
    if not all(_same_lines(table, first) for table in tables[1:]):
        return None
    return np.stack([np.asarray(table.score) for table in tables]), first.patient


def _same_lines(one: CaseScores, other: CaseScores) -> bool:
    if list(one.case) != list(other.case):
        return False
    if one.target is None or other.target is None:
        return one.target is other.target
    return np.array_equal(one.target, other.target, equal_nan=True)


def _differ(given: Pairs, made: Pairs, *, loose: bool) -> Iterator[str]:
    """Yield how the bundle's differences are others than those made again."""
    if given.keys() != made.keys():
        odd = min(given.keys() ^ made.keys())
        yield f"the pair {odd} is {'not to be compared' if odd in given else 'missing'}"
    for pair in given.keys() & made.keys():
        told, again = given[pair], made[pair]
        slack = REDRAWN * (again.high - again.low) if loose else 0.0
        p = _REDRAWN_P if loose else CLOSE
        ends = all(_close(t, a, slack) for t, a in ((told.low, again.low), (told.high, again.high)))
        if not (_close(told.value, again.value, 0.0) and ends and abs(told.p - again.p) <= p):
            yield (
                f"the difference of {pair} is {told.value:.10g} [{told.low:.6g}, {told.high:.6g}], p {told.p:.4g}; "
                f"from their per-case scores {again.value:.10g} [{again.low:.6g}, {again.high:.6g}], p {again.p:.4g}"
            )


def _intervals(bundle: Bundle, column: _Column, told: Mapping[str, Any], *, loose: bool) -> Iterator[str]:
    """Yield how intervals over seeds are others than those made again."""
    low, high = column.plan["range"]
    for name in column.values:
        records = column.rows[name]
        stacked = _stacked(bundle, records) if len(records) > 1 else None
        if stacked is None:
            continue
        try:
            made = interval_over_seeds(*stacked).within(low, high)
        except UndefinedError:
            continue
        given = told.get(name, (float("nan"), float("nan")))
        slack = REDRAWN * (made.high - made.low) if loose else 0.0
        if not all(_close(t, m, slack) for t, m in zip(given, (made.low, made.high), strict=True)):
            again = f"[{made.low:.6g}, {made.high:.6g}]"
            yield f"the interval of {name!r} over its seeds is {list(given)}; from per-case scores {again}"


def _tiers(column: _Column, pairs: Pairs) -> dict[str, int]:
    sign = -1.0 if column.plan["direction"] == "lower" else 1.0
    order = [n for n in column.values if n not in column.reasons]
    order.sort(key=lambda name: (-sign * column.values[name], name))
    better = {p: replace(one, value=sign * one.value) for p, one in pairs.items() if p[0] in order and p[1] in order}
    placed = tiers_of_differences(order, better, _ALPHA)
    return {name: tier for tier, names in enumerate(placed, 1) for name in names}


def _close(a: float, b: float, slack: float) -> bool:
    if isnan(a) or isnan(b):
        return isnan(a) and isnan(b)
    return abs(a - b) <= max(slack, CLOSE * max(1.0, abs(a), abs(b)))


def _short(tiers: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {tier}" for name, tier in sorted(tiers.items(), key=lambda item: (item[1], item[0])))[
        :300
    ]
