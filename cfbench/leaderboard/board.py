"""The wide table of a suite: one row per method, all its numbers side by side, in groups of columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from cfbench.leaderboard.cells import ABSENT, Cell
from cfbench.leaderboard.left_out import ByReason, by_reason, metric_names, skipped_because, unmeasured
from cfbench.leaderboard.ranks import SENTINEL
from cfbench.leaderboard.runs import Run, section
from cfbench.leaderboard.table import GROUPS, Column, Grid, column_order, group_of, make_column, make_grid
from cfbench.leaderboard.text import decimals

Kind = Literal["method", "published", "sentinel"]
#: Kinds of rows in the order of reading, and what a reader calls them.
KINDS: Mapping[Kind, str] = {"method": "Methods", "published": "Published", "sentinel": "Controls"}
COST = "Cost"
#: Cost columns: name, unit, and the stages of `costs.json` that they add up.
COSTS: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("fit time", "s", ("fit",)),
    ("explain time", "s", ("explain",)),
    ("peak memory", "MB", ("fit", "explain", "reconstruct", "sample")),
)
#: Columns per group that are shown first.
_KEY_COLUMNS = 2


@dataclass(frozen=True, kw_only=True)
class Head:
    """A column's head."""

    column: Column
    group: str
    unit: str = ""
    #: Whether it is among the few that are shown first.
    key: bool = False
    #: Why its numbers are not ranked; empty = they are.
    barred: str = ""

    @property
    def id(self) -> str:
        """Return what links call it."""
        return f"{self.column.metric}@{self.column.view}"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row: a method, a sentinel, or a row of a paper."""

    kind: Kind
    generator: str | None
    attribution: str | None
    cells: tuple[Cell, ...]
    #: `circular`, `stale`: what some of its numbers are.
    tags: tuple[str, ...]

    @property
    def label(self) -> str:
        """Return its name, such as `dae / flip`."""
        return _name((self.generator or "", self.attribution or ""))


@dataclass(frozen=True, kw_only=True)
class Board:
    """All rows of one task of one dataset."""

    dataset: str
    task: str | None
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    #: Why pairings were skipped altogether, and which: they have no line.
    skipped: ByReason = field(default_factory=dict)
    #: The same of metrics, which have no column.
    unmeasured: ByReason = field(default_factory=dict)


def make_boards(run: Run) -> list[Board]:
    """Return a run's boards, one per dataset and task; a dataset whose rows have no task has one board."""
    grid = make_grid(run.records, run.ranks, run.metrics)
    order = _order(run.suite)
    boards = []
    for dataset in dict.fromkeys(row[0] for row in grid.rows):
        tasks = [task for task in dict.fromkeys(row[1] for row in grid.rows if row[0] == dataset) if task]
        boards += [_board(run, grid, dataset, task, order) for task in tasks or [""]]
    return boards


def _order(suite: Mapping[str, Any]) -> Mapping[str, int]:
    metrics = suite.get("metrics")
    names = metrics if isinstance(metrics, list | Mapping) else []
    return {str(name): i for i, name in enumerate(names)}


def _board(run: Run, grid: Grid, dataset: str, task: str, order: Mapping[str, int]) -> Board:
    rows = {row[2:]: cells for row, cells in grid.rows.items() if row[:2] == (dataset, task) and (task or not row[3])}
    skipped = {row: why for row, cells in rows.items() if row[1] and (why := skipped_because(cells.values()))}
    rows = {row: cells for row, cells in rows.items() if row not in skipped}
    general = {row[2]: cells for row, cells in grid.rows.items() if row[:2] == (dataset, "") and not row[3]}
    for generator, cells in general.items():
        if not any(name == generator for name, _ in rows):
            rows[generator, ""] = cells
    costs = _costs(run, dataset, task)
    every = [*rows.values(), *general.values()]
    missing = unmeasured(every)
    found = {key: None for cells in every for key in cells if key not in missing}
    groups = {key: GROUPS.index(group_of(*key, run.metrics)) for key in found}
    keys = sorted(found, key=lambda key: (groups[key], column_order(key)[0], order.get(key[1], len(order)), key[1]))
    lines = [_line(run, row, cells, general.get(row[0], {}), keys, costs) for row, cells in rows.items()]
    lines.sort(key=lambda line: (list(KINDS).index(line.kind), not line.generator, line.label))
    columns = [make_column(grid, dataset, key, [line.cells[i] for line in lines]) for i, key in enumerate(keys)]
    heads = _heads(run, columns, [GROUPS[groups[key]] for key in keys], lines)
    return Board(
        dataset=dataset,
        task=task or None,
        heads=(*heads, *_cost_heads(lines, len(keys))),
        lines=tuple(lines),
        skipped=by_reason((_name(row), why) for row, why in skipped.items()),
        unmeasured=by_reason((metric_names(missing, found)[key], why) for key, why in missing.items()),
    )


def _name(row: tuple[str, str]) -> str:
    return " / ".join(part for part in row if part) or "data"


