"""What happens at the end of a run: quickly nothing if nothing changed, one sentence if MLflow cannot be written."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from cfbench.records import Record, records_digest
from cfbench_mlflow.target import is_current, shown, tracking_uri

#: Seconds that a slow tracking server may take of a run's end; what is missing comes with the next sync.
PATIENCE = 60.0


def sync_after_run(records: Sequence[Record], folder: Path) -> None:
    """Project a finished run; print where to look, or one warning and the command that does it later."""
    uri = tracking_uri(folder)
    if not records or is_current(folder, uri, records_digest(records)):
        return
    try:
        from cfbench_mlflow.sync import sync

        synced = sync(records, folder, uri, limit=PATIENCE)
    except Exception as error:  # noqa: BLE001 - a projection must not take the run down, whatever a server answers
        click.echo(warning(error, folder, uri), err=True)
    else:
        click.echo(synced.hint, err=True)


def warning(error: Exception, folder: Path, uri: str) -> str:
    """Return one line: what went wrong, and what to type later."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0][:300].replace(uri, shown(uri)).rstrip(".")
    command = f"cfbench mlflow sync {shlex.quote(str(folder))}"
    return (
        f"warning: MLflow at {shown(uri)} was not updated ({reason}); the results are safe, and `{command}` tries again"
    )
