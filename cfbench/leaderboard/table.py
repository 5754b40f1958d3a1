"""Tables of a run, made from its records: what the terminal, the site and the exports show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cfbench import records as rec
from cfbench.leaderboard.cells import ABSENT, OVER_SEEDS, Cell, pool
from cfbench.leaderboard.controls import unbeaten
from cfbench.leaderboard.ranks import Place, Ranks
from cfbench.leaderboard.text import decimals

#: Groups of columns, in the order of reading.
GROUPS = (
    "Detection",
    "Grading",
    "Detection and grading",
    "Reconstruction",
    "Generation",
    "Counterfactuals",
    "Sweep over grades",
    "Localisation",
    "Other views",
)
#: View to its group. What is known of a metric may place it better (see `group_of`).
_OF_VIEW: Mapping[str, str] = {
    "probe": "Detection and grading",
    "reconstruction": "Reconstruction",
    "reconstruction-random": "Reconstruction",
    "sample": "Generation",
    "counterfactual": "Counterfactuals",
    "cycle": "Counterfactuals",
    "sweep": "Sweep over grades",
    "walk": "Sweep over grades",
    "map": "Localisation",
}
VIEWS = tuple(_OF_VIEW)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric on one view."""

    metric: str
    view: str
    #: `higher`, `lower` or `none`: which values are better.
    direction: str
    #: Decimals that suit its values.
    places: int = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method; `cells` align with the columns of its table."""

    dataset: str
    task: str | None
    generator: str | None
    attribution: str | None
    cells: tuple[Cell, ...]

    @property
    def published(self) -> str:
        """Return the paper that the row is from; empty = it was measured."""
        return next((cell.published for cell in self.cells if cell.published), "")

    @property
    def label(self) -> str:
        """Return what tells it from the other rows of its table, such as `fracture / dae / reflect`."""
        return " / ".join(part for part in (self.task, self.generator, self.attribution) if part) or self.dataset


@dataclass(frozen=True, kw_only=True)
class Table:
    """One group of columns of one dataset."""

    title: str
    dataset: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All numbers of a suite: pooled cells by row and by (view, metric), and each metric's direction."""

    #: (dataset, task, generator, attribution), "" for none, to (view, metric) to the cell.
    rows: Mapping[tuple[str, str, str, str], Mapping[tuple[str, str], Cell]]
    #: (dataset, view, metric) to which values are better.
    directions: Mapping[tuple[str, str, str], str]


def make_grid(
    records: Iterable[rec.Record], ranks: Ranks | None = None, about: Mapping[str, Any] | None = None
) -> Grid:
    """Pool records over their seeds. Of several of one cell, metric and view the last counts (a resumed run)."""
    latest = {(r.cell, r.metric, r.view): r for r in records}
    found: dict[tuple[str, str, str, str], dict[tuple[str, str], list[rec.Record]]] = {}
    told: dict[tuple[str, str, str], set[str]] = {}
    for r in latest.values():
        row = (r.cell.dataset, r.cell.task or "", r.cell.generator or "", r.cell.attribution or "")
        found.setdefault(row, {}).setdefault((r.view, r.metric), []).append(r)
        told.setdefault((r.cell.dataset, r.view, r.metric), set()).add(r.direction)
    directions = {key: next(iter(some)) if len(some) == 1 else "none" for key, some in told.items()}
    known, roles = ranks or Ranks(), {metric: str(facts.get("role") or "") for metric, facts in _known(about)}
    rows = {
        row: {
            key: _placed(pool(some), _place(row, key), known, directions[row[0], *key], roles.get(key[1], ""))
            for key, some in cells.items()
        }
        for row, cells in sorted(found.items())
    }
    return Grid(rows=rows, directions=directions)


def _known(about: Mapping[str, Any] | None) -> Iterable[tuple[str, Mapping[str, Any]]]:
    return ((metric, facts) for metric, facts in (about or {}).items() if isinstance(facts, Mapping))


def group_of(view: str, metric: str, about: Mapping[str, Any]) -> str:
    """Return a column's group. `about` is `run.json`'s account of metrics; without it the view alone decides."""
    known = about.get(metric)
    facts = known if isinstance(known, Mapping) else {}
    if facts.get("role") == "localisation" and view != "probe":
        return "Localisation"
    if view == "probe" and isinstance(facts.get("needs"), list):
        return "Grading" if "grade" in facts["needs"] else "Detection"
    return _OF_VIEW.get(view, "Other views")


def tables(
    records: Iterable[rec.Record], ranks: Ranks | None = None, about: Mapping[str, Any] | None = None
) -> list[Table]:
    """Return one table per dataset and group of columns, in an order that does not depend on the records'."""
    grid = make_grid(records, ranks, about)
    groups: dict[tuple[str, int], dict[tuple[str, str], None]] = {}
    for dataset, view, metric in sorted(grid.directions):
        group = GROUPS.index(group_of(view, metric, about or {}))
        groups.setdefault((dataset, group), {})[view, metric] = None
    return [
        _table(grid, dataset, group, sorted(keys, key=column_order))
        for (dataset, group), keys in sorted(groups.items())
    ]


def _table(grid: Grid, dataset: str, group: int, keys: Sequence[tuple[str, str]]) -> Table:
    chosen = [
        (row, cells) for row, cells in grid.rows.items() if row[0] == dataset and not cells.keys().isdisjoint(keys)
    ]
    rows = tuple(
        Row(
            dataset=dataset,
            task=row[1] or None,
            generator=row[2] or None,
            attribution=row[3] or None,
            cells=tuple(cells.get(key, ABSENT) for key in keys),
        )
        for row, cells in chosen
    )
    columns = tuple(make_column(grid, dataset, key, [row.cells[i] for row in rows]) for i, key in enumerate(keys))
    return Table(title=GROUPS[group], dataset=dataset, columns=columns, rows=rows)


def _place(row: tuple[str, str, str, str], key: tuple[str, str]) -> Place:
    dataset, task, generator, attribution = row
    return (dataset, task or None, *key, " / ".join(part for part in (generator, attribution) if part))


def _placed(cell: Cell, at: Place, ranks: Ranks, direction: str, role: str) -> Cell:
    """Return the cell with its interval over seeds, and its tier or why it has none; its records' marks go first."""
    ends = ranks.intervals.get(at)
    if ends and cell.spread and cell.status == "ok":
        cell = replace(cell, low=ends[0], high=ends[1], interval=OVER_SEEDS)
    place = ranks.places.get(at)
    if cell.unranked or cell.value is None or place is None:
        return cell
    if isinstance(place, str):
        return replace(cell, unranked=(place,))
    return replace(cell, tier=place, unbeaten=unbeaten(ranks, at[:4], at[4], direction, role))


def column_order(key: tuple[str, str]) -> tuple[int, str, str]:
    """Order columns by their view, then by name."""
    view, metric = key
    return (VIEWS.index(view) if view in VIEWS else len(VIEWS)), view, metric


def make_column(grid: Grid, dataset: str, key: tuple[str, str], cells: Iterable[Cell]) -> Column:
    """Return a column's head; its decimals suit the numbers that it shows."""
    shown = [v for cell in cells for v in (cell.value, *(cell.extent or ())) if v is not None]
    return Column(metric=key[1], view=key[0], direction=grid.directions[dataset, *key], places=decimals(shown))
