"""The page of one row: its numbers, where they come from, and how to make them again."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cfbench.leaderboard.board import Board, Line
from cfbench.leaderboard.cells import MARKS, Cell
from cfbench.leaderboard.figures import ShownFigure
from cfbench.leaderboard.markup import Frame, as_printed, bar, count_of, tier_markup, told_of, unbeaten_of
from cfbench.leaderboard.published import traps_of
from cfbench.leaderboard.runs import Run, section
from cfbench.leaderboard.scores import by_grade, read_scores
from cfbench.leaderboard.table import column_order
from cfbench.leaderboard.text import decimals, number
from cfbench.records import Record, flat_params

#: Lists of parameters, digests and the like are cut at so many items.
_MOST = 300
_LOCAL = re.compile(r"(/|~|[A-Za-z]:\\).*")


def method_page(
    run: Run, board: Board, frames: Sequence[Frame], index: int, metrics: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the page of a board's `index`-th row shows; `frames` are those of the board's columns."""
    line = board.lines[index]
    about = section(run.about, "components", "attributions", line.attribution or "")
    return {
        "line": line,
        "board": board,
        "about": about,
        "traps": traps_of(next((cell.published for cell in line.cells if cell.published), "")),
        "numbers": _numbers(board, frames, index, metrics),
        "grades": _grades(run, board, line),
        "figures": [figure for figure in run.figures if _is_of(figure, board, line)],
        "parts": [] if line.kind == "published" else _parts(run, board, line),
        "costs": [] if line.kind == "published" else _costs(run, board, line),
        "provenance": [] if line.kind == "published" else _provenance(run, board, line),
        "commands": [] if line.kind == "published" else _commands(run, line),
    }