def _line(
    run: Run,
    row: tuple[str, str],
    cells: Mapping[tuple[str, str], Cell],
    general: Mapping[tuple[str, str], Cell],
    keys: Iterable[tuple[str, str]],
    costs: Mapping[tuple[str, str], Mapping[str, Cell]],
) -> Line:
    generator, attribution = row
    inherited = {k: replace(c, inherited=True) for k, c in general.items()} if attribution else {}
    own = tuple(cells.get(key) or inherited.get(key) or ABSENT for key in keys)
    cost = tuple(costs.get(row, {}).get(name, ABSENT) for name, _, _ in COSTS) if costs else ()
    told = [why for cell in own for why in cell.unranked]
    return Line(
        kind=_kind(run, attribution, own),
        generator=generator or None,
        attribution=attribution or None,
        cells=(*own, *cost),
        tags=tuple(tag for tag in ("circular", "stale") if any(why.startswith(f"{tag}:") for why in told)),
    )


def _kind(run: Run, attribution: str, cells: Sequence[Cell]) -> Kind:
    if any(cell.published for cell in cells):
        return "published"
    known = section(run.about, "components", "attributions", attribution).get("sentinel") is True
    told = any(why.startswith(SENTINEL) for cell in cells if not cell.inherited for why in cell.unranked)
    return "sentinel" if known or told else "method"


def _heads(run: Run, columns: Sequence[Column], groups: Sequence[str], lines: Sequence[Line]) -> list[Head]:
    about = [section(run.metrics, column.metric) for column in columns]
    units, barred = ([str(each.get(name) or "") for each in about] for name in ("unit", "barred"))
    shown = _key_columns(columns, groups, lines) | _first_barred(barred, groups, lines)
    return [
        Head(column=column, group=groups[i], unit=units[i], key=i in shown, barred=barred[i])
        for i, column in enumerate(columns)
    ]


def _first_barred(barred: Sequence[str], groups: Sequence[str], lines: Sequence[Line]) -> set[int]:
    """Return where each group has its first barred metric: who looks for it finds it, and why it has no ranks."""
    first: dict[str, int] = {}
    for i, group in enumerate(groups):
        if barred[i] and any(line.cells[i].value is not None for line in lines):
            first.setdefault(group, i)
    return set(first.values())


def _key_columns(columns: Sequence[Column], groups: Sequence[str], lines: Sequence[Line]) -> set[int]:
    """Return the positions of each group's first metrics: ranked ones, or else those that have a better direction.

    Columns without a better direction, or in which nothing was measured and nothing failed, are left to the choice of
    columns where there are others.
    """

    def rank(i: int) -> int:
        tiers = any(line.cells[i].tier for line in lines)
        measured = any(line.cells[i].value is not None for line in lines)
        return 0 if tiers else 3 if not measured else 1 if columns[i].direction != "none" else 2

    chosen: dict[str, dict[str, int]] = {}
    for i in sorted(range(len(columns)), key=rank):
        first = chosen.setdefault(groups[i], {})
        telling = rank(i) < 2 or any(line.cells[i].status == "failed" for line in lines)
        if len(first) < _KEY_COLUMNS and (telling or not first):
            first.setdefault(columns[i].metric, i)
    return {i for first in chosen.values() for i in first.values()}


def _costs(run: Run, dataset: str, task: str) -> Mapping[tuple[str, str], Mapping[str, Cell]]:
    """Return row to cost column to cell: the mean over seeds."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for item in run.costs:
        if item.get("dataset") != dataset or (item.get("attribution") and (item.get("task") or "") != task):
            continue
        row = (str(item.get("generator") or ""), str(item.get("attribution") or ""))
        for name, _, stages in COSTS:
            value = _spent(item, name, stages)
            if value is not None:
                found.setdefault(row, {}).setdefault(name, []).append(value)
    return {row: {name: _cost_cell(v) for name, v in columns.items()} for row, columns in found.items()}


def _spent(item: Mapping[str, Any], name: str, stages: Iterable[str]) -> float | None:
    field = "peak_mb" if name == "peak memory" else "seconds"
    values = [section(item, "stages", stage).get(field) for stage in stages]
    numbers = [float(v) for v in values if isinstance(v, int | float) and 0 <= v < 1e12]
    if not numbers:
        return None
    return max(numbers) if field == "peak_mb" else sum(numbers)


def _cost_cell(values: Sequence[float]) -> Cell:
    spread = (min(values), max(values)) if len(values) > 1 else None
    return Cell(status="ok", value=fmean(values), spread=spread, seeds=len(values))


def _cost_heads(lines: Sequence[Line], start: int) -> list[Head]:
    if not lines or len(lines[0].cells) == start:
        return []
    heads = []
    for i, (name, unit, _) in enumerate(COSTS, start):
        shown = [line.cells[i].value for line in lines]
        places = decimals([v for v in shown if v is not None])
        column = Column(metric=name, view="cost", direction="lower", places=min(places, 2))
        heads.append(Head(column=column, group=COST, unit=unit, key=i - start < _KEY_COLUMNS))
    return heads
