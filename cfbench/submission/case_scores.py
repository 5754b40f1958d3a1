"""Per-case scores in a bundle: Parquet with few, known columns, read within bounds and written in one form."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cfbench.submission.archive import BundleError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

TEXT = ("case", "patient", "status")
NUMBERS = ("score", "grade", "target")
#: Columns that every table has; `grade` and `target` are there where the lines have them and the terms allow it.
REQUIRED = ("case", "patient", "status", "score")
MOST_LINES = 1_000_000
_MOST_GROUPS = 64
_MOST_COLUMN_BYTES = 128 * 2**20
_LONGEST_NAME = 400
_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True)
class CaseScores:
    """The lines of one number, aligned; NaN where a line has none."""

    case: Sequence[str]
    patient: Sequence[str]
    status: Sequence[str]
    score: "NDArray[np.float64]"
    grade: "NDArray[np.float64] | None" = None
    target: "NDArray[np.float64] | None" = None

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.case)


def read_scores(data: bytes, what: str) -> CaseScores:
    """Read a table. Raises BundleError, naming `what`, unless it is small, plain and has the columns of a run."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data), read_dictionary=list(TEXT), thrift_string_size_limit=2**20)
        columns = _check_shape(file, what)
        tables = [pa.Table.from_batches([b]) for b in file.iter_batches(batch_size=_AT_ONCE, columns=columns)]
        table = pa.concat_tables(tables) if tables else file.schema_arrow.empty_table()
        found: dict[str, Any] = {name: _text(table.column(name), what) for name in TEXT}
        found |= {name: _numbers(table.column(name), f"{what}: {name}") for name in NUMBERS if name in columns}
    except (OSError, pa.ArrowException, ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
        raise BundleError(f"{what}: not a table of scores ({type(error).__name__})") from error
    return CaseScores(**found)


def write_scores(scores: CaseScores) -> bytes:
    """Return the table as Parquet, without anything that depends on who wrote it."""
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {name: pa.array(getattr(scores, name), pa.string()) for name in TEXT}
    given = {name: getattr(scores, name) for name in NUMBERS}
    columns |= {name: pa.array(values, pa.float64()) for name, values in given.items() if values is not None}
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out, compression="zstd", store_schema=False)
    return out.getvalue()


def _check_shape(file: Any, what: str) -> list[str]:
    """Return the columns, after refusing by the footer alone what should not be read."""
    import pyarrow as pa

    meta, schema = file.metadata, file.schema_arrow
    names = list(schema.names)
    if len(set(names)) < len(names) or not set(REQUIRED) <= set(names) <= {*TEXT, *NUMBERS}:
        raise BundleError(f"{what}: expected the columns {', '.join((*TEXT, *NUMBERS))}, found {str(names)[:200]}")
    if not 0 < meta.num_rows <= MOST_LINES or meta.num_row_groups > _MOST_GROUPS:
        raise BundleError(f"{what}: {meta.num_rows} lines in {meta.num_row_groups} groups; {MOST_LINES} at most")
    for name in names:
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        plain = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (plain if name in TEXT else pa.types.is_float64(kind)):
            raise BundleError(f"{what}: column {name} is of type {str(kind)[:60]}")
    for i in range(meta.num_row_groups):
        group = meta.row_group(i)
        largest = max(group.column(j).total_uncompressed_size for j in range(group.num_columns))
        if largest > _MOST_COLUMN_BYTES or group.num_rows > MOST_LINES:
            raise BundleError(f"{what}: a group of lines unfolds to {largest} bytes")
    return names


def _text(column: "pa.ChunkedArray", what: str) -> list[str]:
    """Return a column of names; each different one is looked at once, before any is multiplied."""
    found: list[str] = []
    for chunk in column.chunks:
        words = [str(word) for word in chunk.dictionary.to_pylist()]
        if any(len(word) > _LONGEST_NAME for word in words) or chunk.null_count:
            raise BundleError(f"{what}: {column.type} with a missing name, or one above {_LONGEST_NAME} characters")
        found += [words[i] for i in chunk.indices.to_pylist()]
    return found


def _numbers(column: "pa.ChunkedArray", what: str) -> "NDArray[np.float64]":
    import numpy as np

    values = np.asarray(column.to_numpy(), dtype=np.float64)
    if np.isinf(values).any() or (np.abs(values) > 1e300).any():
        raise BundleError(f"{what}: a number that is too large")
    return values


def as_columns(scores: CaseScores) -> Mapping[str, Sequence[Any]]:
    """Return the columns that are there, as plain lists."""
    found = {name: getattr(scores, name) for name in (*TEXT, *NUMBERS)}
    return {name: list(values) for name, values in found.items() if values is not None}
