"""From the folder of a run to a bundle: records, per-case scores, ranks, costs, environment, suite and plan."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cfbench.errors import StoreError
from cfbench.records import Record, read_records, records_digest
from cfbench.submission.archive import MANIFEST, BundleError, pack
from cfbench.submission.bundle import FORMAT, VERSION
from cfbench.submission.case_scores import CaseScores, read_scores, write_scores
from cfbench.submission.privacy import Pseudonyms, closed_datasets, mapped, secret_of, without_paths
from cfbench.submission.strict_json import LONGEST, dumps

WITHHELD = "it failed; the reason may name cases of a dataset that must not be redistributed, and was kept back"


@dataclass(frozen=True)
class Draft:
    """A bundle before it is packed, and what a reader has to know of it."""

    entries: Mapping[str, bytes]
    marks: Sequence[str]

    def packed(self) -> bytes:
        """Return the file: the same bytes for the same run."""
        return pack(self.entries)


def make_bundle(run: Path, plan: Mapping[str, Any]) -> Draft:
    """Return the bundle of a finished run.

    Args:
        run: its folder.
        plan: `steps` (key to kind, label and inputs), `measurements` and `ranks`, as planned for its suite.

    Raises:
        BundleError: the run is not finished, or a file of it is missing.
    """
    about, suite = read_about(run), _read(run / "suite.json")
    records = read_records(run / "records.jsonl")
    _check_finished(run, about, records, plan)
    closed = closed_datasets(about)
    names = Pseudonyms(secret_of(run)) if closed else None
    entries = {
        "run.json": dumps_ordered(_public(about)),
        "suite.json": dumps_ordered(_public(suite)),
        "plan.json": dumps_ordered(_public(plan)),
        "costs.json": dumps(_public([_without_host(item) for item in _read(run / "costs.json", [])])),
        "ranks.json": dumps(_public(_read(run / "ranks.json", []))),
    }
    public = [_public_record(record, closed) for record in records]
    entries["records.jsonl"] = "".join(f"{record.to_json()}\n" for record in public).encode("ascii")
    entries |= dict(_scores(run, records, closed, names))
    marks = _marks(about, records)
    entries[MANIFEST] = dumps_ordered(_manifest(about, public, entries, closed, marks, _public(suite) != suite))
    return Draft(entries, marks)


def read_about(run: Path) -> dict[str, Any]:
    """Return what a run says about itself. Raises BundleError if it never came to its end."""
    about = _read(run / "run.json")
    if not isinstance(about, dict) or not isinstance(about.get("metrics"), dict):
        raise BundleError(f"{run / 'run.json'} is not that of a run")
    return about


def dumps_ordered(value: Any) -> bytes:
    """Return JSON that keeps the order of keys: a suite's parts are numbered by it."""
    return f"{json.dumps(value, indent=1, allow_nan=False)}\n".encode("ascii")


def _manifest(
    about: Mapping[str, Any],
    records: Sequence[Record],
    entries: Mapping[str, bytes],
    closed: Iterable[str],
    marks: Sequence[str],
    redacted: bool,
) -> Mapping[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "suite": str(about.get("suite", "")),
        "suite_hash": str(about.get("suite_hash", "")),
        "cfbench": str(about.get("cfbench", "")),
        "commit": str(about.get("commit", "")),
        "records_digest": records_digest(records),
        "pseudonymous": sorted(closed),
        "redacted": redacted,
        "marks": list(marks),
        "files": {n: {"sha256": sha256(d).hexdigest(), "bytes": len(d)} for n, d in sorted(entries.items())},
    }


