"""What stands for a folder of files in a plan: digests of its tables, and the names and sizes of the rest.

Torch- and numpy-free. The bytes of images are digested when they are read (see `Prepared.content`), not while planning.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any


def fingerprint(name: str, version: int, params: Any, tables: Iterable[Path], listing: str = "") -> str:
    """Return the fingerprint of a dataset of files: where it lies does not matter, what is in it does.

    Args:
        name: of the dataset.
        version: bumped when the same files give other cases.
        params: its dataclass; a field `root` does not count.
        tables: their bytes count, and their names do.
        listing: see `listed`.
    """
    known = {key: value for key, value in asdict(params).items() if key != "root"}
    parts = [f"{path.name} {digest(path)}" for path in tables]
    return sha256(repr((name, version, sorted(known.items()), parts, listing)).encode()).hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, computed once per process and state of the file; "" if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 - a file that changes is read again
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def listed(root: Path, folders: Iterable[str] = ("",)) -> str:
    """Return a digest of the names and sizes of all files below some folders of `root`."""
    lines = sorted(f"{path} {size}" for folder in folders for path, size in _walk(root / folder, root))
    return sha256("\n".join(lines).encode()).hexdigest()


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), root)
        elif entry.is_file():
            yield os.path.relpath(entry.path, root), entry.stat().st_size
