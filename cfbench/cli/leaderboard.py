"""`cfbench leaderboard`: render from records."""

from collections.abc import Sequence
from pathlib import Path

import click

from cfbench.cli.main import registry_of

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
#: What `--format` may be, and the ending of its files.
_FORMATS = {"csv": "csv", "json": "json", "markdown": "md", "latex": "tex"}


@click.group()
def leaderboard() -> None:
    """Render tables, cases and files from the records of runs."""


@leaderboard.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), default=Path("leaderboard/site"), show_default=True)
@click.option("--print", "show", is_flag=True, help="Print the tables in the terminal as well.")
@click.option(
    "--private-images",
    is_flag=True,
    help="Also show images whose terms forbid to publish them. The pages are then for you alone.",
)
@click.option(
    "--verified",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A `verified.json` of `cfbench verify` that you trust: its bundle is shown as verified.",
)
@click.option(
    "--accepted",
    type=_FOLDER,
    help="The run that the newest of its suite is held against; default: what `leaderboard accept` said.",
)
@click.pass_context
def build(
    ctx: click.Context,
    runs: tuple[Path, ...],
    out: Path,
    show: bool,
    private_images: bool,
    verified: tuple[Path, ...],
    accepted: Path | None,
) -> None:
    """Render RUNS (their folders, or bundles that were handed in) as a static site that opens from the disk.

    Without RUNS it takes the newest run of every suite below ./runs. Bundles are checked first. Several runs of one
    suite get a page of their history, which marks what is worse than in the accepted run.

    \b
      cfbench leaderboard build runs/vcf/0123456789ab --out site
      cfbench leaderboard build nights/*/vcf/* --out site
    """
    from cfbench.cli.handed_in import shown
    from cfbench.compare.site import build

    with shown(runs or newest(Path("runs")), verified, registry_of(ctx)) as found:
        if show:
            _print(found.folders)
        badges = {"unverified": found.unverified, "verified": found.verified}
        page = build(found.folders, out, **badges, private=private_images, accepted=accepted)
        click.echo(f"look at {page}")
    if private_images:
        click.echo("it may hold images that must not be published: keep it to yourself")


@leaderboard.command()
@click.argument("runs", nargs=-1, type=_FOLDER)
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="markdown", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; without it, the terminal.")
def export(runs: tuple[Path, ...], form: str, out: Path | None) -> None:
    """Write the tables of RUNS for a paper, a spreadsheet or another program.

    \b
      cfbench leaderboard export runs/vcf/0123456789ab --format latex --out vcf.tex
    """
    from cfbench.leaderboard.export import export as exported
    from cfbench.leaderboard.runs import read_runs

    text = exported(_FORMATS[form], list(read_runs(runs or newest(Path("runs")))))
    if out is None:
        click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    click.echo(f"wrote {out}")


@leaderboard.command()
@click.argument("run", type=_FOLDER)
def accept(run: Path) -> None:
    """Say that the numbers of RUN (its folder) are right: later runs of the suite are held against them.

    \b
      cfbench leaderboard accept nights/monday/vcf/0123456789ab
    """
    from cfbench.leaderboard.accepted import accept as write

    click.echo(f"wrote {write(run)}; if this folder is run again with other results, it is no longer accepted")


def newest(runs: Path) -> Sequence[Path]:
    """Return the run of every suite that wrote its records last."""
    found: dict[Path, Path] = {}
    for records in sorted(runs.glob("*/*/records.jsonl"), key=lambda path: path.stat().st_mtime):
        found[records.parent.parent] = records.parent
    if not found:
        raise click.UsageError(f"no run below ./{runs}; name the folders of runs")
    return [found[suite] for suite in sorted(found)]


def _print(runs: Sequence[Path]) -> None:
    from cfbench.cli.console import make_console
    from cfbench.cli.tables import print_classifiers, print_tables
    from cfbench.leaderboard.classifiers import classifiers_of
    from cfbench.leaderboard.runs import read_runs

    console = make_console()
    for run in read_runs(runs, pictures=False):
        print_tables(run.records, run.ranks, console)
        print_classifiers(classifiers_of(run.about), console)
