"""The tiers of a run, the intervals over seeds and the differences of pairs that they come from, read for showing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from cfbench.errors import StoreError

#: (dataset, task, view, metric): a column whose rows were compared.
Group = tuple[str, str | None, str, str]
#: A column and the name of a row.
Place = tuple[str, str | None, str, str, str]
#: Differences less probable than this without a real one are called significant.
ALPHA = 0.05
#: How the reason begins for which the rank step gives no place to a sentinel.
SENTINEL = "a sentinel"


@dataclass(frozen=True)
class Pair:
    """How much more one row has than another on the same lines."""

    difference: float
    #: 95 % interval.
    low: float
    high: float
    #: Two-sided, of this pair alone.
    p: float
    #: After Holm, over all pairs of ranked rows of the column; none if one of the two is not ranked.
    adjusted: float | None = None

    @property
    def significant(self) -> bool:
        """Return whether the two can be told apart."""
        return (self.p if self.adjusted is None else self.adjusted) <= ALPHA

    def turned(self) -> "Pair":
        """Return how much more the second has than the first."""
        return replace(self, difference=-self.difference, low=-self.high, high=-self.low)


@dataclass(frozen=True)
class Ranks:
    """What `ranks.json` says."""

    #: Tier, 1 being the best; or why there is none.
    places: Mapping[Place, int | str] = field(default_factory=dict)
    #: 95 % interval of the mean of several seeds, for other seeds and other patients.
    intervals: Mapping[Place, tuple[float, float]] = field(default_factory=dict)
    pairs: Mapping[Group, Mapping[tuple[str, str], Pair]] = field(default_factory=dict)

    @cached_property
    def controls(self) -> Mapping[Group, tuple[str, ...]]:
        """Return the sentinels of each column."""
        found: dict[Group, tuple[str, ...]] = {}
        for (dataset, task, view, metric, row), place in self.places.items():
            if isinstance(place, str) and place.startswith(SENTINEL):
                group = (dataset, task, view, metric)
                found[group] = (*found.get(group, ()), row)
        return found

    def pair(self, group: Group, first: str, second: str) -> Pair | None:
        """Return how much more the first row has than the second; nothing if they were not compared."""
        pairs = self.pairs.get(group, {})
        if (first, second) in pairs:
            return pairs[first, second]
        return pairs[second, first].turned() if (second, first) in pairs else None

    def ranked(self, group: Group, row: str) -> bool:
        """Return whether a row has a tier in a column."""
        return isinstance(self.places.get((*group, row)), int)


def read_ranks(run: Path) -> Ranks:
    """Read `run/ranks.json`; no file, no ranks. Raises StoreError if it is something else."""
    path = run / "ranks.json"
    if not path.is_file():
        return Ranks()
    places: dict[Place, int | str] = {}
    intervals: dict[Place, tuple[float, float]] = {}
    pairs: dict[Group, Mapping[tuple[str, str], Pair]] = {}
    try:
        for item in json.loads(path.read_text(encoding="utf-8")):
            task = None if item["task"] is None else str(item["task"])
            group = (str(item["dataset"]), task, str(item["view"]), str(item["metric"]))
            places |= {(*group, str(row)): int(tier) for row, tier in item["tiers"].items()}
            places |= {(*group, str(row)): str(reason) for row, reason in item["reasons"].items()}
            bounds = {str(row): _interval(ends) for row, ends in item.get("intervals", {}).items()}
            intervals |= {(*group, row): ends for row, ends in bounds.items() if ends}
            pairs[group] = _pairs(item.get("pairs", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise StoreError(f"{path}: not the ranks of a run ({error!r}); run the suite again to rewrite it") from error
    return Ranks(places, intervals, pairs)


def _interval(ends: Any) -> tuple[float, float] | None:
    low, high = (float(end) for end in ends)
    return (low, high) if _sensible(low, high) and low <= high else None


def _pairs(items: Any) -> Mapping[tuple[str, str], Pair]:
    found = {}
    for item in items:
        numbers = [float(item[name]) for name in ("difference", "low", "high", "p")]
        if _sensible(*numbers):
            found[str(item["a"]), str(item["b"])] = Pair(*numbers)
    return found


def _sensible(*numbers: float) -> bool:
    return all(isfinite(number) and abs(number) < 1e300 for number in numbers)
