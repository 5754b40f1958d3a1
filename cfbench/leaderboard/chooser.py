"""What the page of pairs hands to its script: the choice of two rows and a column, within a size that opens at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from cfbench.leaderboard.board import COST, Board
from cfbench.leaderboard.lines import Lines, lines_of, place_of
from cfbench.leaderboard.markup import as_json
from cfbench.leaderboard.opponents import CasePages
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.text import plain

#: Numbers that one page may hold: about 2 MB. A board of 20 rows, 25 columns and 200 cases has 100,000.
MOST_NUMBERS = 300_000


def chooser(run: Run, board: Board, pages: Sequence[str], cases: CasePages) -> dict[str, Any]:
    """Return the data of any pair of a board's rows, and the columns that had to be left out for their size."""
    columns, left_out, room = [], [], MOST_NUMBERS
    order = sorted(range(len(board.heads)), key=lambda i: not board.heads[i].key)
    for i in order:
        if board.heads[i].group == COST:
            continue
        column = _column(run, board, i)
        size = len(column["pairs"]) * 7 + sum(len(row) for row in column["scores"] if row)
        if size > room:
            left_out.append(board.heads[i].column.metric)
        elif column["pairs"] or any(column["scores"]):
            columns.append((i, column))
            room -= size
    content = {
        "rows": [[plain(line.label), line.kind, page] for line, page in zip(board.lines, pages, strict=True)],
        "columns": [column for _, column in sorted(columns, key=lambda each: each[0])],
        "pages": {case: page for (_, task, case), page in cases.items() if task == board.task},
    }
    return {"data": as_json(content), "left_out": left_out}


def _column(run: Run, board: Board, i: int) -> dict[str, Any]:
    head = board.heads[i]
    found = [None if line.kind == "published" else lines_of(run, board, line, i) for line in board.lines]
    keys, scores = _aligned(found)
    return {
        "metric": plain(head.column.metric),
        "view": plain(head.column.view),
        "unit": plain(head.unit),
        "better": head.column.direction,
        "key": head.key,
        "places": head.column.places,
        "values": [_rounded(line.cells[i].value) for line in board.lines],
        "lines": [[plain(case), target] for case, target in keys],
        "scores": scores,
        "pairs": _pairs(run, board, i),
    }


def _aligned(found: Sequence[Lines | None]) -> tuple[Sequence[tuple[str, float | None]], list[Any]]:
    """Return the lines of the column, and each row's scores of them; rows that answer others have none."""
    keys = next((list(lines.keys) for lines in found if lines), [])
    same = [lines.scores if lines and list(lines.keys) == keys else None for lines in found]
    return keys, [0 if scores is None else [_rounded(score) for score in scores] for scores in same]


def _pairs(run: Run, board: Board, i: int) -> list[list[float | int | None]]:
    """Return row, row, difference, interval, p and Holm's p of every tested pair of rows."""
    places = [place_of(board, line, i) for line in board.lines]
    group = next((place[0] for place, line in zip(places, board.lines, strict=True) if line.cells[i].n), None)
    tested: Mapping[tuple[str, str], Any] = run.ranks.pairs.get(group, {}) if group else {}
    rows: dict[str, list[int]] = {}
    for number, (own, name) in enumerate(places):
        if own == group:
            rows.setdefault(name, []).append(number)
    found: list[list[float | int | None]] = []
    for (first, second), pair in tested.items():
        numbers = [_rounded(x) for x in (pair.difference, pair.low, pair.high, pair.p, pair.adjusted)]
        found += [[a, b, *numbers] for a in rows.get(first, ()) for b in rows.get(second, ())]
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
