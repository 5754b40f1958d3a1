"""The runs of one suite, night after night: each number over time, and what is worse than in the accepted run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cfbench.leaderboard.board import COST, Board, Head, make_boards
from cfbench.leaderboard.cells import ABSENT, MARKS, Cell
from cfbench.leaderboard.change import MEANING, Change, worst_first
from cfbench.leaderboard.lines import place_of
from cfbench.leaderboard.plot import axis, path
from cfbench.leaderboard.ranks import Place
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.table import make_grid
from cfbench.leaderboard.text import decimals, number, slug
from cfbench.leaderboard.view import counts

WIDTH, HEIGHT, EDGE = 150.0, 40.0, 6.0


@dataclass(frozen=True, kw_only=True)
class History:
    """The runs of one suite."""

    #: Oldest first; two at least.
    runs: Sequence[Run]
    #: Position of the run that the newest is held against.
    reference: int
    #: Whether somebody accepted it, or it is merely the oldest.
    accepted: bool
    #: What changed from the reference to the newest.
    changes: Sequence[Change]

    @property
    def newest(self) -> Run:
        """Return the last run."""
        return self.runs[-1]

    @property
    def page(self) -> str:
        """Return the file of its page."""
        return f"history-{slug(self.newest.name)}.html"


def cells_of(run: Run) -> Mapping[Place, tuple[Cell, str]]:
    """Return place to its cell and to which values are better, in the order of the tables."""
    grid = make_grid(run.records, run.ranks)
    found: dict[Place, tuple[Cell, str]] = {}
    for (dataset, task, generator, attribution), cells in grid.rows.items():
        name = " / ".join(part for part in (generator, attribution) if part)
        for (view, metric), cell in cells.items():
            found[dataset, task or None, view, metric, name] = (cell, grid.directions[dataset, view, metric])
    return found


def history_page(history: History) -> dict[str, Any]:
    """Return what the page shows."""
    every = [cells_of(run) for run in history.runs]
    changes = {change.place: change for change in history.changes}
    told = [change for change in worst_first(history.changes) if change.verdict in ("worse", "lost", "better")]
    return {
        "history": history,
        "days": (day_of(history.newest), day_of(history.runs[history.reference])),
        "runs": [_run(history, i) for i in reversed(range(len(history.runs)))],
        "regressions": sum(change.regression for change in history.changes),
        "changes": [_told(change) for change in told[:200]],
        "more": max(0, len(told) - 200),
        "boards": [_board(history, board, every, changes) for board in make_boards(history.newest)],
    }


def _run(history: History, i: int) -> dict[str, Any]:
    run = history.runs[i]
    return {
        "finished": day_of(run),
        "commit": str(run.about.get("commit") or "")[:12],
        "hash": str(run.about.get("suite_hash") or "")[:12],
        "counts": counts(run.records),
        "reference": i == history.reference,
    }


def day_of(run: Run) -> str:
    """Return when a run ended, to the minute, or else the name of its folder."""
    return run.finished[:16].replace("T", " ") or run.folder.name


def _told(change: Change) -> dict[str, Any]:
    places = decimals([cell.value for cell in (change.before, change.after) if cell.value is not None])
    dataset, task, view, metric, _ = change.place
    return {
        "change": change,
        "where": " · ".join(part for part in (dataset, task) if part),
        "metric": metric,
        "view": view,
        "meaning": MEANING[change.verdict],
        "before": _value(change.before, places),
        "after": _value(change.after, places),
        "gap": "" if change.difference is None else number(change.difference, places),
        "ends": "" if change.low is None else f"{number(change.low, places)}, {number(change.high, places)}",
        "p": "" if change.p is None else f"{change.p:.2g}",
    }


def _value(cell: Cell, places: int) -> str:
    return MARKS[cell.status] if cell.value is None else number(cell.value, places)


def _board(
    history: History, board: Board, every: Sequence[Mapping[Place, Any]], changes: Mapping[Place, Change]
) -> dict[str, Any]:
    """Return the charts of every row under those metrics that became worse, and under each group's first."""
    lines = [line for line in board.lines if line.kind != "published"]
    places = {(r, i): _place(board, line, i) for r, line in enumerate(lines) for i in range(len(board.heads))}
    worse = {i for (_, i), place in places.items() if place in changes and changes[place].regression}
    shown = [i for i, head in enumerate(board.heads) if head.group != COST and (head.key or i in worse)]
    columns = sorted(shown, key=lambda i: i not in worse)
    rows = []
    for r, line in enumerate(lines):
        cells = [[run.get(places[r, i], (ABSENT, ""))[0] for run in every] for i in columns]
        found = [changes.get(places[r, i]) for i in columns]
        heads = [board.heads[i] for i in columns]
        charts = [_chart(history, *three) for three in zip(heads, cells, found, strict=True)]
        rows.append({"line": line, "charts": charts})
    title = " · ".join(part for part in (board.dataset, board.task) if part)
    return {"title": title, "heads": [board.heads[i] for i in columns], "rows": rows}


def _place(board: Board, line: Any, i: int) -> Place:
    group, row = place_of(board, line, i)
    return (*group, row)


def _chart(history: History, head: Head, cells: Sequence[Cell], change: Change | None) -> dict[str, Any]:
    """Return one number over the runs: a dot and its interval each, on a scale of its own."""
    values = [v for cell in cells if cell.value is not None for v in (cell.value, *(cell.extent or ()))]
    last = cells[-1]
    if not values:
        return {"line": "", "verdict": "", "empty": "" if last.status == "absent" else MARKS.get(last.status, "")}
    up = axis(values, HEIGHT - EDGE, EDGE)
    across = _across(len(cells))
    known = [(x, cell) for x, cell in zip(across, cells, strict=True) if cell.value is not None]
    spans = [(x, up.at(cell.extent[0]), up.at(cell.extent[1])) for x, cell in known if cell.extent]
    dots = [(x, up.at(cell.value)) for x, cell in known if cell.value is not None]
    reference = cells[history.reference]
    return {
        "empty": "",
        "line": path("M" + "L".join(f"{x:g} {y:g}" for x, y in dots)),
        "spans": path("".join(f"M{x:g} {low:g}V{high:g}" for x, low, high in spans)),
        "dots": dots,
        "reference": None if reference.value is None else (across[history.reference], up.at(reference.value)),
        "value": _value(last, head.column.places),
        "missing": last.value is None,
        "verdict": change.verdict if change else "",
        "told": "; ".join(_points(history, cells, head.column.places)),
    }


def _across(n: int) -> list[float]:
    return [round(EDGE + i * (WIDTH - 2 * EDGE) / (n - 1), 1) for i in range(n)]


def _points(history: History, cells: Sequence[Cell], places: int) -> Iterator[str]:
    for run, cell in list(zip(history.runs, cells, strict=True))[-12:]:
        ends = f" [{', '.join(number(end, places) for end in cell.extent)}]" if cell.extent else ""
        yield f"{day_of(run)}: {'not run' if cell.status == 'absent' else _value(cell, places)}{ends}"
