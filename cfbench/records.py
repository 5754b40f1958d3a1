"""Records: what a run found, one JSON line per cell, view and metric; all that people look at is made from them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from cfbench.errors import StoreError

#: Larger numbers are refused in records that are read: nothing measures them, and sums of them overflow.
_LARGEST = 1e300
Status = Literal["ok", "undefined", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination of a suite. A cell without attribution is about the generator alone."""

    dataset: str
    task: str | None
    generator: str | None
    attribution: str | None
    seed: int

    @property
    def name(self) -> str:
        """Return a readable name, such as `vertebra / fracture / dae / reflect / seed 0`."""
        parts = [self.dataset, self.task, self.generator, self.attribution, f"seed {self.seed}"]
        return " / ".join(part for part in parts if part)


def row_name(cell: Cell) -> str:
    """Return what tells a row from the others of its table, such as `dae / flip`: its cell without the seed."""
    return " / ".join(part for part in (cell.generator, cell.attribution) if part)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a number took. Not part of the hashed result: it differs from run to run."""

    seconds: float = 0.0
    peak_mb: float = 0.0
    host: str = ""
    device: str = ""
    finished: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A number with its interval, or the reason why there is none.

    `status`: `ok`; `undefined` (n/a for this input, e.g. one class only); `skipped` (impossible or not available,
    known before running); `failed` (something broke). The last three carry a `reason`.
    """

    status: Status = "ok"
    reason: str = ""
    value: float | None = None
    #: 95 % interval.
    low: float | None = None
    high: float | None = None
    #: How the interval was made: `bootstrap`, `jackknife` or `none`.
    interval: str = "none"
    #: Lines measured, of how many patients; `unit` is what was resampled: `patient` or `image`.
    n: int = 0
    patients: int = 0
    unit: str = "patient"
    #: Share of lines that have an answer.
    coverage: float | None = None
    notes: tuple[str, ...] = ()
    #: The paper that a number was taken from; empty = it was measured here.
    published: str = ""
    #: Why it takes no part in rankings (too few answers, a circular judge, changed code, a metric that failed its own
    #: test); empty = it does.
    unranked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record(Result):
    """A result, and what it is a result of."""

    suite: str
    cell: Cell
    metric: str
    view: str
    direction: str = "none"
    #: Store key of the `measure` step that made it.
    key: str | None = None
    cost: Cost = field(default_factory=Cost)

    @cached_property
    def sha256(self) -> str:
        """Return the digest of the result: everything but its cost."""
        fields = {k: v for k, v in asdict(self).items() if k != "cost"}
        return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the record as one line of JSON, its digest included."""
        return json.dumps({**asdict(self), "sha256": self.sha256}, sort_keys=True, allow_nan=False)


def from_json(line: str) -> Record:
    """Read one line. Raises StoreError if a field is missing or unknown, or the digest does not fit."""
    try:
        data: dict[str, Any] = json.loads(line)
        digest = data.pop("sha256")
        cell, cost = Cell(**data.pop("cell")), Cost(**data.pop("cost"))
        data |= {name: tuple(data[name]) for name in ("notes", "unranked")}
        record = Record(**data, cell=cell, cost=cost)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"not a cfbench record: {error!r}") from error
    _check_types(record)
    if record.sha256 != digest:
        raise StoreError(f"record {record.cell.name} {record.metric}: its digest does not fit its content")
    return record


def _check_types(record: Record) -> None:
    """Raise StoreError for a field of a wrong type: a record may come from a stranger."""
    numbers = ("value", "low", "high", "coverage")
    texts = ("suite", "metric", "view", "reason", "interval", "unit", "direction", "published")
    wrong = [n for n in numbers if getattr(record, n) is not None and not _is_number(getattr(record, n))]
    wrong += [n for n in texts if not isinstance(getattr(record, n), str)]
    counts = {n: getattr(record, n) for n in ("n", "patients")}
    wrong += [n for n, count in counts.items() if not isinstance(count, int) or not _is_number(count)]
    wrong += [] if isinstance(record.key, str | None) else ["key"]
    wrong += [n for n in ("seconds", "peak_mb") if not _is_number(getattr(record.cost, n))]
    wrong += [n for n in ("host", "device", "finished") if not isinstance(getattr(record.cost, n), str)]
    wrong += [n for n in ("dataset",) if not isinstance(getattr(record.cell, n), str)]
    wrong += [] if isinstance(record.cell.seed, int) else ["seed"]
    wrong += [n for n in ("task", "generator", "attribution") if not isinstance(getattr(record.cell, n), str | None)]
    wrong += [] if record.status in ("ok", "undefined", "skipped", "failed") else ["status"]
    wrong += [n for n in ("notes", "unranked") if not all(isinstance(s, str) for s in getattr(record, n))]
    if wrong:
        raise StoreError(f"not a cfbench record: {', '.join(wrong)} of a wrong type")


def _is_number(value: object) -> bool:
    """Return whether it is a finite number that can be reckoned with."""
    return isinstance(value, int | float) and abs(value) < _LARGEST


def read_records(path: Path) -> list[Record]:
    """Read a `records.jsonl`. Raises StoreError naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); is this the folder of a run?") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(from_json(line))
        except StoreError as error:
            raise StoreError(f"{path}:{number}: {error}") from error
    return records


def records_digest(records: Iterable[Record]) -> str:
    """Return one digest over all results, in a fixed order, independent of cost and of the order of completion."""
    return sha256("".join(sorted(record.sha256 for record in records)).encode()).hexdigest()


def flat_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat.update(flat_params(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
