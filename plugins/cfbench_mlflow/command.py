"""The command `cfbench mlflow`."""

from pathlib import Path

import click

from cfbench.records import read_records, records_digest
from cfbench_mlflow.after_run import address, hint, warning
from cfbench_mlflow.target import database, is_current, known_page, shown, tracking_uri

_FOLDER = click.Path(path_type=Path, file_okay=False)
_URI = click.option(
    "--tracking-uri", "given", help="The store; else $MLFLOW_TRACKING_URI, else mlflow.db beside the suites."
)


@click.group()
def mlflow() -> None:
    """Look at runs in MLflow. It is a view: records stay the truth, and it can be rebuilt from them at any time."""


@mlflow.command()
@click.argument("folders", metavar="RUN_FOLDER...", nargs=-1, required=True, type=_FOLDER)
@_URI
def sync(folders: tuple[Path, ...], given: str | None) -> None:
    """Write run folders (runs/<suite>/<hash>) into MLflow. What is there already is left alone."""
    missing = False
    for folder in folders:
        uri = given or tracking_uri(folder)
        page = _synced(folder, uri)
        missing = missing or page is None
        if page is not None:
            click.echo(hint(folder, uri, page))
    raise SystemExit(int(missing))


@mlflow.command()
@click.argument("folder", metavar="[RUN_FOLDER]", required=False, type=_FOLDER)
@_URI
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="Or the next free one.")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser, or only print its address.")
def ui(folder: Path | None, given: str | None, port: int, *, browser: bool) -> None:
    """Open MLflow's page at the table of a run's cells; without a folder, of the newest run under ./runs.

    A database is served on this machine alone, until Ctrl+C. A tracking server is only pointed to.
    """
    folder = folder or _newest(Path("runs"))
    uri = given or tracking_uri(folder)
    page = _synced(folder, uri)
    if page is None:
        raise SystemExit(1)
    if database(uri) is None:
        _show(address(uri, page), browser=browser)
        return
    from cfbench_mlflow.server import serving

    click.echo("starting MLflow's server ...")
    with serving(uri, port) as (base, wait):
        _show(f"{base}/{page}", browser=browser)
        click.echo("Ctrl+C ends it.")
        wait()


def _show(url: str, *, browser: bool) -> None:
    click.echo(f"MLflow: {url}")
    if browser:
        click.launch(url)


def _newest(runs: Path) -> Path:
    found = sorted(runs.glob("*/*/records.jsonl"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise click.UsageError(f"there is no run under ./{runs}; name a run folder (runs/<suite>/<hash>)")
    return found[-1].parent


def _synced(folder: Path, uri: str) -> str | None:
    """Bring MLflow up to date with a run and return its page; None, and a sentence, if that fails."""
    records = read_records(folder / "records.jsonl")
    page = known_page(folder)
    if page and is_current(folder, uri, records_digest(records)):
        click.echo(f"{folder}: nothing new for {shown(uri)}")
        return page
    try:
        from cfbench_mlflow.sync import sync as write

        done = write(records, folder, uri)
    except Exception as error:  # noqa: BLE001 - whatever a server answers becomes one sentence
        click.echo(warning(error, folder, uri), err=True)
        return None
    click.echo(f"{folder}: {done.created} cells written, {done.kept} unchanged, {done.removed} removed")
    return done.page
