"""What happens at the end of a run: quickly nothing if nothing changed, one sentence if MLflow cannot be written."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from cfbench.records import Record, records_digest
from cfbench_mlflow.target import database, is_current, shown, tracking_uri

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
        click.echo(hint(folder, uri, synced.page), err=True)


def hint(folder: Path, uri: str, page: str) -> str:
    """Return where to look: the page on a tracking server, the command that serves a database."""
    if database(uri) is None:
        return f"MLflow: {address(uri, page)}"
    elsewhere = "" if uri == tracking_uri(folder) else f" --tracking-uri {shlex.quote(uri)}"
    return f"MLflow: `cfbench mlflow ui {shlex.quote(_short(folder))}{elsewhere}`"


def address(uri: str, page: str) -> str:
    """Return the address of a page of a tracking server."""
    return f"{shown(uri).rstrip('/')}/{page}"


def warning(error: Exception, folder: Path, uri: str) -> str:
    """Return one line: what went wrong, and what to type later."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0][:300].replace(uri, shown(uri)).rstrip(".")
    command = f"cfbench mlflow sync {shlex.quote(_short(folder))}"
    return (
        f"warning: MLflow at {shown(uri)} was not updated ({reason}); the results are safe, and `{command}` tries again"
    )


def _short(folder: Path) -> str:
    """Return the folder as one types it from here."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
