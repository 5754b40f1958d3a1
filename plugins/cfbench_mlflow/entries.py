"""What MLflow is told of a cell: plain keys and values inside its limits, no number that it would falsify."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from cfbench.records import Cell, Record, flat_params, records_digest

#: MLflow's own limits are 250 characters a key, 6,000 a parameter and 8,000 a tag; longer ones it cuts or refuses.
_KEY, _VALUE = 200, 5000
#: Larger numbers are infinity in disguise (MLflow stores infinity as 1.8e308); NaN is not below it either.
_LARGEST = 1e300


@dataclass(frozen=True)
class Entry:
    """One run of MLflow, before it is written."""

    name: str
    #: Identifies the cell, whatever was found.
    id: str
    #: Changes with what was found.
    digest: str
    failed: bool
    #: What a cell's numbers took; a suite's time is that of its run.
    seconds: float | None
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


def digest(*parts: object) -> str:
    """Return 32 hexadecimal digits that stand for these values."""
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def cell_entry(run: str, cell: Cell, records: Sequence[Record]) -> Entry:
    """Return what is written of one cell of the run with this key."""
    return Entry(
        name=value(cell.name),
        id=digest(run, asdict(cell)),
        digest=records_digest(records),
        failed=any(r.status == "failed" for r in records),
        seconds=sum(r.cost.seconds for r in records),
        metrics=_metrics(records),
        params={key: value("none" if v is None else v) for key, v in asdict(cell).items()},
        tags=_reasons(records),
    )


def suite_entry(run: str, name: str, records: Sequence[Record], about: Mapping[str, Any]) -> Entry:
    """Return what is written of the run as a whole; `about` is its `run.json`."""
    counts = {
        f"records/{s}": float(sum(r.status == s for r in records)) for s in ("ok", "undefined", "skipped", "failed")
    }
    described = {k: v for k, v in about.items() if k in {"cfbench", "plugins", "environment", "command", "suite_hash"}}
    return Entry(
        name=value(name),
        id=run,
        digest=records_digest(records),
        failed=bool(counts["records/failed"]),
        seconds=None,
        metrics=counts,
        params={},
        tags={f"cfbench.{key(k)}": value(v) for k, v in flat_params(described).items() if v not in (None, "")},
    )


def by_cell(records: Iterable[Record]) -> dict[Cell, list[Record]]:
    """Group records by cell; of several of one metric and view the last one counts."""
    latest = {(r.cell, r.view, r.metric): r for r in records}
    cells: dict[Cell, list[Record]] = {}
    for (cell, _, _), record in sorted(latest.items(), key=lambda item: (item[0][0].name, *item[0][1:])):
        cells.setdefault(cell, []).append(record)
    return cells


def _metrics(records: Iterable[Record]) -> dict[str, float]:
    found: dict[str, float] = {}
    for r in records:
        if r.status != "ok":
            continue
        name = key(f"{r.view}/{r.metric}")
        while name in found:  # two names that differ only in characters which MLflow refuses
            name += "_"
        numbers = {"": r.value, "/ci95_lo": r.low, "/ci95_hi": r.high, "/n": float(r.n), "/coverage": r.coverage}
        found |= {name + end: v for end, v in numbers.items() if v is not None and abs(v) < _LARGEST}
    return found


def _reasons(records: Iterable[Record]) -> dict[str, str]:
    told = (r for r in records if r.status != "ok")
    return {key(f"{r.status}/{r.view}/{r.metric}"): value(r.reason or "no reason was recorded") for r in told}


def key(text: str) -> str:
    """Return a key that MLflow takes: letters, digits, `_ - . : /` and spaces, no empty or relative path part."""
    parts = (re.sub(r"[^\w\-. :]", "_", part).strip(". ") for part in text.split("/"))
    return "/".join(part for part in parts if part)[:_KEY].rstrip("./ ") or "unnamed"


def value(text: object) -> str:
    """Return a value on one line that MLflow does not cut."""
    return " ".join(str(text).split())[:_VALUE]
