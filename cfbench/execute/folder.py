"""The folder of a run: the suite as it was resolved, records, pictures, job logs."""

import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cfbench.errors import StoreError
from cfbench.leaderboard.text import slug
from cfbench.records import Cell, Record, read_records
from cfbench.store import Artifact, write_atomically
from cfbench.suite import Suite


class RunFolder:
    """`runs/<suite>/<hash>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs = path / "jobs"
        self.records = path / "records.jsonl"

    @classmethod
    def of(cls, suite: Suite, runs: Path) -> "RunFolder":
        """Return the folder of a suite, made if need be. Raises StoreError if it cannot be written."""
        folder = cls(runs / suite.name / suite.sha256[:12])
        try:
            folder.jobs.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder.path):
                pass
            write_atomically(folder.path / "suite.json", json.dumps(suite.config, indent=1))
        except OSError as error:
            raise StoreError(
                f"{folder.path} cannot be written: {error.strerror}; name another folder by --runs"
            ) from error
        return folder

    def config(self) -> Mapping[str, Any]:
        """Return the resolved suite that was run. Raises StoreError if this is no run folder."""
        try:
            config: Mapping[str, Any] = json.loads((self.path / "suite.json").read_text(encoding="utf-8"))
            if not isinstance(config, dict):
                raise ValueError("not a mapping")  # noqa: TRY004 - reported like other unreadable files
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path} is not the folder of a run (no readable suite.json in it)") from error
        return config

    def read_records(self) -> list[Record]:
        """Return the records of earlier runs in this folder, none if there are none or they cannot be read."""
        try:
            return read_records(self.records)
        except StoreError:
            return []

    def write_records(self, records: Iterable[Record]) -> None:
        """Replace the records as a whole."""
        with self._writing():
            write_atomically(self.records, "".join(record.to_json() + "\n" for record in records))

    def write_run(self, facts: Mapping[str, Any]) -> None:
        """Replace `run.json`; what it says of metrics and classifiers that are not looked at anew stays."""
        path, told = self.path / "run.json", dict(facts)
        with suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads(path.read_text(encoding="utf-8"))
            told["metrics"] = {**before["metrics"], **facts["metrics"]}
            told["classifiers"] = _joined(before["classifiers"], facts["classifiers"])
        with self._writing():
            write_atomically(path, json.dumps(told, indent=1, sort_keys=True))

    def write_costs(self, costs: Sequence[Mapping[str, Any]]) -> None:
        """Replace `costs.json`: what each cell's own steps took, and the digests of what they learnt."""
        with self._writing():
            write_atomically(self.path / "costs.json", json.dumps(costs, indent=1, sort_keys=True))

    def write_scores(self, scores: Iterable[Artifact]) -> None:
        """Lay the per-case scores of each number beside the records: `scores/<key>.parquet`, named by its record."""
        with self._writing(), self._replacing("scores") as draft:
            for artifact in scores:
                found = artifact.folder / "scores.parquet"
                if found.is_file():
                    shutil.copyfile(found, draft / f"{artifact.key}.parquet")

    def write_job(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write the file of a job."""
        with self._writing():
            write_atomically(path, json.dumps(content))

    def write_gallery(self, galleries: Mapping[Cell, Artifact]) -> None:
        """Replace the pictures as a whole: `gallery/index.json` and one folder per cell.

        Pictures of data that may not be published stay where they are, in the store; the index says so.
        """
        with self._writing(), self._replacing("gallery") as draft:
            cells = []
            for cell, artifact in galleries.items():
                items = json.loads((artifact.folder / "items.json").read_text(encoding="utf-8"))
                name = artifact.key.rpartition("-")[2][:12] if items["public"] else _in_store(artifact)
                if items["public"]:
                    (draft / name).mkdir(exist_ok=True)
                    for picture in artifact.folder.glob("*.png"):
                        shutil.copyfile(picture, draft / name / picture.name)
                for item in items["items"]:
                    item["images"] = {role: f"{name}/{file}" for role, file in item["images"].items()}
                cells.append({**cell.__dict__, **items, "in_store": not items["public"]})
            write_atomically(draft / "index.json", json.dumps({"cells": cells}))

    def write_figures(self, figures: Mapping[tuple[Cell, str, str], Artifact]) -> None:
        """Replace the figures as a whole: `figures/index.json` and one PNG each; private ones stay in the store."""
        with self._writing(), self._replacing("figures") as draft:
            index = []
            for (cell, figure, view), artifact in figures.items():
                facts = json.loads((artifact.folder / "figure.json").read_text(encoding="utf-8"))
                file = f"{figure}-{artifact.key.rpartition('-')[2][:12]}.png"
                if not facts["public"]:
                    file = f"{_in_store(artifact)}/figure.png"
                elif not facts["reason"]:
                    shutil.copyfile(artifact.folder / "figure.png", draft / file)
                where = {"file": file, "in_store": not facts["public"]}
                index.append({**cell.__dict__, **facts, "figure": figure, "view": view, **where})
            write_atomically(draft / "index.json", json.dumps({"figures": index}))

    def write_audits(self, audits: Mapping[str, Artifact]) -> list[str]:
        """Lay every dataset's audit beside the records, as `audit-<dataset>.json`; return what they warn of."""
        warnings = []
        with self._writing():
            for dataset, artifact in audits.items():
                report, name = (
                    (artifact.folder / "audit.json").read_text(encoding="utf-8"),
                    f"audit-{slug(dataset)}.json",
                )
                write_atomically(self.path / name, report)
                findings = json.loads(report)["findings"]
                warnings += [f"{dataset}: {f['sentence']} ({name})" for f in findings if f["level"] == "warn"]
        return warnings

    def write_ranks(self, ranks: Mapping[tuple[str, str | None, str, str], Artifact]) -> None:
        """Add to `ranks.json`: the tiers of every table column, and the differences that they come from."""
        path, names = self.path / "ranks.json", ("dataset", "task", "view", "metric")
        with self._writing():
            found = {}
            with suppress(OSError, ValueError):
                found = {tuple(item[n] for n in names): item for item in json.loads(path.read_text(encoding="utf-8"))}
            for group, artifact in ranks.items():
                content = json.loads((artifact.folder / "rank.json").read_text(encoding="utf-8"))
                found[group] = {**dict(zip(names, group, strict=True)), **content}
            write_atomically(path, json.dumps(list(found.values()), indent=1))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep other runs of the same suite out meanwhile, and say so plainly if the disk refuses."""
        try:
            with (self.path / ".lock").open("a") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror}; make room, then run again: finished steps are kept"
            ) from error

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        """Yield a draft that takes the place of a folder of pictures when it is whole."""
        for left in self.path.glob(f".{name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        draft, final = self.path / f".{name}-{uuid.uuid4().hex[:8]}", self.path / name
        draft.mkdir()
        yield draft
        if final.exists():
            os.rename(final, draft / "old")  # noqa: PTH104 - Path.rename would refuse nothing more
        draft.rename(final)
        shutil.rmtree(final / "old", ignore_errors=True)


def _in_store(artifact: Artifact) -> str:
    """Return an artifact's folder, relative to its store."""
    return "/".join(artifact.folder.parts[-3:])


def _joined(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what is said of classifiers, the newer where both speak of the same."""
    named = {tuple(item[name] for name in ("dataset", "task", "role", "name")): item for item in (*before, *now)}
    return list(named.values())