def _read(path: Path, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is missing or cannot be read: only a finished run can be submitted") from error


def _check_finished(run: Path, about: Mapping[str, Any], records: Sequence[Record], plan: Mapping[str, Any]) -> None:
    """Raise BundleError with all reasons why the run cannot be submitted."""
    planned = {(json.dumps(m["cell"], sort_keys=True), m["metric"], m["view"]): m["key"] for m in plan["measurements"]}
    there = {(json.dumps(r.cell.__dict__, sort_keys=True), r.metric, r.view): r.key for r in records}
    metrics = about.get("metrics", {})
    faults = []
    if unfinished := len(planned.keys() - there.keys()):
        faults.append(
            f"{unfinished} of {len(planned)} numbers have no record: the run was stopped; run the suite again"
        )
    if other := [k for k, key in there.items() if key and k in planned and planned[k] != key]:
        faults.append(
            f"{len(other)} numbers are not those that this installation would make (a plugin, its version or the data "
            f"has changed since), such as {other[0][1]}: run the suite again"
        )
    for record in records:
        case = metrics.get(record.metric, {}).get("kind") == "case"
        if record.key and record.status == "ok" and case and not _scores_path(run, record).is_file():
            faults.append(f"{record.cell.name}: {record.metric}: its per-case scores are missing; run the suite again")
    if faults:
        raise BundleError(f"{run} cannot be submitted:\n" + "\n".join(f"  {fault}" for fault in faults[:20]))


def _scores_path(run: Path, record: Record) -> Path:
    return run / "scores" / f"{record.key}.parquet"


def _marks(about: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """Return what a reader should know before the numbers."""
    failed = sum(r.status == "failed" for r in records)
    stale = sum(any(why.startswith("stale") for why in r.unranked) for r in records)
    commit = str(about.get("commit", ""))
    found = {
        "made with files that differ from their commit": commit.endswith("+changes"),
        "made with an installed package: its commit is not known": not commit,
        f"{failed} numbers failed": failed,
        f"{stale} numbers stand on code that has changed since": stale,
    }
    return [mark for mark, true in found.items() if true]


def _public(value: Any) -> Any:
    return mapped(value, _public_text)


def _public_text(text: str) -> str:
    return without_paths(text)[:LONGEST]


def _public_record(record: Record, closed: frozenset[str]) -> Record:
    """Return a record without paths and host, and without what may name a case that must not be named."""
    reason = WITHHELD if record.status == "failed" and record.cell.dataset in closed else record.reason
    return replace(
        record,
        reason=_public_text(reason),
        notes=tuple(map(_public_text, record.notes)),
        unranked=tuple(map(_public_text, record.unranked)),
        published=_public_text(record.published),
        cost=replace(record.cost, host=""),
    )


def _without_host(item: Mapping[str, Any]) -> Mapping[str, Any]:
    machines = item.get("machines", [])
    devices = sorted({found.group(1) for m in machines if (found := re.search(r"\((\w+)\)$", str(m)))})
    return {**item, "machines": devices}


def _scores(
    run: Path, records: Sequence[Record], closed: frozenset[str], names: Pseudonyms | None
) -> Iterable[tuple[str, bytes]]:
    for record in records:
        path = _scores_path(run, record)
        if not record.key or not path.is_file():
            continue
        try:
            scores = read_scores(path.read_bytes(), path.name)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        if record.cell.dataset in closed:
            assert names  # noqa: S101 - there are names where a dataset is closed
            scores = under_pseudonyms(scores, record.cell.dataset, names)
        yield f"scores/{record.key}.parquet", write_scores(scores)


def under_pseudonyms(scores: CaseScores, dataset: str, names: Pseudonyms) -> CaseScores:
    """Return the lines under other names, in an order that tells nothing, without grades (they are labels)."""
    case = [names.of(dataset, name) for name in scores.case]
    patient = [names.of(dataset, name) for name in scores.patient]
    order = np.argsort(np.asarray(case), kind="stable")
    return CaseScores(
        case=[case[i] for i in order],
        patient=[patient[i] for i in order],
        status=["ok" if scores.status[i] == "ok" else "failed" for i in order],
        score=scores.score[order],
    )
