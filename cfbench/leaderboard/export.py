"""A run's numbers for other programs and for papers: CSV, JSON, Markdown and LaTeX."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cfbench import records as rec
from cfbench.leaderboard.cells import MARKS, Cell
from cfbench.leaderboard.latex import to_latex
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.table import Table, tables
from cfbench.leaderboard.text import number, plain

#: Formats by the ending of their files.
FORMATS = ("csv", "json", "md", "tex")
_CSV = ("status", "value", "low", "high", "interval", "n", "patients", "unit", "coverage", "direction", "reason")


def export(form: str, runs: Sequence[Run]) -> str:
    """Return the numbers of some runs in one of `FORMATS`."""
    if form == "csv":
        return to_csv(record for run in runs for record in run.records)
    found = [(run, tables(run.records, run.ranks, run.metrics)) for run in runs]
    if form == "json":
        return to_json(found)
    if form == "tex":
        return "\n".join(f"% {plain(run.title)}\n{to_latex(some)}" for run, some in found)
    return "\n".join(f"## {_md(run.title)}\n\n{to_markdown(some)}" for run, some in found)


def to_json(found: Iterable[tuple[Run, Sequence[Table]]]) -> str:
    """Return every table with pooled values, intervals, tiers and reasons; names are as the records have them."""
    content = [
        {"suite": run.name, "suite_hash": run.about.get("suite_hash"), "tables": [_json_table(table) for table in some]}
        for run, some in found
    ]
    return json.dumps({"format": "cfbench tables 1", "suites": content}, indent=1, allow_nan=False) + "\n"


def _json_table(table: Table) -> Mapping[str, Any]:
    columns = [asdict(column) for column in table.columns]
    rows = []
    for row in table.rows:
        cells = [{k: v for k, v in asdict(cell).items() if k != "inherited"} for cell in row.cells]
        names = ("dataset", "task", "generator", "attribution")
        rows.append({**{name: getattr(row, name) for name in names}, "cells": cells})
    return {"title": table.title, "dataset": table.dataset, "columns": columns, "rows": rows}


def to_csv(records: Iterable[rec.Record]) -> str:
    """Return one line per record. Text that a spreadsheet would take for a formula is led by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    cell_fields = ("dataset", "task", "generator", "attribution", "seed")
    writer.writerow(["suite", *cell_fields, "view", "metric", *_CSV, "notes", "unranked", "sha256"])
    for r in records:
        cells = [getattr(r.cell, name) for name in cell_fields]
        values = [getattr(r, name) for name in _CSV]
        line = [r.suite, *cells, r.view, r.metric, *values, "; ".join(r.notes), "; ".join(r.unranked), r.sha256]
        writer.writerow([_spreadsheet(value) for value in line])
    return out.getvalue()


def _spreadsheet(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def to_markdown(found: Iterable[Table]) -> str:
    """Return GitHub tables; whatever a name contains, it stays text in its own column."""
    return "\n".join(_markdown_table(table) for table in found)


def _markdown_table(table: Table) -> str:
    arrows = {"higher": " ↑", "lower": " ↓"}
    several = len({column.view for column in table.columns}) > 1
    heads = [
        f"{_md(c.metric)}{arrows.get(c.direction, '')}" + (f" ({_md(c.view)})" if several else "")
        for c in table.columns
    ]
    lines = [f"### {_md(table.dataset)}: {_md(table.title)}", "", "| method | " + " | ".join(heads) + " |"]
    lines.append("| --- |" + " ---: |" * len(heads))
    reasons: dict[str, int] = {}
    for row in table.rows:
        pairs = zip(row.cells, table.columns, strict=True)
        cells = [_markdown_cell(cell, column.places, reasons) for cell, column in pairs]
        lines.append(f"| {_md(row.label)} | " + " | ".join(cells) + " |")
    notes = [f"({number}) {_md(reason)}  " for reason, number in reasons.items()]
    return "\n".join([*lines, "", *notes, *([""] if notes else [])])


def _markdown_cell(cell: Cell, places: int, reasons: dict[str, int]) -> str:
    """Return a cell; its reason, if any, is a number that stands below the table."""
    unranked = [f"published: {cell.published}"] if cell.published else [f"not ranked: {why}" for why in cell.unranked]
    unranked += [f"{one.verdict}, a control" for one in cell.unbeaten[:1]]
    told = [reason for reason in (cell.reason, *unranked) if reason]
    mark = "".join(f" ({reasons.setdefault(reason, len(reasons) + 1)})" for reason in told)
    if cell.value is None:
        return f"{MARKS[cell.status]}{mark}"
    low, high = cell.extent or (None, None)
    extent = f" [{number(low, places)}, {number(high, places)}]" if low is not None else ""
    seeds = f" over {cell.seeds} seeds" if cell.spread else ""
    count = "" if cell.published else f", n {cell.n}" + (f", tier {cell.tier}" if cell.tier else "")
    return f"{number(cell.value, places)}{extent}{seeds}{count}{mark}"


def _md(text: str) -> str:
    escaped = re.sub(r"([\\|`*\[\]!#~])", r"\\\1", plain(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
