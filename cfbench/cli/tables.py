"""A run's tables in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from cfbench.leaderboard.table import MARKS, Cell, Table, tables
from cfbench.leaderboard.text import number, plain
from cfbench.records import Record

_ARROWS = {"higher": "↑", "lower": "↓", "none": ""}


def print_tables(records: Sequence[Record], console: Console) -> None:
    """Print every table with intervals, then the reasons of what is missing."""
    reasons: dict[str, list[str]] = {}
    for table in tables(records):
        console.print(_rich(table, reasons))
    for reason, where in reasons.items():
        console.print(f"[dim]{escape(where[0])}{f' and {len(where) - 1} more' if len(where) > 1 else ''}:[/] ", end="")
        console.print(plain(reason), markup=False, highlight=False)


def _rich(table: Table, reasons: dict[str, list[str]]) -> RichTable:
    views = {column.view for column in table.columns}
    rich = RichTable(title=f"{table.title} · {escape(plain(table.dataset))}", title_justify="left", box=box.SIMPLE_HEAD)
    rich.add_column("method", no_wrap=True)
    for column in table.columns:
        name = f"{column.metric} {_ARROWS[column.direction]}"
        rich.add_column(name if len(views) == 1 else f"{name}\n[dim]{column.view}", justify="right")
    for row in table.rows:
        rich.add_row(escape(plain(row.label)), *(_cell(cell, column.places) for cell, column in zip(row.cells, table.columns, strict=True)))
        for cell, column in zip(row.cells, table.columns, strict=True):
            if cell.reason and cell.status != "absent":
                where = f"{MARKS.get(cell.status, cell.status)}: {plain(row.label)}, {column.metric}"
                reasons.setdefault(cell.reason, []).append(where)
    return rich


def _cell(cell: Cell, places: int) -> str:
    if cell.value is None:
        return f"[dim]{'-' if cell.status == 'absent' else MARKS.get(cell.status, cell.status)}[/]"
    value = f"[bold]{number(cell.value, places)}[/]"
    if cell.extent is None:
        return value
    low, high = cell.extent
    return f"{value}\n[dim]{number(low, places)}-{number(high, places)}[/]"
