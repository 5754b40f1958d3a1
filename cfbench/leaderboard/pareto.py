"""Two metrics at once: which methods no other one beats in both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from cfbench.leaderboard.board import Board, Kind
from cfbench.leaderboard.cells import Cell
from cfbench.leaderboard.markup import as_json
from cfbench.leaderboard.plot import Axis, axis, path
from cfbench.leaderboard.text import number, plain

WIDTH, HEIGHT, LEFT, BOTTOM, REST = 640, 420, 62, 46, 14
#: Pairs of metrics that are drawn for readers without JavaScript; the first is shown to all.
_MOST_PLOTS = 6
#: Groups whose metrics are drawn first.
_FIRST = ("Counterfactuals", "Sweep over grades", "Reconstruction", "Localisation", "Cost")
#: Where a name may stand beside its point, and which end of it is there.
_BESIDE = (
    (8, 4, "start"),
    (-8, 4, "end"),
    (0, -9, "middle"),
    (0, 17, "middle"),
    (7, -8, "start"),
    (7, 17, "start"),
    (-7, -8, "end"),
    (-7, 17, "end"),
)


@dataclass(frozen=True)
class Point:
    """A row under two metrics."""

    row: int
    label: str
    page: str
    kind: Kind
    x: float
    y: float
    #: Whether both numbers are measured, of a method, and not barred from ranking.
    counts: bool


def front(points: Iterable[Point], better: tuple[str, str]) -> list[Point]:
    """Return the points that no other one beats: as good in both metrics and better in one. In the order of x.

    Args:
        points: those that count.
        better: `higher` or `lower`, of x and of y.
    """
    signs = [1 if direction == "higher" else -1 for direction in better]
    ordered = sorted(points, key=lambda p: (-signs[0] * p.x, -signs[1] * p.y, p.label))
    found: list[Point] = []
    for point in ordered:
        same = bool(found) and (point.x, point.y) == (found[-1].x, found[-1].y)
        if not found or same or signs[1] * point.y > signs[1] * found[-1].y:
            found.append(point)
    return found


def columns_of(board: Board) -> list[int]:
    """Return the columns that have a better direction and numbers of two methods or more."""
    methods = [line for line in board.lines if line.kind == "method"]
    directed = [i for i, head in enumerate(board.heads) if head.column.direction in ("higher", "lower")]
    return [i for i in directed if sum(line.cells[i].value is not None for line in methods) > 1]


def pareto_page(board: Board, pages: Sequence[str]) -> dict[str, Any]:
    """Return what the page shows: plots of the first pairs of metrics, and the data of all."""
    columns = columns_of(board)
    drawn = [plot(board, pages, x, y) for x, y in first_pairs(board, columns)]
    return {"plots": drawn, "data": as_json(_data(board, pages, columns))}


def first_pairs(board: Board, columns: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs of metrics that are drawn first.

    Within a group, something to raise and something to lower (flips and L1, say): the usual trade. Then the first
    metrics of different groups. Metrics without ranked methods that differ come only if
    there are no others.
    """
    columns = [i for i in columns if _varies(board, i)] or columns
    by_group: dict[str, list[int]] = {}
    for i in sorted(columns, key=lambda i: (not board.heads[i].key, i)):
        by_group.setdefault(board.heads[i].group, []).append(i)
    order = sorted(by_group, key=lambda group: _FIRST.index(group) if group in _FIRST else len(_FIRST))
    pairs = []
    for group in order[:2]:
        ups = [i for i in by_group[group] if board.heads[i].column.direction == "higher"]
        downs = [i for i in by_group[group] if board.heads[i].column.direction == "lower"]
        pairs += [(ups[0], downs[0])] if ups and downs else []
    pairs += [(by_group[a][0], by_group[b][0]) for a, b in combinations(order, 2)]
    return pairs[:_MOST_PLOTS] or [(columns[0], columns[-1])]


def _varies(board: Board, i: int) -> bool:
    """Return whether ranked methods differ."""
    found = {line.cells[i].value for line in board.lines if line.kind == "method" and not _barred(line.cells[i])}
    return len(found - {None}) > 1


def points_of(board: Board, pages: Sequence[str], x: int, y: int) -> list[Point]:
    """Return the rows that have both numbers."""
    found = []
    for i, line in enumerate(board.lines):
        a, b = line.cells[x], line.cells[y]
        if a.value is not None and b.value is not None:
            counts = line.kind == "method" and not _barred(a) and not _barred(b)
            found.append(Point(i, line.label, pages[i], line.kind, a.value, b.value, counts))
    return found


def _barred(cell: Cell) -> bool:
    return bool(cell.unranked)


