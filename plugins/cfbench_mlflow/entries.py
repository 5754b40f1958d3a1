"""What MLflow is told of a cell: plain keys and values inside its limits, no number that it would falsify."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from cfbench.records import Cell, Record, flat_params, records_digest, row_name

#: Raised when the same records are written differently: what an older version wrote is then written anew.
LAYOUT = 3
#: MLflow's own limits are 250 characters a key, 6,000 a parameter and 8,000 a tag; longer ones it cuts or refuses.
_KEY, _VALUE = 200, 5000
#: Larger numbers are infinity in disguise (MLflow stores infinity as 1.8e308); NaN is not below it either.
_LARGEST = 1e300
#: The parameter that only controls have.
SENTINEL = "settings/attribution.sentinel"
#: What the description of a suite's run says.
SUITE_NOTE = (
    "One run of a cfbench suite; the runs below it are its cells: one for each dataset, task, generator, attribution "
    "and seed. Its records are among its artifacts."
)
#: Endings of the numbers that belong to a metric.
ENDINGS = ("/ci95_lo", "/ci95_hi", "/n", "/coverage")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run of MLflow, before it is written."""

    name: str
    #: `suite`, `cell`, or `skipped`: a cell without a single number, which the saved views leave out.
    kind: str
    #: Identifies the cell, whatever was found.
    id: str
    #: Changes with what was found, and with what is told of it; costs do not count.
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


def cell_entry(
    run: str, cell: Cell, records: Sequence[Record], *, name: str = "", params: Mapping[str, str] | None = None
) -> Entry:
    """Return what is written of one cell of the run with this key; `params` are those of its components."""
    told = {name: value("none" if v is None else v) for name, v in asdict(cell).items()}
    all_params = {**(params or {}), **told}
    title = value(name or cell.name)[:_KEY]
    return Entry(
        name=title,
        kind="skipped" if all(r.status == "skipped" for r in records) else "cell",
        id=digest(run, asdict(cell)),
        digest=digest(LAYOUT, records_digest(records), title, all_params),
        failed=any(r.status == "failed" for r in records),
        seconds=sum(r.cost.seconds for r in records),
        metrics=_metrics(records),
        params=all_params,
        tags={**_reasons(records), "mlflow.note.content": _note(cell, records)},
    )


def suite_entry(run: str, name: str, records: Sequence[Record], about: Mapping[str, Any]) -> Entry:
    """Return what is written of the run as a whole; `about` is its `run.json`."""
    counts = {
        f"records/{s}": float(sum(r.status == s for r in records)) for s in ("ok", "undefined", "skipped", "failed")
    }
    described = {
        k: v for k, v in about.items() if k in {"cfbench", "plugins", "environment", "command", "commit", "suite_hash"}
    }
    return Entry(
        name=value(name)[:_KEY],
        kind="suite",
        id=run,
        digest=digest(LAYOUT, records_digest(records)),
        failed=bool(counts["records/failed"]),
        seconds=None,
        metrics=counts,
        params={},
        tags={f"cfbench.{key(k)}": value(v) for k, v in flat_params(described).items() if v not in (None, "")}
        | {"mlflow.note.content": SUITE_NOTE, "mlflow.source.name": value(about.get("command") or "cfbench")},
    )


def by_cell(records: Iterable[Record]) -> dict[Cell, list[Record]]:
    """Group records by cell; of several of one metric and view the last one counts."""
    latest = {(r.cell, r.view, r.metric): r for r in records}
    cells: dict[Cell, list[Record]] = {}
    for (cell, _, _), record in sorted(latest.items(), key=lambda item: (item[0][0].name, *item[0][1:])):
        cells.setdefault(cell, []).append(record)
    return cells


def cell_names(cells: Iterable[Cell]) -> dict[Cell, str]:
    """Return short names: the method, then only what differs between the cells (MLflow's columns are narrow)."""
    found = list(cells)
    varies = {part: len({getattr(c, part) for c in found} - {None}) > 1 for part in ("dataset", "task", "seed")}
    names = {}
    for cell in found:
        parts = [cell.dataset if varies["dataset"] else None, cell.task if varies["task"] else None]
        parts.append(f"seed {cell.seed}" if varies["seed"] else None)
        names[cell] = ", ".join([row_name(cell) or "data", *(part for part in parts if part)])
    return names


