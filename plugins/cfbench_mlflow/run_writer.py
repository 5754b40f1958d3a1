"""Writes one entry as a run of MLflow, in as few requests as its limits allow."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfbench.records import Cell
from cfbench_mlflow.entries import Entry, digest, value
from cfbench_mlflow.gallery import TABLE, Gallery, logged_tables, write_table

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

#: Statuses of a run that was written to its end.
DONE = ("FINISHED", "FAILED")
#: MLflow takes at most this many tags, and this many parameters, in one batch; and of metrics this many.
_BATCH, _METRICS = 100, 800
#: What a suite's run keeps of its folder: the truth, and what it is the truth about.
_FILES = ("records.jsonl", "suite.json", "run.json")


@dataclass(frozen=True)
class RunWriter:
    """Writes runs into one experiment."""

    client: "MlflowClient"
    experiment: str
    #: `cfbench.run`: the tag value that the suite's run and its cells share.
    run: str
    folder: Path
    #: `run.json`.
    about: Mapping[str, Any]
    #: Held while a cell is written: cells may be prepared side by side, and a database takes one writer.
    turn: AbstractContextManager[Any]

    def suite(self, entry: Entry, old: "Run | None") -> str:
        """Create or update the run of the suite, and return its id: cells name it as their parent."""
        tags = {"cfbench.kind": entry.kind, **entry.tags}
        run = old or self._create(entry, tags)
        with tempfile.TemporaryDirectory() as made:
            for name in _FILES:
                path = self.folder / name
                if path.is_file() and not path.is_symlink():
                    shutil.copyfile(path, Path(made) / name)
            self._files(run, made)
        self._write(run, entry, {**tags, "cfbench.records": entry.digest} if old else {})
        return str(run.info.run_id)

    def cell(self, entry: Entry, cell: Cell, parent: str, gallery: Gallery) -> None:
        """Write the run of a cell: pictures first, numbers after, and last the status that makes it count."""
        with tempfile.TemporaryDirectory() as made:
            table = write_table(gallery, cell, Path(made))
            for path in gallery.figures.get(cell, ()):
                (Path(made) / "figures").mkdir(exist_ok=True)
                shutil.copyfile(path, Path(made) / "figures" / path.name)
            tags = {"cfbench.kind": entry.kind, "cfbench.cell_id": entry.id, "mlflow.parentRunId": parent, **entry.tags}
            tags |= {"mlflow.loggedArtifacts": logged_tables([TABLE])} if table else {}
            with self.turn:
                run = self._create(entry, tags)
                if table or gallery.figures.get(cell):
                    self._files(run, made)
                self._log_dataset(str(run.info.run_id), cell)
                self._write(run, entry, {})

    def _create(self, entry: Entry, tags: Mapping[str, str]) -> "Run":
        return self.client.create_run(
            self.experiment,
            start_time=milliseconds(self.about.get("started")),
            tags={"cfbench.run": self.run, "cfbench.records": entry.digest, **tags},
            run_name=entry.name,
        )

    def _files(self, run: "Run", folder: str) -> None:
        """Send a folder. The client's own way asks the store for the run again."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(run.info.artifact_uri, tracking_uri=self.client.tracking_uri).log_artifacts(folder)

    def _write(self, run: "Run", entry: Entry, tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now, name = int(time.time() * 1000), str(run.info.run_id)
        metrics = _parts([Metric(k, v, now, 0) for k, v in entry.metrics.items()], _METRICS)
        params = _parts([Param(k, v) for k, v in entry.params.items()])
        told = _parts([RunTag(k, v) for k, v in tags.items()])
        for m, p, t in zip_longest(metrics, params, told, fillvalue=()):
            self.client.log_batch(name, m, p, t, synchronous=True)
        start, end = milliseconds(self.about.get("started")), milliseconds(self.about.get("finished"))
        if entry.seconds is not None and start is not None:
            end = start + int(1000 * entry.seconds)
        self.client.set_terminated(name, status="FAILED" if entry.failed else "FINISHED", end_time=end)

    def _log_dataset(self, run: str, cell: Cell) -> None:
        """Name the dataset and its fingerprint; no pixel of it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        datasets = self.about.get("datasets")
        known = datasets.get(cell.dataset) if isinstance(datasets, Mapping) else None
        if not isinstance(known, Mapping) or not known.get("fingerprint"):
            return
        told = {"cfbench.use": value(known.get("use", "")), "cfbench.fingerprint": value(known["fingerprint"])}
        dataset = Dataset(
            name=value(cell.dataset)[:500] or "unnamed",
            digest=digest(known["fingerprint"])[:12],
            source_type="code",
            source=json.dumps({"tags": told}),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "test")])]
        try:
            self.client.log_inputs(run, inputs)
        except MlflowException:  # another cell has named the same dataset at this moment; now it is there
            self.client.log_inputs(run, inputs)


def _parts(items: Sequence[Any], size: int = _BATCH) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def milliseconds(when: object) -> int | None:
    """Return an ISO time as milliseconds since 1970; None if it is none."""
    try:
        return int(datetime.fromisoformat(str(when)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
