"""`cfbench leaderboard`: render from records."""

from collections.abc import Sequence
from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
#: What `--format` may be, and the ending of its files.
_FORMATS = {"csv": "csv", "json": "json", "markdown": "md", "latex": "tex"}


@click.group()
def leaderboard() -> None:
    """Render tables, cases and files from the records of runs."""


@leaderboard.command()
@click.argument("runs", nargs=-1, type=_FOLDER)
@click.option("--out", type=click.Path(path_type=Path), default=Path("leaderboard/site"), show_default=True)
@click.option("--print", "show", is_flag=True, help="Print the tables in the terminal as well.")
@click.option(
    "--private-images",
    is_flag=True,
    help="Also show images whose terms forbid to publish them. The pages are then for you alone.",
)
def build(runs: tuple[Path, ...], out: Path, show: bool, private_images: bool) -> None:
    r"""Render RUNS (their folders) as a static site that opens from the disk.

    Without RUNS it takes the newest run of every suite below ./runs.

    \b
      cfbench leaderboard build runs/vcf/0123456789ab --out site
    """
    from cfbench.leaderboard.site import build

    chosen = runs or _newest(Path("runs"))
    if show:
        _print(chosen)
    click.echo(f"look at {build(chosen, out, private=private_images)}")
    if private_images:
        click.echo("it may hold images that must not be published: keep it to yourself")


@leaderboard.command()
@click.argument("runs", nargs=-1, type=_FOLDER)
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="markdown", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; without it, the terminal.")
def export(runs: tuple[Path, ...], form: str, out: Path | None) -> None:
    r"""Write the tables of RUNS for a paper, a spreadsheet or another program.

    \b
      cfbench leaderboard export runs/vcf/0123456789ab --format latex --out vcf.tex
    """
    from cfbench.leaderboard.export import export as exported
    from cfbench.leaderboard.runs import read_runs

    text = exported(_FORMATS[form], list(read_runs(runs or _newest(Path("runs")))))
    if out is None:
        click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    click.echo(f"wrote {out}")


def _newest(runs: Path) -> Sequence[Path]:
    """Return the run of every suite that wrote its records last."""
    newest: dict[Path, Path] = {}
    for records in sorted(runs.glob("*/*/records.jsonl"), key=lambda path: path.stat().st_mtime):
        newest[records.parent.parent] = records.parent
    if not newest:
        raise click.UsageError(f"no run below ./{runs}; name the folders of runs")
    return [newest[suite] for suite in sorted(newest)]


def _print(runs: Sequence[Path]) -> None:
    from rich.console import Console

    from cfbench.cli.tables import print_tables
    from cfbench.leaderboard.ranks import read_ranks
    from cfbench.records import read_records

    for run in runs:
        print_tables(read_records(run / "records.jsonl"), read_ranks(run), Console())
