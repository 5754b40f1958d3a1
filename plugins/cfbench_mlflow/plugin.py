"""Offers `cfbench mlflow`, and projects every finished run into MLflow."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cfbench.hookspecs import hookimpl
from cfbench.specs import CommandSpec

if TYPE_CHECKING:
    from cfbench.records import Record


@hookimpl
def cfbench_commands() -> Iterable[CommandSpec]:
    """Offer `cfbench mlflow sync`."""
    summary = "Write runs into MLflow (a view that can be rebuilt at any time)."
    return [CommandSpec(name="mlflow", factory="cfbench_mlflow.command:mlflow", summary=summary)]


@hookimpl
def cfbench_run_finished(records: "Sequence[Record]", folder: Path) -> None:
    """Bring MLflow up to date; a tracking server that fails costs one sentence, never the run."""
    from cfbench_mlflow.after_run import sync_after_run

    sync_after_run(records, folder)
