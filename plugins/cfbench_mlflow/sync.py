"""Writes one run folder into MLflow: a run for the suite, and below it one for each cell.

Syncing twice changes nothing; a cell whose records changed gets a new run and its old one is deleted. What a killed
sync left half done is neither FINISHED nor FAILED, and is made again.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from cfbench.errors import StoreError
from cfbench.records import Cell, Record, records_digest
from cfbench_mlflow import entries, saved_view
from cfbench_mlflow.gallery import read_gallery
from cfbench_mlflow.run_writer import DONE, RunWriter
from cfbench_mlflow.target import ENVIRONMENT, database, remember, writing

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


#: Cells that are sent to a server at once, or prepared for a database, which takes one writer.
SENDERS = 4
#: What an experiment says of itself.
_NOTE = (
    "A cfbench suite. Its saved views show the cells of one run, or of all runs, as a table (also as charts, and as "
    "pictures side by side: the three buttons above the table)."
)


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What a sync did."""

    experiment_id: str
    created: int
    kept: int
    removed: int
    #: Address of the table of cells, below that of the user interface.
    page: str


def sync(records: Sequence[Record], folder: Path, uri: str, limit: float | None = None) -> Synced:
    """Bring the store at `uri` up to date with a run's records.

    Raises StoreError if the store cannot be written or takes longer than `limit` seconds (what was written stays, and
    the next sync goes on from there), and whatever MLflow raises.
    """
    end = None if limit is None else time.monotonic() + limit
    for name, setting in ENVIRONMENT.items():
        os.environ.setdefault(name, setting)
    with writing(uri, folder), _silence():
        from mlflow.tracking import MlflowClient

        about = _about(folder)
        suite = _suite(about, records, folder)
        run = entries.digest(suite, about.get("suite_hash") or folder.name)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        turn = Lock() if database(uri) else nullcontext()
        writer = RunWriter(client, _experiment(client, suite, uri), run, folder, about, turn)
        old = _existing(writer)
        parent = _suite_run(writer, entries.suite_entry(run, suite, records, about), old.pop(run, []))
        wanted = _wanted(run, records, about)
        current = {name: _current(old.get(name, ()), entry, parent) for name, (_, entry) in wanted.items()}
        missing = [wanted[name] for name, found in current.items() if found is None]
        _write(writer, missing, parent, end)
        _delete(client, [r for name, runs in old.items() for r in runs if r is not current.get(name)])
        page = saved_view.save(client, writer.experiment, run, _title(about, folder), records)
    remember(folder, uri, records_digest(records), page)
    gone = sum(len(runs) for name, runs in old.items() if name not in wanted)
    created, kept = len(missing), len(wanted) - len(missing)
    return Synced(experiment_id=writer.experiment, created=created, kept=kept, removed=gone, page=page)


def _wanted(run: str, records: Sequence[Record], about: Mapping[str, Any]) -> dict[str, tuple[Cell, entries.Entry]]:
    """Return what is to be there of each cell, by its id."""
    cells = entries.by_cell(records)
    names = entries.cell_names(cells)
    wanted = {}
    for cell, found in cells.items():
        params = entries.component_params(cell, about)
        name = f"{names[cell]} (control)" if entries.SENTINEL in params else names[cell]
        entry = entries.cell_entry(run, cell, found, name=name, params=params)
        wanted[entry.id] = (cell, entry)
    return wanted


def _write(writer: RunWriter, missing: Sequence[tuple[Cell, entries.Entry]], parent: str, end: float | None) -> None:
    """Write cells. Raises StoreError if they are not all written at the time `end`."""
    if not missing:
        return
    gallery, done = read_gallery(writer.folder, writer.about), 0
    with ThreadPoolExecutor(SENDERS) as pool:
        writes = [pool.submit(writer.cell, entry, cell, parent, gallery) for cell, entry in missing]
        try:
            for write in as_completed(writes, None if end is None else max(end - time.monotonic(), 0.0)):
                write.result()
                done += 1
        except TimeoutError as error:
            raise StoreError(f"it takes too long; {done} of {len(missing)} cells were written so far") from error
        finally:
            for write in writes:
                write.cancel()


def _current(runs: "Sequence[Run]", entry: entries.Entry, parent: str) -> "Run | None":
    """Return the run that says of a cell what is to be said."""
    return next((r for r in runs if _is_done(r, entry) and r.data.tags.get("mlflow.parentRunId") == parent), None)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what MLflow and its migrations tell about themselves out of the user's terminal."""
    import mlflow  # noqa: F401 - its import sets the levels that are changed here

    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _about(folder: Path) -> Mapping[str, Any]:
    try:
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _suite(about: Mapping[str, Any], records: Sequence[Record], folder: Path) -> str:
    """Return the suite's name, as an experiment may be called."""
    named = about.get("suite") or (records[0].suite if records else "") or folder.resolve().parent.name
    return entries.value(named)[:200].strip() or "unnamed"


def _title(about: Mapping[str, Any], folder: Path) -> str:
    """Return what the list of saved views calls this run: its folder, and when it was started."""
    return " ".join([entries.value(folder.name)[:12], entries.value(about.get("started") or "")[:16].replace("T", " ")])


def _experiment(client: "MlflowClient", name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        file = database(uri)
        # Without it MLflow would put artifacts below whatever the working directory happens to be.
        place = (file.resolve().parent / "mlflow-artifacts" / entries.digest(name)[:12]).as_uri() if file else None
        # The kind decides between MLflow's two faces, one for language models and one for everything else.
        tags = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": _NOTE}
        return str(client.create_experiment(name, artifact_location=place, tags=tags))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _existing(writer: RunWriter) -> "dict[str, list[Run]]":
    """Return the runs of this run folder by their id tag: the suite's has the run's key itself."""
    found: dict[str, list[Run]] = {}
    query, token = f"tags.`cfbench.run` = '{writer.run}'", None
    while True:
        page = writer.client.search_runs([writer.experiment], query, max_results=1000, page_token=token)
        for run in page:
            found.setdefault(run.data.tags.get("cfbench.cell_id", writer.run), []).append(run)
        token = page.token
        if not token:
            return found


def _suite_run(writer: RunWriter, entry: entries.Entry, old: "Sequence[Run]") -> str:
    """Return the id of the suite's run, written if it changed. Two syncs at once on a server may have made two."""
    _delete(writer.client, old[1:])
    if old and _is_done(old[0], entry):
        return str(old[0].info.run_id)
    return writer.suite(entry, old[0] if old else None)


def _is_done(run: "Run", entry: entries.Entry) -> bool:
    return run.info.status in DONE and run.data.tags.get("cfbench.records") == entry.digest


def _delete(client: "MlflowClient", runs: "Sequence[Run]") -> None:
    for run in runs:
        client.delete_run(run.info.run_id)
