"""Rows and columns of a table that hold nothing but `skipped`: their reason is said once instead."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from cfbench.leaderboard.cells import Cell

#: (view, metric).
Key = tuple[str, str]
#: A reason, and what was left out for it.
ByReason = Mapping[str, Sequence[str]]


def skipped_because(cells: Iterable[Cell]) -> str:
    """Return why all of these were skipped; nothing if there is none, or one of them was not."""
    found = list(cells)
    if any(cell.status != "skipped" for cell in found):
        return ""
    return "; ".join(dict.fromkeys(cell.reason or "no reason was recorded" for cell in found))


def unmeasured(rows: Collection[Mapping[Key, Cell]]) -> Mapping[Key, str]:
    """Return the columns that were skipped in every row that has them, and why."""
    keys = dict.fromkeys(key for cells in rows for key in cells)
    found = {key: skipped_because(cells[key] for cells in rows if key in cells) for key in keys}
    return {key: why for key, why in found.items() if why}


def metric_names(keys: Collection[Key], shown: Collection[Key]) -> Mapping[Key, str]:
    """Return how a reader calls each column: by its metric, and by its view where that metric is shown elsewhere."""
    elsewhere = {metric for _, metric in shown}
    return {(view, metric): f"{metric} ({view})" if metric in elsewhere else metric for view, metric in keys}


def by_reason(told: Iterable[tuple[str, str]]) -> ByReason:
    """Group (name, reason) by the reason; a name is said once."""
    found: dict[str, dict[str, None]] = {}
    for name, why in told:
        found.setdefault(why, {})[name] = None
    return {why: list(names) for why, names in found.items()}
