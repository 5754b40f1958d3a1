"""What changed from one run of a suite to another, number by number.

The rule, in this order:

1. A number that was measured and is now failed or n/a is *lost*, a regression. One that was skipped or is not there is
   *gone*, which is not: the suite or what can be downloaded has changed.
2. Where both runs answer the same lines (cases and targets) under the same seeds, the difference of each line is tested
   over patients (`paired_differences`, over several seeds `difference_over_seeds`), and the p-values of all such tests
   are corrected after Holm. It is a regression if p <= 0.05, the difference is to the worse side, and it is larger than
   a twentieth of the width of the earlier number's interval and than a ten-thousandth of the number: rounding that
   differs between machines is the same on every line, and so significant.
3. Otherwise (other cases; AUC, Frechet distances and other numbers without scores of lines) it is a regression if the
   two 95 % intervals do not overlap. Alike numbers do that in about 0.6 % of comparisons.
4. Without intervals nothing is tested.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.errors import UndefinedError
from cfbench.leaderboard.cells import ABSENT, Cell
from cfbench.leaderboard.change import Change, Verdict
from cfbench.leaderboard.history import cells_of
from cfbench.leaderboard.lines import keys_of
from cfbench.leaderboard.ranks import ALPHA, Place
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.scores import Scores, read_scores
from cfbench.records import Record, row_name
from cfbench.statistics import Difference, difference_over_seeds, holm, paired_differences

#: A difference must be larger than this share of the width of the earlier interval.
MARGIN = 0.05
#: And than this share of the number itself: an interval may have no width.
ROUNDING = 1e-4
_DRAWS = 10_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Matched:
    """The scores of two runs on the same lines, a row per seed."""

    before: Array
    after: Array
    patients: tuple[str, ...]


def changes(before: Run, after: Run) -> list[Change]:
    """Return how every number of two runs of one suite differs, in the order of the tables.

    Args:
        before: the run that counts as right.
        after: the run that is put to the test.
    """
    old, new = cells_of(before), cells_of(after)
    places = [place for place in dict.fromkeys([*old, *new]) if not _published(old.get(place), new.get(place))]
    tests = _tested(before, after, places)
    return [_change(place, old.get(place), new.get(place), tests.get(place)) for place in places]


def _published(*found: tuple[Cell, str] | None) -> bool:
    return any(each is not None and each[0].published for each in found)


def _tested(before: Run, after: Run, places: Sequence[Place]) -> Mapping[Place, tuple[Difference, float]]:
    """Return the paired differences (later minus earlier) and their p-values after Holm."""
    old, new = _records(before), _records(after)
    matched = {place: pair for place in places if (pair := _match(before, after, old, new, place)) is not None}
    draws = max(_DRAWS, ceil(4 * len(matched) / ALPHA))
    found = dict(_one_seed(matched, draws))
    for place, pair in matched.items():
        if place not in found:
            try:
                found[place] = difference_over_seeds(pair.after, pair.before, list(pair.patients), draws)
            except UndefinedError:
                continue
    adjusted = holm(np.array([one.p for one in found.values()]))
    return {place: (one, float(p)) for (place, one), p in zip(found.items(), adjusted, strict=True) if not np.isnan(p)}


def _one_seed(matched: Mapping[Place, _Matched], draws: int) -> Iterator[tuple[Place, Difference]]:
    """Yield the differences of rows of one seed; those over the same patients are drawn together."""
    groups: dict[tuple[str, ...], list[Place]] = {}
    for place, pair in matched.items():
        if np.array_equal(pair.before, pair.after, equal_nan=True):
            # The usual night: the same bits, which no draw can tell apart.
            yield place, Difference(0.0, 0.0, 0.0, 1.0, len(set(pair.patients)))
        elif len(pair.before) == 1:
            groups.setdefault(pair.patients, []).append(place)
    for patients, some in groups.items():
        gaps = np.stack([matched[place].after[0] - matched[place].before[0] for place in some], axis=1)
        yield from zip(some, paired_differences(gaps, list(patients), draws), strict=True)


def _records(run: Run) -> Mapping[Place, dict[int, Record]]:
    found: dict[Place, dict[int, Record]] = {}
    for record in run.records:
        cell = record.cell
        place = (cell.dataset, cell.task, record.view, record.metric, row_name(cell))
        found.setdefault(place, {})[cell.seed] = record
    return found


def _match(before: Run, after: Run, old: Any, new: Any, place: Place) -> _Matched | None:
    """Return the scores of all seeds, if both runs answer the same lines of the same patients under the same seeds."""
    first, second = old.get(place, {}), new.get(place, {})
    if not first or first.keys() != second.keys():
        return None
    pairs = [(read_scores(before.folder, first[s]), read_scores(after.folder, second[s])) for s in sorted(first)]
    tables = [table for pair in pairs for table in pair if table is not None]
    if len(tables) < 2 * len(pairs) or any(not _alike(table, tables[0]) for table in tables):
        return None
    stack = np.array([[np.nan if s is None else s for s in table.score] for table in tables], np.float64)
    return _Matched(stack[::2], stack[1::2], tuple(tables[0].patient))


def _alike(a: Scores, b: Scores) -> bool:
    return bool(a.case) and keys_of(a) == keys_of(b) and list(a.patient) == list(b.patient) and all(a.patient)


def _change(
    place: Place,
    old: tuple[Cell, str] | None,
    new: tuple[Cell, str] | None,
    test: tuple[Difference, float] | None,
) -> Change:
    before, direction = old or (ABSENT, "none")
    after, direction = new or (ABSENT, direction)
    change = Change(place=place, direction=direction, before=before, after=after, verdict="untested")
    if before.value is None or after.value is None:
        return replace(change, verdict=_missing(before, after))
    if test is not None:
        one, p = test
        real = p <= ALPHA and abs(one.value) > max(MARGIN * _width(before), ROUNDING * abs(before.value))
        verdict = _side(one.value, direction) if real else "same"
        return replace(change, verdict=verdict, by="paired", low=one.low, high=one.high, p=p)
    if before.extent is None or after.extent is None:
        return replace(change, verdict="same" if before.value == after.value else "untested")
    apart = after.extent[0] > before.extent[1] or after.extent[1] < before.extent[0]
    verdict = _side(after.value - before.value, direction) if apart else "same"
    return replace(change, verdict=verdict, by="intervals")


def _missing(before: Cell, after: Cell) -> Verdict:
    if before.value is None:
        return "new" if after.value is not None else "same"
    return "lost" if after.status in ("failed", "undefined") else "gone"


def _width(cell: Cell) -> float:
    return cell.high - cell.low if cell.low is not None and cell.high is not None else 0.0


def _side(difference: float, direction: str) -> Verdict:
    if direction not in ("higher", "lower") or difference == 0:
        return "same"
    return "better" if (difference > 0) == (direction == "higher") else "worse"
