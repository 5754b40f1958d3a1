"""A board as its page shows it: rows of finished cells, numbered footnotes, groups of columns."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from cfbench.leaderboard.board import KINDS, Board, Head, Kind, Line
from cfbench.leaderboard.cells import MARKS, Cell
from cfbench.leaderboard.left_out import ByReason
from cfbench.leaderboard.markup import Frame, Notes, cell_markup, count_of, frames_of, remarks_of, told_of
from cfbench.leaderboard.published import traps_of
from cfbench.leaderboard.text import number
from cfbench.records import Record

DIRECTIONS = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "none": ("", "no better direction"),
}

#: Pairings that are named for one reason; the page cuts longer texts in the middle of a name.
_MOST_NAMED = 24
#: Rows of each kind that are shown first.
ROWS = 100


@dataclass(frozen=True)
class HeadView:
    """A column's head."""

    head: Head
    page: str
    arrow: str
    better: str
    #: Its view, if another column has the same metric.
    view: str
    #: Ends of its scale, and its unit.
    about: str
    #: Whether a new group begins here.
    first: bool


@dataclass(frozen=True)
class LineView:
    """A row: its name's link, links to remarks on the whole row, and its cells as HTML."""

    line: Line
    page: str
    marks: Markup
    cells: Markup
    #: Whether it is shown only on request, where a script can do so: a browser is slow to lay out thousands of cells.
    late: bool


@dataclass(frozen=True)
class BoardView:
    """A board as it is printed."""

    id: str
    board: Board
    title: str
    #: How many lines and patients its numbers stand on, if all stand on the same.
    count: str
    heads: Sequence[HeadView]
    #: Group name and its number of columns.
    groups: Sequence[tuple[str, int]]
    #: Kinds of rows, what a reader calls them, and the rows.
    bodies: Sequence[tuple[Kind, str, Sequence[LineView]]]
    notes: Sequence[str]
    remarks: Sequence[str]
    #: What has no line or no column: what it is, how many, and the names for each reason.
    left_out: Sequence[tuple[str, int, Sequence[tuple[str, str]]]]
    #: Whether a ranked number does not beat a control.
    under: bool


def board_view(board: Board, id_: str, pages: Sequence[str], metric_pages: Mapping[str, str]) -> BoardView:
    """Lay out one board. `pages` are its rows' pages, `metric_pages` the metrics'."""
    lines = [_with_traps(line) for line in board.lines]
    every = [cell for line in lines for cell in line.cells]
    frames = frames_of(board)
    remarks, notes = remarks_of(every), Notes(f"{id_}-note-")
    late = _late(lines)
    views = [
        LineView(line, page, _marks(line, notes), _cells(line, frames, notes, remarks), late[i])
        for i, (line, page) in enumerate(zip(lines, pages, strict=True))
    ]
    kinds = groupby(views, key=lambda view: view.line.kind)
    counts = {count_of(cell) for cell in every if cell.n and not cell.spread}
    return BoardView(
        id=id_,
        board=board,
        title=" · ".join(part for part in (board.dataset, board.task) if part),
        count=counts.pop() if len(counts) == 1 else "",
        heads=_heads(board.heads, frames, metric_pages),
        groups=[(group, len(list(some))) for group, some in groupby(head.group for head in board.heads)],
        bodies=[(kind, KINDS[kind], list(some)) for kind, some in kinds],
        notes=tuple(notes.texts),
        remarks=remarks,
        left_out=[*_left_out("pairing", board.skipped), *_left_out("metric", board.unmeasured)],
        under=any(cell.unbeaten for cell in every),
    )


def _left_out(what: str, told: ByReason) -> Iterator[tuple[str, int, Sequence[tuple[str, str]]]]:
    if told:
        yield what, sum(len(names) for names in told.values()), [(_listed(names), why) for why, names in told.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _late(lines: Sequence[Line]) -> list[bool]:
    seen: Counter[Kind] = Counter()
    found = []
    for line in lines:
        seen[line.kind] += 1
        found.append(seen[line.kind] > ROWS)
    return found


def _with_traps(line: Line) -> Line:
    """Add to a paper's numbers what is known of their traps."""
    if line.kind != "published":
        return line
    return replace(line, cells=tuple(_told(cell) for cell in line.cells))


def _told(cell: Cell) -> Cell:
    return replace(cell, notes=traps_of(cell.published)) if cell.published else cell


def _marks(line: Line, notes: Notes) -> Markup:
    told = dict.fromkeys(text for cell in line.cells if cell.published for text in told_of(cell))
    return Markup(notes.marks(told))  # noqa: S704 - links with numbers only


def _cells(line: Line, frames: Sequence[Frame], notes: Notes, remarks: Sequence[str]) -> Markup:
    parts = [cell_markup(cell, frame, notes, remarks) for cell, frame in zip(line.cells, frames, strict=True)]
    return Markup("").join(parts)


def _heads(heads: Sequence[Head], frames: Sequence[Frame], pages: Mapping[str, str]) -> list[HeadView]:
    times = Counter((head.group, head.column.metric) for head in heads)
    found, group = [], ""
    for head, frame in zip(heads, frames, strict=True):
        arrow, better = DIRECTIONS.get(head.column.direction, DIRECTIONS["none"])
        several = times[head.group, head.column.metric] > 1
        found.append(
            HeadView(
                head=head,
                page=pages.get(head.column.metric, ""),
                arrow=arrow,
                better=better,
                view=head.column.view if several else "",
                about="; ".join(filter(None, (better, head.unit, _ends(frame)))),
                first=head.group != group,
            )
        )
        group = head.group
    return found


def _ends(frame: Frame) -> str:
    if frame.scale is None:
        return ""
    low, high = (number(end, frame.column.places) for end in frame.scale)
    return f"bars run from {low} to {high}"


def counts(records: Sequence[Record]) -> str:
    """Return how a run went, such as `120 numbers, 6 n/a, 4 skipped, 1 failed`."""
    found = Counter("published" if record.published else record.status for record in records)
    parts = [f"{found['ok']} numbers measured"] + ([f"{found['published']} published"] if found["published"] else [])
    parts += [f"{found[s]} {MARKS[s]}" for s in ("undefined", "skipped", "failed") if found[s]]
    return ", ".join(parts)
