"""The command `cfbench mlflow`."""

from pathlib import Path

import click

from cfbench.records import read_records, records_digest
from cfbench_mlflow.after_run import warning
from cfbench_mlflow.target import is_current, shown, tracking_uri


@click.group()
def mlflow() -> None:
    """Look at runs in MLflow. It is a view: records stay the truth, and it can be rebuilt from them at any time."""


@mlflow.command()
@click.argument(
    "folders", metavar="RUN_FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False)
)
@click.option("--tracking-uri", help="Where to write; else $MLFLOW_TRACKING_URI, else mlflow.db beside the suites.")
def sync(folders: tuple[Path, ...], tracking_uri: str | None) -> None:
    """Write run folders (runs/<suite>/<hash>) into MLflow. What is there already is left alone."""
    failed = [folder for folder in folders if not _sync_one(folder, tracking_uri)]
    if failed:
        raise SystemExit(1)


def _sync_one(folder: Path, given: str | None) -> bool:
    uri = given or tracking_uri(folder)
    records = read_records(folder / "records.jsonl")
    if is_current(folder, uri, records_digest(records)):
        click.echo(f"{folder}: nothing new for {shown(uri)}")
        return True
    try:
        from cfbench_mlflow.sync import sync as write

        done = write(records, folder, uri)
    except Exception as error:  # noqa: BLE001 - whatever a server answers becomes one sentence
        click.echo(warning(error, folder, uri), err=True)
        return False
    click.echo(f"{folder}: {done.created} cells written, {done.kept} unchanged, {done.removed} removed")
    click.echo(done.hint)
    return True
