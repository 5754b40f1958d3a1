"""A table's cells as HTML. Made here and not in a template, since a page has thousands of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from cfbench.leaderboard.board import Board
from cfbench.leaderboard.cells import MARKS, Cell
from cfbench.leaderboard.ranks import SENTINEL
from cfbench.leaderboard.table import Column
from cfbench.leaderboard.text import number, plain

#: Width of an interval's bar in SVG units, and the margin that keeps its dot inside.
WIDTH, MARGIN = 88.0, 4.0
#: Footnotes of one table; whatever a record says, a page stays readable.
MOST_NOTES = 300
_TOO_MANY = "more remarks than are shown here: see the exported records"
_TAGS = ("circular", "stale")
GLOSSARY = {
    "undefined": "the number does not exist for this input",
    "skipped": "known before the run to be impossible or not available",
    "failed": "something broke",
    "absent": "not part of this method, or not run",
}


@dataclass
class Notes:
    """Numbered footnotes; the same text has one number."""

    prefix: str
    texts: dict[str, int] = field(default_factory=dict)

    def marks(self, told: Iterable[str]) -> str:
        """Return links to the footnotes of these texts."""
        numbers = dict.fromkeys(self._number(text) for text in told)
        links = ", ".join(f'<a href="#{self.prefix}{n}" aria-label="remark {n}">{n}</a>' for n in numbers)
        return f"<sup>{links}</sup>" if links else ""

    def _number(self, text: str) -> int:
        if text not in self.texts and len(self.texts) >= MOST_NOTES - 1:
            text = _TOO_MANY
        return self.texts.setdefault(text, len(self.texts) + 1)


@dataclass(frozen=True)
class Frame:
    """What the cells of one column share."""

    column: Column
    #: Smallest and largest number, ends of intervals included.
    scale: tuple[float, float] | None
    unit: str = ""
    #: Whether the column is among the few that are shown first.
    key: bool = True


def frame_of(column: Column, cells: Iterable[Cell], unit: str = "", *, key: bool = True) -> Frame:
    """Return a column's frame."""
    numbers = [v for cell in cells if cell.value is not None for v in (cell.value, *(cell.extent or ()))]
    return Frame(column, (min(numbers), max(numbers)) if numbers else None, unit, key)


def frames_of(board: Board) -> list[Frame]:
    """Return the frames of a board's columns."""
    columns = ((head, [line.cells[i] for line in board.lines]) for i, head in enumerate(board.heads))
    return [frame_of(head.column, cells, head.unit, key=head.key) for head, cells in columns]


