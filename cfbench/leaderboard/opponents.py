"""The page of one method against the best of every column: the pairs that a reader asks for first.

A board of m methods has m (m - 1) / 2 pairs. Who reads about a method asks how far it is from the best, so every method
has one page on which each column sets it against that column's best ranked row (the best itself against the second).
Any other pair is a choice on the page of pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cfbench.leaderboard.board import Board, Line
from cfbench.leaderboard.lines import better_by
from cfbench.leaderboard.plot import axis, dots, path
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.text import number
from cfbench.leaderboard.versus import Versus, best_of, versus

#: Cases per side that are named below a plot.
_NAMED = 3
#: Side of a plot, and its margins: left and bottom hold the ticks.
SIDE, LEFT, BOTTOM, REST = 230, 46, 34, 8
#: More lines are drawn as every second, third, ... of them.
_MOST_DOTS = 600

#: (dataset, task, case) to the page of its pictures.
CasePages = Mapping[tuple[str, str | None, str], str]


def opponent_rows(run: Run, board: Board, line: Line, pages: Sequence[str], cases: CasePages) -> list[dict[str, Any]]:
    """Return what the page shows of each column in which the row has a number and somebody is ranked."""
    rows = []
    for i, cell in enumerate(line.cells):
        other = best_of(board, i, line) if cell.value is not None else None
        if other is None:
            continue
        found = versus(run, board, line, other, i)
        if not found.same_number:
            rows.append(_row(found, board, other, pages[board.lines.index(other)], cases))
    return rows


def _row(found: Versus, board: Board, other: Line, page: str, cases: CasePages) -> dict[str, Any]:
    places = found.head.column.places
    named = found.widest(_NAMED) if found.head.key else {}
    return {
        "versus": found,
        "other": (other.generator if found.second.inherited else None) or other.label,
        "page": page,
        "first": number(found.first.value, places),
        "second": number(found.second.value, places),
        "gap": _gap(found, places),
        "plot": scatter(found) if found.head.key and len(found.lines) > 1 else None,
        "cases": {side: [_case(each, board, places, cases) for each in some] for side, some in named.items()},
    }


def _gap(found: Versus, places: int) -> dict[str, str] | None:
    pair = found.pair
    if pair is None:
        return None
    p = pair.p if pair.adjusted is None else pair.adjusted
    return {
        "value": number(pair.difference, places),
        "ends": f"{number(pair.low, places)}, {number(pair.high, places)}",
        "p": "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}",
        "corrected": "" if pair.adjusted is None else "after Holm",
    }


def _case(each: tuple[str, float | None, float, float], board: Board, places: int, cases: CasePages) -> dict[str, Any]:
    case, target, first, second = each
    return {
        "case": case,
        "target": "" if target is None else f"{target:g}",
        "first": number(first, places),
        "second": number(second, places),
        "page": cases.get((board.dataset, board.task, case), ""),
    }


def scatter(found: Versus) -> dict[str, Any]:
    """Return a plot of the lines: the second's score to the right, the first's up, one scale for both."""
    lines = found.lines[:: max(1, -(-len(found.lines) // _MOST_DOTS))]
    values = [value for _, a, b in lines for value in (a, b)]
    right, up = axis(values, LEFT, SIDE - REST), axis(values, SIDE - BOTTOM, REST)
    sides: dict[str, list[tuple[float, float]]] = {"ahead": [], "behind": [], "tie": []}
    for _, a, b in lines:
        gap = better_by(a, b, found.direction)
        sides["ahead" if gap > 0 else "behind" if gap < 0 else "tie"].append((right.at(b), up.at(a)))
    ends = (right.low, right.high)
    return {
        "side": SIDE,
        "left": LEFT,
        "bottom": SIDE - BOTTOM,
        "rest": REST,
        "ticks": (right.ticks, up.ticks),
        "diagonal": path(f"M{right.at(ends[0])} {up.at(ends[0])}L{right.at(ends[1])} {up.at(ends[1])}"),
        "sides": {side: dots(points) for side, points in sides.items() if points},
        "above": found.direction == "higher",
        "drawn": len(lines),
    }
