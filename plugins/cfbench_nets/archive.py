"""Tensors of a file that torch.save wrote, without unpickling it.

The file is a ZIP archive: `<name>/data.pkl` says what there is, `<name>/data/<n>` holds the numbers, uncompressed. Only
the tensors that are asked for are read, each after its description was checked against the file's real size.
"""

import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

from cfbench.errors import DataError
from cfbench_nets.pickled import StoredTensor, read_pickle

#: Bytes of `data.pkl`; that of a checkpoint with a thousand tensors has some 500 kB.
LARGEST_PICKLE = 16 * 2**20
#: What `zipfile` raises when an archive's own tables are damaged.
_DAMAGE = (zipfile.BadZipFile, EOFError, OverflowError, RuntimeError, ValueError, struct.error)
_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
}


class Archive:
    """An open checkpoint."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path, self._file = path, file
        self._entries = {entry.filename: entry for entry in file.infolist()}
        if len(self._entries) != len(file.infolist()):
            raise DataError(f"{path}: two files of this archive have the same name; torch.save never writes that")
        self._root = self._find_root()
        if self._entry("byteorder") is not None and self._read("byteorder", 16) != b"little":
            raise DataError(f"{path}: expected numbers in little-endian byte order; save it again on such a machine")
        self.content = read_pickle(self._read("data.pkl", LARGEST_PICKLE))

    def tensors(self, entry: str) -> Mapping[str, StoredTensor]:
        """Return the description of each tensor in a state dict, by the entry that has it (`state_dict`, `g_ema`).

        Raises DataError if there is none.
        """
        state = self.content.get(entry) if isinstance(self.content, dict) else None
        if not isinstance(state, dict):
            raise DataError(f"{self.path}: expected a training's checkpoint with an entry `{entry}`")
        return {str(name): value for name, value in state.items() if isinstance(value, StoredTensor)}

    def read(self, name: str, stored: StoredTensor) -> Shaped[Tensor, "..."]:
        """Return a tensor in float32. Raises DataError, by `name`, if its description does not fit its numbers."""
        what, length = f"{self.path}: tensor {name}", stored.storage.length
        dtype = _DTYPES.get(stored.storage.kind)
        if dtype is None:
            raise DataError(f"{what} is a {stored.storage.kind}: expected one of {', '.join(sorted(_DTYPES))}")
        if len(stored.shape) != len(stored.stride) or _reach(stored) > length:
            raise DataError(f"{what} reaches beyond its numbers: {stored}")
        if length > math.prod(stored.shape):
            raise DataError(f"{what} is a window on more numbers than it has; clone it before it is saved: {stored}")
        raw = self._read(f"data/{stored.storage.file}", length * dtype.itemsize)
        if len(raw) != length * dtype.itemsize:
            raise DataError(f"{what} should have {length * dtype.itemsize} bytes, but {len(raw)} are there")
        numbers = torch.frombuffer(bytearray(raw), dtype=dtype)
        return numbers.as_strided(stored.shape, stored.stride, stored.offset).float().contiguous()

    def _find_root(self) -> str:
        roots = [name.removesuffix("/data.pkl") for name in self._entries if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise DataError(f"{self.path}: expected one data.pkl in it, as torch.save writes, not {len(roots)}")
        return roots[0]

    def _entry(self, name: str) -> zipfile.ZipInfo | None:
        return self._entries.get(f"{self._root}/{name}")

    def _read(self, name: str, most: int) -> bytes:
        """Return a file of the archive of at most so many bytes. Nothing is ever written to disk."""
        entry = self._entry(name)
        if entry is None:
            raise DataError(f"{self.path}: this archive has no {name!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most:
            raise DataError(f"{self.path}: expected {name!r} uncompressed and of at most {most} bytes, not {entry}")
        try:
            return self._file.read(entry)
        except (*_DAMAGE, OSError) as error:
            raise DataError(f"{self.path}: {name!r} is damaged ({error}); get the file again") from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a checkpoint. Raises DataError for anything but a ZIP archive as torch.save writes it."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        file = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise DataError(_not_an_archive(path)) from error
    with file:
        yield Archive(path, file)


def _reach(stored: StoredTensor) -> int:
    """Return how many numbers the file must have at least."""
    steps = zip(stored.shape, stored.stride, strict=True)
    return 1 + stored.offset + sum((size - 1) * step for size, step in steps)


def _not_an_archive(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return f"{path}: this ZIP archive is cut short or damaged; get the file again"
    if start[:1] == b"\x80":
        return (
            f"{path} is in the format of torch before 1.6, one bare pickle, which cannot be read without running it; "
            "where you trust the file, load it with torch.load and write it again with torch.save"
        )
    return f"{path}: expected a checkpoint that torch.save wrote (a ZIP archive)"
