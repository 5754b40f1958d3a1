"""Tables that describe cases: CSV, TSV or XLSX, every cell a string, so that the id 007 stays 007."""

import csv
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cfbench.errors import DataError

#: Bytes that a table may have, and that one may unpack to.
LARGEST = 1 << 30
#: What people write where nothing is known (lower case).
MISSING = frozenset({"", "na", "n/a", "nan", "none", "null"})


@dataclass(frozen=True)
class Row:
    """One row: cells by column, as strings without surrounding blanks."""

    cells: Mapping[str, str]
    #: `metadata.csv, row 17`, as a spreadsheet or an editor counts.
    where: str

    def __getitem__(self, column: str) -> str:
        """Return a cell; "" where it is empty."""
        return self.cells[column]

    def text(self, column: str) -> str:
        """Return a cell that must not be empty. Raises DataError if it is."""
        cell = self.cells[column]
        if not cell:
            raise DataError(f"{self.where}: column {column!r} is empty; expected a value")
        return cell

    def number(self, column: str, allowed: Sequence[float] = ()) -> float:
        """Return a cell as a number; NaN where it is missing (empty, `NA`, `nan`, `None`).

        Args:
            column: its name.
            allowed: the only values that it may have; none given = any finite number.

        Raises:
            DataError: it is no finite number, or none of those allowed.
        """
        cell = self.cells[column]
        if cell.lower() in MISSING:
            return math.nan
        try:
            value = float(cell)
        except ValueError:
            value = math.inf
        if not math.isfinite(value) or (allowed and value not in allowed):
            expected = "one of " + ", ".join(f"{v:g}" for v in allowed) if allowed else "a number"
            raise DataError(f"{self.where}: column {column!r} holds {cell!r}; expected {expected}, or nothing")
        return value


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a table, with these columns only.

    Args:
        path: a `.csv` (commas), `.tsv` or `.txt` (tabs), any of these with `.gz`, or an
            `.xlsx` file (its first sheet; needs openpyxl); UTF-8.
        columns: must be there.
        optional: an absent one reads as empty cells.

    Raises:
        DataError: no such file, not a table, a column is absent or there twice, or a row has too many cells.
    """
    rows = _cells(path)
    try:
        header = [name.strip() for name in next(rows, (1, []))[1]]
        _check_header(path, header, [*columns, *optional], columns)
        places = {name: header.index(name) if name in header else -1 for name in (*columns, *optional)}
        return list(_rows(path, rows, len(header), places))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8: {error}") from error


def header_of(path: Path) -> tuple[str, ...]:
    """Return the names of a table's columns. Raises DataError if it cannot be read."""
    try:
        return tuple(name.strip() for name in next(_cells(path), (1, []))[1])
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8: {error}") from error


def _rows(path: Path, rows: Iterator[tuple[int, list[str]]], width: int, places: Mapping[str, int]) -> Iterator[Row]:
    for number, cells in rows:
        if not any(cells):  # spreadsheets leave such rows behind
            continue
        if len(cells) > width and any(cells[width:]):
            raise DataError(
                f"{path.name}, row {number}: {len(cells)} cells under {width} columns; is a comma inside a cell not "
                "quoted?"
            )
        yield Row(
            {name: cells[i].strip() if 0 <= i < len(cells) else "" for name, i in places.items()},
            f"{path.name}, row {number}",
        )


def _check_header(path: Path, header: Sequence[str], wanted: Sequence[str], needed: Sequence[str]) -> None:
    absent = [name for name in needed if name not in header]
    if absent:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, absent))}; it has: {', '.join(header) or 'none'}. "
            "Name the right columns, or the right file"
        )
    twice = [name for name in dict.fromkeys(wanted) if header.count(name) > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]!r} {header.count(twice[0])} times; expected it once")


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row, from 1, and its cells."""
    if not path.is_file():
        raise DataError(f"there is no table at {path}")
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; tables of at most {LARGEST:,} are read")
    if path.suffix.lower() == ".xlsx":
        yield from _sheet(path)
        return
    name = path.name.lower().removesuffix(".gz")
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as raw:
        text = io.TextIOWrapper(io.BufferedReader(_Limited(raw, path)), encoding="utf-8-sig", newline="")
        reader = csv.reader(text, delimiter="," if name.endswith(".csv") else "\t", strict=True)
        heading = True  # some tables begin with remarks
        for cells in reader:
            heading = heading and bool(cells) and cells[0].startswith("#")
            if not heading:
                yield reader.line_num, cells


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Limited(io.RawIOBase):
    """Reads a file, or what it unpacks to, up to a limit."""

    def __init__(self, raw: _Readable, path: Path) -> None:
        self._raw = raw
        self._path = path
        self._left = LARGEST

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes. Raises DataError past the limit, or if the file is damaged."""
        try:
            data = self._raw.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self._path} cannot be read: {error}") from error
        self._left -= len(data)
        if self._left < 0:
            raise DataError(f"{self._path} unpacks to more than {LARGEST:,} bytes, the most that is read of a table")
        buffer[: len(data)] = data
        return len(data)


def _sheet(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of the first sheet of a workbook; formulas count as their stored results."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise DataError(
            f"{path.name} is a spreadsheet: type `pip install 'cfbench[volumes]'`, or save it as CSV"
        ) from error
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
        if unpacked > LARGEST:
            raise DataError(f"{path} unpacks to {unpacked:,} bytes; tables of at most {LARGEST:,} are read")
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            for number, cells in enumerate(book.worksheets[0].iter_rows(values_only=True), start=1):
                yield number, [_as_text(cell) for cell in cells]
        finally:
            book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, IndexError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as an .xlsx workbook: {error}") from error


def _as_text(cell: object) -> str:
    """Return a cell as it is written; a whole number without `.0`. An id like 007 must be stored as text."""
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def check_unique(rows: Iterable[tuple[str, str]], what: str) -> None:
    """Raise DataError if a name is there twice; `rows` are names and where they are (`Row.where`)."""
    seen: dict[str, str] = {}
    for name, where in rows:
        if name in seen:
            raise DataError(f"{where}: {what} {name!r} is also in {seen[name]}; expected it once")
        seen[name] = where


def single_rows(rows: Iterable[Row], column: str) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows, each value of `column` once, and (value, why) of those left out.

    Rows that are equal in every column count as one; if rows of one value differ, nobody knows which is right, and
    all of them are left out.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    kept, left = [], []
    for name, same in found.items():
        if all(row.cells == same[0].cells for row in same):
            kept.append(same[0])
        else:
            left.append((name, f"{same[-1].where}: {column} {name!r} is also in {same[0].where}, with other values"))
    return kept, left