def plot(board: Board, pages: Sequence[str], x: int, y: int) -> dict[str, Any]:
    """Return one plot. Both axes run so that better is to the right and up."""
    heads = (board.heads[x], board.heads[y])
    points = points_of(board, pages, x, y)
    better = (heads[0].column.direction, heads[1].column.direction)
    right = axis(_reach(board, points, x), LEFT, WIDTH - REST, turned=better[0] == "lower")
    up = axis(_reach(board, points, y), HEIGHT - BOTTOM, REST, turned=better[1] == "lower")
    best = front([p for p in points if p.counts], better)
    places = [head.column.places for head in heads]
    return {
        "id": f"p{x}-{y}",
        "heads": heads,
        "size": (WIDTH, HEIGHT, LEFT, HEIGHT - BOTTOM),
        "ticks": (right.ticks, up.ticks),
        "steps": _steps(best, right, up),
        "points": _labelled([_drawn(p, p in best, board, (x, y), (right, up), places) for p in points]),
        "front": [(p, number(p.x, places[0]), number(p.y, places[1])) for p in best],
    }


def _reach(board: Board, points: Sequence[Point], column: int) -> list[float]:
    """Return all numbers and the ends of their intervals: an axis that cuts those makes chance look like distance."""
    cells = [board.lines[point.row].cells[column] for point in points]
    ends = [end for cell in cells if not cell.published for end in (cell.low, cell.high)]
    return [v for v in (*(cell.value for cell in cells), *ends) if v is not None]


def _drawn(
    point: Point, best: bool, board: Board, at: tuple[int, int], axes: tuple[Axis, Axis], places: Sequence[int]
) -> dict[str, Any]:
    a, b = (board.lines[point.row].cells[i] for i in at)
    x, y = axes[0].at(point.x), axes[1].at(point.y)
    bars = "".join([_bar(a, axes[0], "H", y), _bar(b, axes[1], "V", x)])
    return {
        "point": point,
        "best": best,
        "x": x,
        "y": y,
        "bars": path(bars),
        "told": f"{point.label}: {number(point.x, places[0])}, {number(point.y, places[1])}",
    }


def _labelled(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put names beside the points, those of the front first, where they hide neither a point nor another name."""
    taken = [(d["x"] - 6, d["y"] - 6, d["x"] + 6, d["y"] + 6) for d in drawn]
    for d in sorted(drawn, key=lambda d: not d["best"]):
        text = plain(d["point"].label)
        wide = 6.1 * len(text)
        for lx, ly, anchor in _BESIDE:
            left = d["x"] + lx - {"start": 0.0, "end": wide, "middle": wide / 2}[anchor]
            box = (left, d["y"] + ly - 10, left + wide, d["y"] + ly + 2)
            inside = box[0] > LEFT and box[2] < WIDTH - REST and box[1] > 0 and box[3] < HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                d |= {"label": text, "lx": round(d["x"] + lx, 1), "ly": round(d["y"] + ly, 1), "anchor": anchor}
                break
        else:
            d["label"] = ""
    return drawn


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _bar(cell: Cell, along: Axis, way: str, other: float) -> str:
    """Return a cell's interval as a path, cut to the plot."""
    if cell.low is None or cell.high is None or cell.published:
        return ""
    first, last = (along.at(min(max(end, along.low), along.high)) for end in (cell.low, cell.high))
    return f"M{first} {other}H{last}" if way == "H" else f"M{other} {first}V{last}"


def _steps(best: Sequence[Point], right: Axis, up: Axis) -> str:
    """Return the front as a staircase from the best x to the best y: what lies below and left of it is beaten."""
    if not best:
        return ""
    corners = [(right.at(p.x), up.at(p.y)) for p in best]
    steps = f"M{corners[0][0]} {max(up.end, up.start)}V{corners[0][1]}"
    for x, y in corners[1:]:
        steps += f"H{x}V{y}"
    return path(steps + f"H{LEFT}")


def _data(board: Board, pages: Sequence[str], columns: Sequence[int]) -> Mapping[str, Any]:
    heads = [board.heads[i] for i in columns]
    return {
        "rows": [[plain(line.label), line.kind, page] for line, page in zip(board.lines, pages, strict=True)],
        "columns": [
            {
                "metric": plain(head.column.metric),
                "view": plain(head.column.view),
                "group": head.group,
                "unit": plain(head.unit),
                "better": head.column.direction,
                "places": head.column.places,
                "cells": [_cell(line.cells[i]) for line in board.lines],
            }
            for i, head in zip(columns, heads, strict=True)
        ],
        "first": [[columns.index(x), columns.index(y)] for x, y in first_pairs(board, columns)],
    }


def _cell(cell: Cell) -> Any:
    if cell.value is None:
        return 0
    ends = (cell.low, cell.high) if cell.low is not None and not cell.published else (None, None)
    return [*(None if v is None else float(f"{v:.5g}") for v in (cell.value, *ends)), int(bool(cell.unranked))]
