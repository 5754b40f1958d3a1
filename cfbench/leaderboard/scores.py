"""Per-case scores beside the records: what a gallery shows of each case, and what each grade's mean is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from cfbench.records import Record

_KEY = re.compile(r"measure-[0-9a-f]{8,64}")
_COLUMNS = ("case", "patient", "status", "score", "grade", "target")
#: Larger files are not read for a page.
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Scores:
    """The lines of one number, aligned."""

    case: Sequence[str]
    #: Empty strings if they are not known.
    patient: Sequence[str]
    status: Sequence[str]
    score: Sequence[float | None]
    grade: Sequence[float | None]
    target: Sequence[float | None]


def read_scores(run: Path, record: Record) -> Scores | None:
    """Return the scores behind a record; nothing if there are none, or if they cannot be read."""
    if record.key is None or not _KEY.fullmatch(record.key):
        return None
    path = run / "scores" / f"{record.key}.parquet"
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return None
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2048)
def _read(path: Path, _changed: int) -> Scores | None:
    """Read a file once, though several pages show it."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        found = {name: table.column(name).to_pylist() for name in _COLUMNS if name in table.column_names}
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return None
    if not {"case", "score"} <= found.keys():
        return None
    n = len(found["case"])
    return Scores(
        case=[str(case) for case in found["case"]],
        patient=[str(patient) for patient in found.get("patient", [""] * n)],
        status=[str(status) for status in found.get("status", ["ok"] * n)],
        **{name: _numbers(found.get(name, [None] * n)) for name in ("score", "grade", "target")},
    )


def _numbers(values: Iterable[object]) -> list[float | None]:
    return [float(v) if isinstance(v, int | float) and abs(v) < 1e300 else None for v in values]


def by_grade(scores: Scores) -> Mapping[float, tuple[float, int]]:
    """Return grade to the mean score of its lines and their number."""
    found: dict[float, list[float]] = {}
    for grade, score in zip(scores.grade, scores.score, strict=True):
        if grade is not None and score is not None:
            found.setdefault(grade, []).append(score)
    return {grade: (fmean(values), len(values)) for grade, values in sorted(found.items())}
