"""A run's tables in the terminal: one line per metric, one column per method, as many methods as fit side by side."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from cfbench.leaderboard.cells import MARKS, Cell
from cfbench.leaderboard.classifiers import Classifier, remarks
from cfbench.leaderboard.ranks import SENTINEL, Ranks
from cfbench.leaderboard.table import Table, tables
from cfbench.leaderboard.text import number, plain
from cfbench.records import Record

#: Marks of the rank tiers; all beyond the last share its mark.
TIERS = "①②③④⑤⑥⑦⑧⑨"
_ARROWS = {"higher": "↑", "lower": "↓", "none": " "}
#: Columns that a metric's name and one method take, about.
_NAME, _METHOD = 34, 25


def print_tables(records: Sequence[Record], ranks: Ranks, console: Console) -> None:
    """Print every table with 95 % intervals and rank tiers, then the reasons of what is missing."""
    reasons: dict[str, list[str]] = {}
    for table in tables(records, ranks):
        for some in _chunks(table, console.width):
            console.print(_rich(table, some))
        _collect(table, reasons)
    for reason, where in reasons.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        console.print(f"[bold]{escape(where[0])}{more}:[/] ", end="", soft_wrap=True)
        console.print(plain(reason), markup=False, highlight=False, soft_wrap=True)


def print_classifiers(found: Sequence[Classifier], console: Console) -> None:
    """Print how well the judges do on real cases, and a sentence for each whose votes say nothing."""
    if not found:
        return
    rich = RichTable(title="What the judges are worth", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in ("dataset / task", "classifier", "role"):
        rich.add_column(name)
    for name in ("cases", "AUC", "balanced accuracy", "exact grade", "calibration error", "grade error"):
        rich.add_column(name, justify="right")
    for c in found:
        auc = f"[{'red' if c.blind else 'bold'}]{c.auc}[/] [dim]{escape(c.interval)}[/]"
        shares = (c.balanced_accuracy, c.accuracy, c.calibration_error, c.grade_error)
        rich.add_row(escape(c.where), escape(c.name), c.role, c.cases, auc, *shares)
    console.print(rich)
    for remark in remarks(found):
        console.print(f"warning: {remark}", style="red", markup=False, highlight=False, soft_wrap=True)


def _chunks(table: Table, width: int) -> Iterator[Sequence[int]]:
    """Yield the positions of rows (methods) that fit side by side. Pairings that are skipped altogether have no row."""
    fit = max(1, (width - _NAME) // _METHOD)
    tried = [i for i, row in enumerate(table.rows) if any(c.status not in ("skipped", "absent") for c in row.cells)]
    for start in range(0, len(tried), fit):
        yield tried[start : start + fit]


def _rich(table: Table, methods: Sequence[int]) -> RichTable:
    views = {column.view for column in table.columns}
    title = f"{table.title} · {escape(plain(table.dataset))}"
    rich = RichTable(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    rich.add_column("metric", no_wrap=True)
    for i in methods:
        rich.add_column(escape(plain(table.rows[i].label)).replace(" / ", "\n"), justify="right")
    for position, column in enumerate(table.columns):
        name = f"{_ARROWS[column.direction]} {column.metric}"
        shown = name if len(views) == 1 else f"{name} [dim]{column.view}[/]"
        rich.add_row(shown, *(_cell(table.rows[i].cells[position], column.places) for i in methods))
    return rich


def _cell(cell: Cell, places: int) -> str:
    if cell.value is None:
        return f"[dim]{'-' if cell.status == 'absent' else MARKS.get(cell.status, cell.status)}[/]"
    if cell.published:
        return f"[italic]{number(cell.value, places)}[/] [dim]published[/]"
    mark = f" {_tier(cell.tier, held=bool(cell.unbeaten))}" if cell.tier else ""
    value = f"[{'dim' if cell.unranked else 'bold'}]{number(cell.value, places)}[/]{mark}"
    if cell.extent is None:
        return value
    low, high = cell.extent
    return f"{value} [dim]\\[{number(low, places)}, {number(high, places)}][/]"


def _tier(tier: int, *, held: bool) -> str:
    shown = TIERS[min(tier, len(TIERS)) - 1]
    return f"[yellow]{shown}![/]" if held else f"[green]{shown}[/]"


def _collect(table: Table, reasons: dict[str, list[str]]) -> None:
    for row in table.rows:
        for cell, column in zip(row.cells, table.columns, strict=True):
            if cell.reason and cell.status != "absent":
                where = f"{MARKS.get(cell.status, cell.status)}: {plain(row.label)}, {column.metric}"
                reasons.setdefault(cell.reason, []).append(where)
            for one in cell.unbeaten[:1]:
                where = f"{plain(row.label)}, {column.metric}"
                reasons.setdefault(f"{one.verdict}, a control (paired test over the same patients)", []).append(where)
            # A sentinel is never ranked: why the metric ranks nobody says nothing of it.
            sentinel = any(why.startswith(SENTINEL) for why in cell.unranked)
            for why in () if cell.published or sentinel else cell.unranked:
                reasons.setdefault(why, []).append(f"not ranked: {plain(row.label)}, {column.metric}")