def _numbers(board: Board, frames: Sequence[Frame], index: int, metrics: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for head, cell, frame in zip(board.heads, board.lines[index].cells, frames, strict=True):
        if cell.status == "absent":
            continue
        drawn = bar(cell, frame.scale) if frame.scale else ""
        ends = [number(end, head.column.places) for end in cell.extent or ()]
        rows.append(
            {
                "head": head,
                "page": metrics.get(head.column.metric, ""),
                "value": _value(cell, head.column.places),
                "missing": cell.value is None,
                "status": cell.status,
                "bar": Markup(drawn),  # noqa: S704 - numbers only
                "extent": (", " if cell.low is not None else " … ").join(ends),
                "tier": tier_markup(cell),
                "under": unbeaten_of(cell, head.column.places),
                "count": count_of(cell) if cell.n else "",
                "told": [*told_of(cell), *(["measured on the generator"] if cell.inherited and cell.n else [])],
            }
        )
    return rows


def _value(cell: Cell, places: int) -> str:
    if cell.value is None:
        return MARKS[cell.status]
    return as_printed(cell.value) if cell.published else number(cell.value, places)


def _records(run: Run, board: Board, line: Line) -> list[Record]:
    """Return the row's own records, and those of its generator."""
    own = run.by_row.get((board.dataset, line.generator, line.attribution), ())
    general = run.by_row.get((board.dataset, line.generator, None), ()) if line.generator else ()
    found = [record for record in own if (record.cell.task or "") == (board.task or "")]
    return found + [record for record in general if record.cell.task is None and record not in found]


def _grades(run: Run, board: Board, line: Line) -> dict[str, Any]:
    """Return the mean score of each grade's lines, of all case metrics; seeds are pooled."""
    found: dict[tuple[str, str], dict[float, list[tuple[float, int]]]] = {}
    for record in _records(run, board, line):
        scores = read_scores(run.folder, record) if record.status == "ok" else None
        for grade, mean in by_grade(scores).items() if scores else ():
            found.setdefault((record.view, record.metric), {}).setdefault(grade, []).append(mean)
    grades = sorted({grade for columns in found.values() for grade in columns})[:20]
    rows = []
    for key in sorted(found, key=column_order):
        means = {grade: _pooled(found[key][grade]) for grade in grades if grade in found[key]}
        places = decimals([mean for mean, _ in means.values()])
        values = [(number(means[g][0], places), means[g][1]) if g in means else ("", 0) for g in grades]
        rows.append({"metric": key[1], "view": key[0], "values": values})
    return {"grades": [f"{grade:g}" for grade in grades], "rows": rows} if len(grades) > 1 else {}


def _pooled(means: Sequence[tuple[float, int]]) -> tuple[float, int]:
    total = sum(n for _, n in means)
    return sum(mean * n for mean, n in means) / total, total


def _is_of(figure: ShownFigure, board: Board, line: Line) -> bool:
    same = figure.dataset == board.dataset and figure.generator == line.generator
    return same and figure.attribution == line.attribution and figure.task in (board.task, None)


def _parts(run: Run, board: Board, line: Line) -> list[dict[str, Any]]:
    """Return the plugins that the row is made of, with their parameters."""
    wanted = [
        ("attribution", ("components", "attributions", line.attribution or "")),
        ("generator", ("components", "generators", line.generator or "")),
        ("explained classifier", ("components", "explains", "explained")),
        ("dataset", ("datasets", board.dataset)),
    ]
    parts = []
    for what, path in wanted:
        about = section(run.about, *path)
        if about.get("use"):
            params = flat_params(section(about, "params"))
            parts.append({"what": what, "name": path[-1], "about": about, "params": _shown(params.items())})
    return parts


def _shown(items: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Return names and values for reading; where files lie on somebody's machine is nobody's business."""
    found = []
    for name, value in list(items)[:_MOST]:
        text = ", ".join(map(str, value[:50])) if isinstance(value, list) else str(value)
        found.append((str(name), "(a local path)" if _LOCAL.fullmatch(text) else text or "(none)"))
    return found


def _costs(run: Run, board: Board, line: Line) -> list[dict[str, Any]]:
    rows = []
    for item in run.costs:
        own = (item.get("task") or "", item.get("attribution")) == (board.task or "", line.attribution)
        if item.get("dataset") != board.dataset or item.get("generator") != line.generator or not own:
            continue
        for stage, spent in list(section(item, "stages").items())[:20]:
            seconds, peak = (section({"of": spent}, "of").get(name) for name in ("seconds", "peak_mb"))
            machines = item.get("machines") if isinstance(item.get("machines"), list) else []
            rows.append({"stage": stage, "seed": item.get("seed"), "seconds": seconds, "peak": peak, "on": machines})
    return rows


def _provenance(run: Run, board: Board, line: Line) -> list[tuple[str, object]]:
    about, dataset = run.about, section(run.about, "datasets", board.dataset)
    costs = [record.cost for record in _records(run, board, line) if record.cost.seconds]
    facts: dict[str, object] = {
        "suite": run.name,
        "suite hash": about.get("suite_hash"),
        "cfbench": about.get("cfbench"),
        "commit": about.get("commit"),
        "seeds": ", ".join(map(str, sorted({record.cell.seed for record in _records(run, board, line)}))),
        "dataset fingerprint": dataset.get("fingerprint"),
        "dataset licence": dataset.get("licence"),
        "run": " to ".join(str(about[key]) for key in ("started", "finished") if about.get(key)),
        "wall time of the run": f"{about['seconds']} s" if about.get("seconds") else None,
        "measuring this row": f"{sum(cost.seconds for cost in costs):.1f} s" if costs else None,
        "peak memory while measuring": f"{max(cost.peak_mb for cost in costs):.0f} MB" if costs else None,
    }
    facts |= {f"plugins from {name}": value for name, value in section(about, "plugins").items()}
    facts |= {f"environment: {name}": value for name, value in section(about, "environment").items()}
    for item in run.costs:
        if (item.get("dataset"), item.get("generator"), item.get("attribution")) == (
            board.dataset,
            line.generator,
            line.attribution,
        ):
            for step, files in section(item, "weights").items():
                facts |= {
                    f"{step}: {name}": f"sha256 {digest}" for name, digest in section({"of": files}, "of").items()
                }
    return [(name, value) for name, value in facts.items() if value not in (None, "", [])][:_MOST]


def _commands(run: Run, line: Line) -> list[tuple[str, str]]:
    """Return the command of the run, and one that leaves the other rows out."""
    command = run.about.get("command")
    if not isinstance(command, str) or not command:
        return []
    commands = [("The run that it is from", command)]
    if line.attribution and command.startswith("cfbench run "):
        others = [("attributions", name) for name in section(run.suite, "attributions") if name != line.attribution]
        others += [("generators", name) for name in section(run.suite, "generators") if name != line.generator]
        only = [shlex.quote(f"{kind}.{name}=null") for kind, name in others]
        commands.append(("This row alone (what is stored is re-used)", " ".join([command, *only])))
    return commands