def component_params(cell: Cell, about: Mapping[str, Any]) -> dict[str, str]:
    """Return the filled-in parameters of what a cell is made of, such as `settings/generator.steps`, from `run.json`.

    MLflow's comparisons begin with what comes first in the alphabet: that must be the cell's own coordinates.
    """
    found: dict[str, str] = {"run": value(about.get("suite_hash") or "none")[:12]}
    for kind in ("dataset", "generator", "attribution"):
        known = about if kind == "dataset" else _mapping(about.get("components"))
        facts = _mapping(_mapping(known.get(f"{kind}s")).get(getattr(cell, kind) or ""))
        if not facts:
            continue
        told = {"use": facts.get("use"), "version": facts.get("version"), **_mapping(facts.get("params"))}
        if facts.get("sentinel"):
            told["sentinel"] = True
        for name, v in flat_params(told).items():
            if v not in (None, ""):
                found[unused(key(f"settings/{kind}.{name}"), found)] = value(v)
    return found


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _metrics(records: Iterable[Record]) -> dict[str, float]:
    found: dict[str, float] = {}
    for r in records:
        if r.status != "ok":
            continue
        name = unused(metric_key(r), found)
        ends = (*(None if v is None else _short(v) for v in (r.low, r.high)), float(r.n))
        values = (*ends, None if r.coverage == 1.0 else r.coverage)
        numbers = {name: None if r.value is None else _short(r.value)}
        numbers |= {name + end: v for end, v in zip(ENDINGS, values, strict=True)}
        found |= {k: float(v) for k, v in numbers.items() if v is not None and abs(v) < _LARGEST}
    return found


def _short(number: float) -> float:
    """Return a number in six digits: MLflow prints all that it has, and no interval is that narrow."""
    return float(f"{number:.6g}")


def metric_key(record: Record) -> str:
    """Return the name of a number in MLflow, such as `counterfactual/flip`."""
    return key(f"{record.view}/{record.metric}")


def _reasons(records: Iterable[Record]) -> dict[str, str]:
    """Return why numbers are missing, not ranked, or not measured here."""
    found: dict[str, str] = {}
    for r in records:
        told: dict[str, str] = {} if r.status == "ok" else {r.status: r.reason or "no reason was recorded"}
        told |= {"unranked": "; ".join(r.unranked)} if r.unranked else {}
        told |= {"published": r.published} if r.published else {}
        for kind, text in told.items():
            found[unused(key(f"{kind}/{r.view}/{r.metric}"), found)] = value(text)
    return found


def _note(cell: Cell, records: Iterable[Record]) -> str:
    """Return the description of a cell's run: what it is, and what its numbers do not tell."""
    lines = [f"- {_code(name)}: {_code(text)}" for name, text in _reasons(records).items()]
    told = ["", "Numbers that are missing or not ranked, and why:", "", *lines] if lines else []
    return "\n".join([f"Cell {_code(cell.name)} of a cfbench suite.", *told])[:_VALUE]


def _code(text: str) -> str:
    """Return text as Markdown shows it letter by letter."""
    return f"`{value(text).replace('`', chr(39))[:300]}`"


def key(text: str) -> str:
    """Return a key that MLflow takes: letters, digits, `_ - . : /` and spaces, no empty or relative path part."""
    parts = (re.sub(r"[^\w\-. :]", "_", part).strip(". ") for part in text.split("/"))
    return "/".join(part for part in parts if part)[:_KEY].rstrip("./ ") or "unnamed"


def unused(name: str, taken: Iterable[str]) -> str:
    """Return the name, or a longer one: two may differ only in characters that MLflow refuses, or beyond its limit."""
    known = frozenset(taken)
    while name in known:
        name += "_"
    return name


def value(text: object) -> str:
    """Return a value on one line that MLflow does not cut, without what UTF-8 cannot hold."""
    plain = str(text).encode("utf-8", "replace").decode()
    return " ".join(plain.replace("\0", " ").split())[:_VALUE]
