"""`cfbench compare`: two methods of a run, or two runs of a suite, in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_ARROWS = {"higher": "↑", "lower": "↓", "none": " "}
_VERDICTS = {"better": "[green]A better[/]", "worse": "[red]B better[/]", "same": "[dim]not told apart[/]", "": ""}
_COLOURS = {"worse": "red", "lost": "red", "better": "green"}


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--run", type=_FOLDER, help="Folder of the run that both methods are of; default: the newest in ./runs.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric; may be repeated.")
@click.option("--cases", default=0, metavar="N", show_default=True, help="Also list N cases on which they differ most.")
@click.option("--all", "everything", is_flag=True, help="Of two runs, also list what did not change.")
@click.option("--fail-on-regression", is_flag=True, help="Of two runs: exit with 1 if B is worse than A anywhere.")
def compare(
    a: str,
    b: str,
    run: Path | None,
    metrics: tuple[str, ...],
    cases: int,
    everything: bool,
    fail_on_regression: bool,
) -> int:
    """Set two methods of a run, or two runs of a suite, against each other.

    A and B are rows of a table (as the leaderboard calls them: "dae / flip", or dae-flip for short), or the folders of
    two runs of one suite, A the accepted one and B the later one.

    \b
      cfbench compare dae-flip pca-flip
      cfbench compare dae-flip pca-flip --run runs/vcf/0123456789ab --metric truth-error --cases 5
      cfbench compare nights/monday/vcf/0123456789ab nights/tuesday/vcf/0123456789ab --fail-on-regression

    Differences are A minus B (of runs: B minus A, what has changed) on the same cases, with a 95 % interval over
    patients and a p-value after Holm: over all pairs of the column, as for the rank tiers, or over all numbers of the
    two runs. Wins, losses and ties count cases, for A. What counts as a regression: docs/leaderboard.md.
    """
    folders = [Path(name) for name in (a, b) if (Path(name) / "records.jsonl").is_file()]
    if len(folders) == 2:
        if run is not None:
            raise click.UsageError("A and B are runs already; leave --run out")
        return _runs(folders[0], folders[1], metrics, everything=everything, strict=fail_on_regression)
    if fail_on_regression or folders:
        told = "--fail-on-regression compares two runs" if fail_on_regression else f"{folders[0]} is a run"
        raise click.UsageError(f"{told}: A and B must then both be folders with a records.jsonl")
    _methods(a, b, run, metrics, cases)
    return 0


def _methods(a: str, b: str, folder: Path | None, metrics: Sequence[str], cases: int) -> None:
    from cfbench.cli.console import make_console
    from cfbench.compare.pairs import corrected
    from cfbench.leaderboard.board import make_boards
    from cfbench.leaderboard.runs import read_runs
    from cfbench.leaderboard.versus import versus

    run = corrected(next(iter(read_runs([folder or _latest()]))))
    boards = make_boards(run)
    _check_names((a, b), boards)
    _check_metrics(metrics, {head.column.metric for board in boards for head in board.heads})
    console = make_console()
    shown = 0
    for board in boards:
        first, second = (_row(name, board) for name in (a, b))
        if first is None or second is None:
            continue
        wanted = [i for i, head in enumerate(board.heads) if not metrics or head.column.metric in metrics]
        found = [versus(run, board, first, second, i) for i in wanted]
        _print_versus(found, board, (first.label, second.label), console)
        _print_cases(found, cases, console)
        shown += 1
    if not shown:
        raise click.UsageError(f"no table of {run.title!r} has both {a!r} and {b!r}")


def _latest() -> Path:
    """Return the run below ./runs that wrote its records last."""
    from cfbench.cli.leaderboard import newest

    return max(newest(Path("runs")), key=lambda folder: (folder / "records.jsonl").stat().st_mtime)


def _row(name: str, board: Any) -> Any:
    from cfbench.leaderboard.text import slug

    return next((line for line in board.lines if name in (line.label, slug(line.label))), None)


def _check_names(names: Sequence[str], boards: Sequence[Any]) -> None:
    """Raise UsageError for a name that no table has, with those that there are."""
    from cfbench.leaderboard.text import slug
    from cfbench.registry import did_you_mean

    known = list(dict.fromkeys(slug(line.label) for board in boards for line in board.lines))
    labels = {line.label for board in boards for line in board.lines}
    for name in names:
        if name not in known and name not in labels:
            raise click.UsageError(f"no row {name!r} in this run{did_you_mean(name, known)}; rows: {', '.join(known)}")
    if names[0] == names[1]:
        raise click.UsageError("A and B are the same row")


def _check_metrics(metrics: Sequence[str], known: set[str]) -> None:
    from cfbench.registry import did_you_mean

    there = sorted(known)
    for name in metrics:
        if name not in known:
            raise click.UsageError(f"no metric {name!r}{did_you_mean(name, there)}; metrics: {', '.join(there)}")


def _print_versus(found: Sequence[Any], board: Any, names: tuple[str, str], console: Any) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = " · ".join(part for part in (board.dataset, board.task) if part)
    table = Table(title=escape(f"A {names[0]}   B {names[1]}   ({title})"), box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify, table.title_style = "left", "bold"
    for name in ("metric", "A", "B", "A − B  [95 %]", "p", "wins/losses/ties", ""):
        table.add_column(name, justify="left" if name in ("metric", "") else "right")
    for one in found:
        if one.first.status != "absent" or one.second.status != "absent":
            table.add_row(*_versus_row(one))
    console.print(table)
    if any(cell.unranked for one in found for cell in (one.first, one.second)):
        console.print("[dim]* not ranked: the leaderboard says why[/]", highlight=False)


def _versus_row(one: Any) -> list[str]:
    from rich.markup import escape

    from cfbench.leaderboard.text import number, plain

    column, places = one.head.column, one.head.column.places
    name = f"{_ARROWS[one.direction]} {escape(plain(column.metric))} [dim]{escape(plain(column.view))}[/]"
    cells = [_number(cell, places) for cell in (one.first, one.second)]
    if one.same_number or one.pair is None:
        why = "the same generator" if one.same_number else ""
        return [name, *cells, "", "", _counts(one), f"[dim]{why}[/]"]
    pair = one.pair
    gap = f"{number(pair.difference, places)}  [dim]\\[{number(pair.low, places)}, {number(pair.high, places)}][/]"
    p = f"{pair.p:.2g} [dim]not ranked[/]" if pair.adjusted is None else f"{pair.adjusted:.2g}"
    return [name, *cells, gap, p, _counts(one), _VERDICTS[one.verdict]]


def _counts(one: Any) -> str:
    return f"{one.counts.wins}/{one.counts.losses}/{one.counts.ties}" if one.counts else ""


def _number(cell: Any, places: int) -> str:
    from cfbench.leaderboard.cells import MARKS
    from cfbench.leaderboard.text import number

    if cell.value is None:
        return f"[dim]{'-' if cell.status == 'absent' else MARKS[cell.status]}[/]"
    shown = number(cell.value, places)
    return f"[dim]{shown}*[/]" if cell.unranked else shown


def _print_cases(found: Sequence[Any], most: int, console: Any) -> None:
    for one in found if most > 0 else ():
        for side, some in one.widest(most).items():
            for case, target, first, second in some:
                asked = "" if target is None else f" → {target:g}"
                column = one.head.column
                text = f"{column.metric} ({column.view}): A {side} on {case}{asked}: {first:.4g} against {second:.4g}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)


def _runs(before: Path, after: Path, metrics: Sequence[str], *, everything: bool, strict: bool) -> int:
    from cfbench.cli.console import make_console
    from cfbench.compare.changes import changes
    from cfbench.leaderboard.runs import read_runs

    old, new = (next(iter(read_runs([folder]))) for folder in (before, after))
    if old.name != new.name:
        raise click.UsageError(f"runs of two suites, {old.name!r} and {new.name!r}: their numbers do not compare")
    found = changes(old, new)
    _check_metrics(metrics, {change.place[3] for change in found})
    wanted = [change for change in found if not metrics or change.place[3] in metrics]
    console = make_console()
    _print_changes(wanted, (before, after), console, everything=everything)
    regressions = sum(change.regression for change in wanted)
    return 1 if strict and regressions else 0


def _print_changes(found: Sequence[Any], folders: tuple[Path, Path], console: Any, *, everything: bool) -> None:
    from rich import box
    from rich.table import Table

    from cfbench.leaderboard.change import MEANING, worst_first

    console.print(f"A {folders[0]}\nB {folders[1]}", markup=False, highlight=False, soft_wrap=True)
    shown = [change for change in worst_first(found) if everything or change.verdict not in ("same", "untested")]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("row", "metric", "A", "B", "B − A  [95 %]", "p", ""):
        table.add_column(name, justify="left" if name in ("row", "metric", "") else "right")
    for change in shown:
        table.add_row(*_change_row(change, MEANING))
    if shown:
        console.print(table)
    counts = {verdict: sum(change.verdict == verdict for change in found) for verdict in MEANING}
    regressions = sum(change.regression for change in found)
    told = [f"{n} {verdict}" for verdict, n in counts.items() if n and verdict not in ("worse", "lost")]
    console.print(f"{regressions} regressions of {len(found)} numbers; {', '.join(told)}", highlight=False)


def _change_row(change: Any, meaning: Mapping[str, str]) -> list[str]:
    from rich.markup import escape

    from cfbench.leaderboard.text import decimals, number, plain

    places = decimals([cell.value for cell in (change.before, change.after) if cell.value is not None])
    metric = f"{_ARROWS[change.direction]} {escape(plain(change.place[3]))} [dim]{escape(plain(change.place[2]))}[/]"
    gap = "" if change.difference is None else number(change.difference, places)
    if change.low is not None:
        gap += f"  [dim]\\[{number(change.low, places)}, {number(change.high, places)}][/]"
    p = "" if change.p is None else f"{change.p:.2g}"
    how = " [dim](intervals apart)[/]" if change.by == "intervals" and change.verdict != "same" else ""
    told = f"[{_COLOURS.get(change.verdict, 'dim')}]{meaning[change.verdict]}[/]{how}"
    cells = [_number(cell, places) for cell in (change.before, change.after)]
    return [escape(plain(change.row)), metric, *cells, gap, p, told]
