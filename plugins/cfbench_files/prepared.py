"""Prepared cases: every source file is read once, and what it gives is appended to flat files that are then mapped.

A folder of prepared cases has `images.raw` (one array after the other), `mask-<name>.raw`, `cases.parquet` (who is in
which row) and `prepared.json` (shape, type, what was left out and why, digest of the source files). While it is made, a
journal says how far the files are good, so that a killed preparation goes on where it was.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Shaped

from cfbench.errors import DataError, NotFiniteError
from cfbench.protocols import Context
from cfbench_files.listing import LeftOut

Source = TypeVar("Source")
#: How pixels may be stored, and the value that stands for 1.
SCALES: Mapping[str, float] = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0}
JOURNAL = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case as it is stored."""

    id: str
    patient: str
    #: `"train"`, `"valid"` or `"test"`.
    split: str
    #: Label to value; NaN where missing.
    labels: Mapping[str, float]
    #: uint8 (255 is 1), uint16 (65535 is 1), float16 or float32 in [0, 1]; channels first.
    image: Shaped[np.ndarray, "c *space"]
    #: The masks that this case has.
    masks: Mapping[str, Bool[np.ndarray, "*space"]] = field(default_factory=dict)
    text: str = ""
    #: File and row, for messages.
    where: str = ""
    #: Name of each file that was read, to the SHA-256 of its bytes in hex.
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What all cases of a set have in common."""

    #: `(channels, *space)`.
    shape: tuple[int, ...]
    #: A key of `SCALES`.
    dtype: str
    masks: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def prepare(
    sources: Sequence[Source],
    read: Callable[[Source], Iterable[Case | LeftOut]],
    layout: Layout,
    folder: Path,
    context: Context,
    *,
    strict: bool = False,
    left: Sequence[LeftOut] = (),
    workers: int = 0,
) -> None:
    """Read every source and write the prepared cases into `folder`.

    Sources are read by several threads (image decoding and decompression run beside each other) and written in their
    order, so that the result does not depend on how many there are; each worker holds one source in memory. What was
    written before a kill is kept in `context.folder`.

    Args:
        sources: what to read, such as rows of a table; in an order that does not change.
        read: from a source to its cases (a volume may give several). A `DataError` or `NotFiniteError` of it leaves the
            source out, as a `LeftOut` leaves out one case.
        layout: what every case must be like.
        folder: empty.
        context: progress, and the scratch folder.
        strict: whether one bad case fails the whole preparation.
        left: what was left out before, for the report.
        workers: threads; 0 = one per core.

    Raises:
        DataError: no case is left, an id is there twice, or (strict) a case is bad.
    """
    if strict and left:
        raise DataError(f"{left[0].why} (`strict: false` leaves such cases out)")
    with closing(_Writer(context.folder, layout)) as writer:
        results = _ordered(sources[writer.sources :], lambda source: _attempt(source, read), workers)
        for done, result in enumerate(results, start=writer.sources + 1):
            if strict and (bad := [item for item in result if isinstance(item, LeftOut)]):
                raise DataError(f"{bad[0].why} (`strict: false` leaves such cases out)")
            writer.append(result)
            context.progress(done, len(sources), "reading cases")
        writer.finish(folder, left)


def _attempt(source: Source, read: Callable[[Source], Iterable[Case | LeftOut]]) -> list[Case | LeftOut]:
    """Read a source; what is wrong with it becomes a sentence."""
    found: list[Case | LeftOut] = []
    try:
        found.extend(read(source))
    except (DataError, NotFiniteError) as error:
        found.append(LeftOut(str(getattr(source, "name", source))[:200], _with_row(error, source)))
    return found


def _with_row(error: Exception, source: object) -> str:
    """Return what is wrong, after the row that names the source if it has one and the sentence does not say it."""
    where, why = str(getattr(source, "where", "")), str(error)
    return why if where in why else f"{where}: {why}"


def _ordered(items: Sequence[Source], work: Callable[[Source], Any], workers: int) -> Iterator[Any]:
    """Yield results in the order of the items; at most two per worker are under way or waiting."""
    count = workers or len(os.sched_getaffinity(0))
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Writer:
    """Appends cases to the files of a scratch folder, and goes on after the last whole source that is there."""

    def __init__(self, scratch: Path, layout: Layout) -> None:
        self._scratch = scratch
        self._layout = layout
        self._entries = _good_entries(scratch, layout)
        self.sources = len(self._entries)
        self._rows = {name: sum(_counted(e, name) for e in self._entries) for name in ("", *layout.masks)}
        self._files = {name: self._open(name) for name in self._rows}
        draft = scratch / f"{JOURNAL}.draft"
        draft.write_text("".join(json.dumps(entry) + "\n" for entry in self._entries), encoding="utf-8")
        draft.replace(scratch / JOURNAL)
        self._journal = (scratch / JOURNAL).open("a", encoding="utf-8")

    def close(self) -> None:
        """Close all files; what was appended stays."""
        for file in self._files.values():
            file.close()
        self._journal.close()

    def _open(self, name: str) -> IO[bytes]:
        path = self._scratch / file_of(name)
        path.touch()
        handle = path.open("r+b")
        handle.truncate(self._rows[name] * row_bytes(self._layout, name))
        handle.seek(0, os.SEEK_END)
        return handle

    def append(self, result: Sequence[Case | LeftOut]) -> None:
        """Write what one source gave, then the journal's line that makes it count."""
        cases = [self._write(item) for item in result if isinstance(item, Case)]
        left = [[item.name, item.why] for item in result if isinstance(item, LeftOut)]
        for file in self._files.values():
            file.flush()
        entry = {"cases": cases, "left": left}
        self._entries.append(entry)
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()

    def _write(self, case: Case) -> dict[str, Any]:
        _check(case, self._layout)
        self._put("", case.image)
        rows = {name: self._put(name, mask) for name, mask in case.masks.items()}
        return {
            "id": case.id,
            "patient": case.patient,
            "split": case.split,
            "labels": {
                name: case.labels[name] for name in self._layout.labels if case.labels[name] == case.labels[name]
            },
            "masks": rows,
            "text": case.text,
            "where": case.where,
            "digests": dict(case.digests),
        }

    def _put(self, name: str, array: Shaped[np.ndarray, "..."]) -> int:
        self._files[name].write(np.ascontiguousarray(array).tobytes())
        row = self._rows[name]
        self._rows[name] += 1
        return row

    def finish(self, folder: Path, left: Sequence[LeftOut]) -> None:
        """Close the files, write the index, and move everything into the folder."""
        self.close()
        cases = [case for entry in self._entries for case in entry["cases"]]
        out = [[item.name, item.why] for item in left] + [item for entry in self._entries for item in entry["left"]]
        if not cases:
            raise DataError(
                f"none of {len(out)} cases can be used; the first: {out[0][1] if out else 'there are none'}"
            )
        _check_ids(cases)
        _write_index(folder / "cases.parquet", cases, self._layout)
        facts = {
            "shape": self._layout.shape,
            "dtype": self._layout.dtype,
            "rows": self._rows,
            "labels": self._layout.labels,
            "left": out,
            "content": content_digest(cases),
        }
        (folder / "prepared.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        for name in self._files:
            (self._scratch / file_of(name)).replace(folder / file_of(name))
        (self._scratch / JOURNAL).unlink()


def file_of(name: str) -> str:
    """Return the file of the images (`""`) or of a mask."""
    return f"mask-{name}.raw" if name else "images.raw"


def row_bytes(layout: Layout, name: str) -> int:
    """Return the bytes of one image (`""`) or of one mask."""
    shape, dtype = (layout.shape[1:], "bool") if name else (layout.shape, layout.dtype)
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def content_digest(cases: Iterable[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of the names and digests of all source files, whatever their order."""
    files = sorted({(name, digest) for case in cases for name, digest in case["digests"].items()})
    return sha256(json.dumps(files).encode()).hexdigest()


def _good_entries(scratch: Path, layout: Layout) -> list[dict[str, Any]]:
    """Return the journal's lines up to the first that is cut, or whose pixels are not all in the files."""
    try:
        lines = (scratch / JOURNAL).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    names = ("", *layout.masks)
    sizes = {name: _size(scratch / file_of(name)) for name in names}
    rows, good = dict.fromkeys(names, 0), []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        for name in names:
            rows[name] += _counted(entry, name)
        if any(rows[name] * row_bytes(layout, name) > sizes[name] for name in names):
            break
        good.append(entry)
    return good


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _counted(entry: Mapping[str, Any], name: str) -> int:
    """Return how many images (`""`) or masks of this name a line of the journal stands for."""
    return sum(1 for case in entry["cases"] if not name or name in case["masks"])


def _check(case: Case, layout: Layout) -> None:
    """Raise DataError if an adapter made another case than it declared: that is a fault of the code, not of a file."""
    if case.image.shape != layout.shape or case.image.dtype != layout.dtype:
        raise DataError(
            f"{case.where}: case {case.id}: the adapter made an image {case.image.dtype} {list(case.image.shape)}; it "
            f"declares {layout.dtype} {list(layout.shape)}"
        )
    for name, mask in case.masks.items():
        if name not in layout.masks or mask.shape != layout.shape[1:] or mask.dtype != bool:
            raise DataError(f"{case.where}: case {case.id}: mask {name!r} is {mask.dtype} {list(mask.shape)}")


def _check_ids(cases: Iterable[Mapping[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for case in cases:
        if case["id"] in seen:
            raise DataError(f"{case['where']}: case {case['id']!r} is there twice; the first is {seen[case['id']]}")
        seen[case["id"]] = case["where"]


def _write_index(path: Path, cases: Sequence[Mapping[str, Any]], layout: Layout) -> None:
    """Write one row per case, in the order of `images.raw`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        name: [case[name] for case in cases] for name in ("id", "patient", "split", "text", "where")
    }
    for label in layout.labels:
        columns[f"label:{label}"] = pa.array([case["labels"].get(label) for case in cases], pa.float64())
    for mask in layout.masks:
        columns[f"mask:{mask}"] = pa.array([case["masks"].get(mask, -1) for case in cases], pa.int64())
    pq.write_table(pa.table(columns), path)
