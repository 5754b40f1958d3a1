"""What there is to read, found from tables and folders before any image is opened. Imports no numpy, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cfbench.errors import DataError


@dataclass(frozen=True)
class LeftOut:
    """A case that is not among the prepared ones."""

    #: Its id, or the name of its file.
    name: str
    #: A sentence that names file and row.
    why: str


@dataclass(frozen=True)
class Listing:
    """What there is to read. A source that has a `name` is called by it where it is left out."""

    sources: Sequence[Any]
    #: What is left out before any file is opened.
    left_out: Sequence[LeftOut] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A two-dimensional case: one image file, and what its tables say of it."""

    #: The case's id.
    name: str
    path: Path
    patient: str
    #: `"train"`, `"valid"` or `"test"`.
    split: str
    #: NaN where missing.
    labels: Mapping[str, float]
    masks: Mapping[str, Path] = field(default_factory=dict)
    text: str = ""
    #: `metadata.csv, row 17`, or the folder that was listed.
    where: str
    #: Whether 0 is white (MONOCHROME1).
    inverted: bool = False


def root_of(root: str) -> Path | None:
    """Return the folder that a parameter `root` names; nothing if it is empty."""
    return Path(root).expanduser().absolute() if root else None


def why_missing(root: str, needed: Sequence[str], how: str) -> str:
    """Return why a dataset's folder cannot be read, or nothing.

    Args:
        root: the parameter.
        needed: files or folders that must be below it.
        how: how its owner gets it.
    """
    folder = root_of(root)
    if folder is None:
        return f"`root` is empty: set it to the folder that has {needed[0] if needed else 'the files'}. {how}".strip()
    absent = [name for name in needed if not (folder / name).exists()]
    if absent or not folder.is_dir():
        what = absent[0] if absent else "files: it is no folder"
        return f"{folder} has no {what}: set `root` to the right one. {how}".strip()
    return ""


def below(root: Path, name: str, where: str) -> Path:
    """Return the path of a file that a table names.

    Raises:
        DataError: it lies outside `root`.
    """
    path = root / name.replace("\\", "/")
    parts = Path(name.replace("\\", "/")).parts
    if not name or (path.is_absolute() and Path(name).is_absolute()) or ".." in parts or "\0" in name:
        raise DataError(f"{where}: the file {name!r} is not below {root}; expected a path below it, without `..`")
    return path