def remarks_of(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the notes that hold for every measured number."""
    measured = [cell for cell in cells if cell.value is not None and cell.n and not cell.published]
    common = set.intersection(*(set(cell.notes) for cell in measured)) if measured else set()
    return tuple(dict.fromkeys(note for cell in measured for note in cell.notes if note in common))


def told_of(cell: Cell, common: Iterable[str] = ()) -> list[str]:
    """Return what is to be told of a cell below its table."""
    if cell.published:
        return [f"published: {cell.published}", *cell.notes]
    told = [cell.reason] if cell.reason and cell.status != "absent" else []
    told += [note for note in cell.notes if note not in common]
    return told + [f"not ranked: {why}" for why in cell.unranked if not why.startswith(SENTINEL)]


def cell_markup(cell: Cell, frame: Frame, notes: Notes, common: Iterable[str] = ()) -> Markup:
    """Return a `td`."""
    marks = "" if cell.published else notes.marks(told_of(cell, common))  # a paper's row has them behind its name
    if cell.value is None or frame.scale is None:
        shown = "·" if cell.status == "absent" else MARKS[cell.status]
        why = escape(plain(f"{GLOSSARY.get(cell.status, '')}: {cell.reason}" if cell.status != "absent" else ""))
        title = f' title="{why}"' if why else ""
        later = "" if frame.key else " x"
        return Markup(f'<td class="none {cell.status}{later}"{title}>{shown}{marks}</td>')  # noqa: S704 - escaped above
    places = frame.column.places
    tier = tier_markup(cell)
    classes = [name for name, on in (("dim", _pale(cell)), ("of", cell.inherited), ("x", not frame.key)) if on]
    mark = f' class="{" ".join(classes)}"' if classes else ""
    value = as_printed(cell.value) if cell.published else number(cell.value, places)
    body = f"<b>{value}</b>{tier}{marks}{bar(cell, frame.scale)}{_extent(cell, places)}{_tag(cell)}{_control(cell)}"
    title = escape(plain(describe(cell, frame.unit)))
    return Markup(f'<td data-v="{cell.value:.9g}"{mark} title="{title}">{body}</td>')  # noqa: S704 - numbers only


def tier_markup(cell: Cell) -> Markup:
    """Return the mark of a rank tier, hollow where the row beats other methods but not a trivial answer."""
    if not cell.tier:
        return Markup("")
    under = " under" if cell.unbeaten else ""
    name = f'class="t{min(cell.tier, 4)}{under}" role="img" aria-label="tier {cell.tier}"'
    return Markup(f"<i {name}>{cell.tier}</i>")  # noqa: S704 - numbers only


def as_printed(value: float) -> str:
    """Return a paper's number without digits that it does not have."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _pale(cell: Cell) -> bool:
    return bool(cell.unranked) and not cell.published and not cell.unranked[0].startswith(SENTINEL)


def _tag(cell: Cell) -> str:
    found = [tag for tag in _TAGS if any(why.startswith(f"{tag}:") for why in cell.unranked)]
    return "".join(f"<em>{tag}</em>" for tag in found)


def _control(cell: Cell) -> str:
    if not cell.unbeaten:
        return ""
    more = f" (+{len(cell.unbeaten) - 1})" if len(cell.unbeaten) > 1 else ""
    return f'<em class="under">{escape(plain(cell.unbeaten[0].verdict))}{more}</em>'


def unbeaten_of(cell: Cell, places: int) -> list[str]:
    """Return a sentence for every control that a ranked number does not beat, with the test of the two."""
    return [
        f"{one.verdict}, a control: difference {number(one.difference, places)} "
        f"[{number(one.low, places)}, {number(one.high, places)}], p {one.p:.2g}"
        for one in cell.unbeaten
    ]


def _extent(cell: Cell, places: int) -> str:
    if cell.extent is None:
        return ""
    low, high = (number(end, places) for end in cell.extent)
    return f"<small>[{low}, {high}]</small>" if cell.low is not None else f"<small>{low} … {high}</small>"


def bar(cell: Cell, scale: tuple[float, float]) -> str:
    """Return an interval as a thick line, a spread over seeds as a thin one with ends, and the value as a dot."""
    if cell.extent is None or cell.value is None:
        return ""
    low, high = (_position(end, scale) for end in cell.extent)
    only_spread = cell.low is None
    path = f"M{low} 2v6M{low} 5H{high}M{high} 2v6" if only_spread else f"M{low} 5H{high}"
    name = ' class="seeds"' if only_spread else ""
    dot = _position(cell.value, scale)
    head = f'<svg{name} viewBox="0 0 {WIDTH:g} 10" aria-hidden="true">'
    return f'{head}<path d="{path}"/><circle cx="{dot}" cy="5" r="3"/></svg>'


def _position(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    share = (value - low) / (high - low) if high > low else 0.5
    return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)


def count_of(cell: Cell) -> str:
    """Return how many lines and patients a number stands on."""
    seeds = f", mean of {cell.seeds} seeds" if cell.spread else ""
    return f"n = {cell.n:,}" + (f" from {cell.patients:,} patients" if cell.patients else "") + seeds


def describe(cell: Cell, unit: str = "") -> str:
    """Return the whole story of a number in one sentence."""
    if cell.published:
        return cell.published
    value = f"{cell.value:.6g}{f' {unit}' if unit else ''}"
    if cell.low is not None and cell.high is not None:
        value += f"; 95 % interval {cell.low:.6g} to {cell.high:.6g} ({cell.interval})"
    if cell.spread:
        value += f"; seeds from {cell.spread[0]:.6g} to {cell.spread[1]:.6g}"
    value += f"; {count_of(cell)}" if cell.n else ""
    value += "" if cell.coverage is None or cell.coverage == 1 else f"; answers for {cell.coverage:.0%} of the lines"
    value += f"; rank tier {cell.tier} among methods" if cell.tier else ""
    value += "".join(f"; {told}" for told in unbeaten_of(cell, 4))
    return value + ("; measured on the row's generator" if cell.inherited else "")


def as_json(content: object) -> Markup:
    """Return JSON that may stand in a page: no character in it has a meaning to HTML."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704 - escaped on the line above
