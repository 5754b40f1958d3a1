"""The step that compares all rows of one metric, pair by pair, and puts those into tiers that may be ranked."""

from dataclasses import replace
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np

from cfbench.statistics import Difference, tiers_of_differences
from cfbench.steps.compare import differences_of_rows, interval_of_row
from cfbench.steps.work import Work

#: Counterfactuals of methods that the judges believe less often than this are not compared by how little they change.
VALIDITY_FLOOR = 0.5
ALPHA = 0.05
SENTINEL = "a sentinel: shown, never ranked"


def rank(work: Work) -> None:
    """Store `rank.json`: differences of all pairs, each row's tier or why it has none, and intervals over seeds."""
    rows, sign = work.payload["rows"], -1.0 if work.payload["direction"] == "lower" else 1.0
    results = [_results(work, i, "row") for i in range(len(rows))]
    whole = {i for i, found in enumerate(results) if len(found) == len(rows[i]["seeds"]) and _measured(found)}
    values = {i: float(np.mean([result["value"] for result in results[i]])) for i in sorted(whole)}
    compared = {(a, b): roles for a, b in combinations(values, 2) if (roles := _roles(work, a, b))}
    pairs = differences_of_rows(work, compared, _draws(len(rows)))
    reasons = {i: reason for i in range(len(rows)) if (reason := _why_not(work, i, results[i], values))}
    ranked = sorted((i for i in values if i not in reasons), key=lambda i: (-sign * values[i], rows[i]["name"]))
    better = {
        (str(a), str(b)): replace(pair, value=sign * pair.value)
        for (a, b), pair in pairs.items()
        if a in ranked and b in ranked
    }
    placed = tiers_of_differences([str(i) for i in ranked], better, ALPHA)
    work.save_json(
        "rank.json",
        {
            "tiers": {rows[int(i)]["name"]: tier for tier, names in enumerate(placed, 1) for i in names},
            "reasons": {rows[i]["name"]: reason for i, reason in reasons.items()},
            "pairs": [{"a": rows[a]["name"], "b": rows[b]["name"], **_told(pair)} for (a, b), pair in pairs.items()],
            "intervals": _intervals(work, values),
        },
    )


def _results(work: Work, row: int, what: str) -> list[dict[str, Any]]:
    """Return the results of a row's seeds."""
    return [work.json(role, "result.json") for role in work.inputs if role.startswith(f"{what}:{row}:")]


def _measured(results: list[dict[str, Any]]) -> bool:
    return bool(results) and all(result["status"] == "ok" for result in results)


def _why_not(work: Work, row: int, results: list[dict[str, Any]], values: dict[int, float]) -> str:
    """Return why a row has no place, or nothing."""
    if work.payload["rows"][row]["sentinel"]:
        return SENTINEL
    if row not in values:
        return "it has no number for every seed"
    barred = [str(why) for result in results for why in result["unranked"]]
    return barred[0] if barred else _below_floor(work, row)


def _below_floor(work: Work, row: int) -> str:
    """Return why a row's counterfactuals reach their targets too rarely to be compared by how little they change."""
    if not work.payload["floor"]:
        return ""
    validity = _results(work, row, "validity")
    if not _measured(validity):
        return f"how little an image changes is ranked only where {work.payload['floor']} is known"
    share = float(np.mean([result["value"] for result in validity]))
    if share < VALIDITY_FLOOR:
        return f"{work.payload['floor']} is {share:.2f}, below {VALIDITY_FLOOR}: how little it changes says nothing"
    return ""


def _roles(work: Work, a: int, b: int) -> tuple[list[str], list[str]] | None:
    """Return the roles of two rows' results under the seeds that both have, or nothing if there is none."""
    rows = work.payload["rows"]
    seeds = [seed for seed in rows[a]["seeds"] if seed in rows[b]["seeds"]]
    return ([f"row:{a}:{seed}" for seed in seeds], [f"row:{b}:{seed}" for seed in seeds]) if seeds else None


def _draws(rows: int) -> int:
    """Return so many draws that the smallest p-value can still pass Holm's correction over all pairs."""
    return max(10_000, ceil(4 * rows * (rows - 1) / 2 / ALPHA))


def _told(pair: Difference) -> dict[str, float]:
    return {"difference": pair.value, "low": pair.low, "high": pair.high, "p": pair.p}


def _intervals(work: Work, values: dict[int, float]) -> dict[str, list[float]]:
    """Return the interval of every row with several seeds, for other seeds and other patients."""
    found = {}
    for i in values:
        row = work.payload["rows"][i]
        if len(row["seeds"]) > 1:
            bounds = interval_of_row(work, [f"row:{i}:{seed}" for seed in row["seeds"]])
            if bounds:
                within = bounds.within(*work.payload["range"])
                found[row["name"]] = [within.low, within.high]
    return found
