"""Parameters of `image-folder`, and what its table and folders say before an image is read. Torch- and numpy-free."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import digest, fingerprint, listed
from cfbench_files.listing import root_of, why_missing
from cfbench_files.splits import SPLITS, named_split
from cfbench_files.table import Row, read_table

VERSION = 1
#: Label of a folder of class folders.
CLASS = "class"
#: Distinct values of a label above which it must be a measurement.
MOST_VALUES = 32
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm"})


@dataclass(frozen=True)
class FolderParams:
    """Where the files are, what the columns of their table mean, and how images are read."""

    root: str = param("", "folder of the images and the table")
    table: str = param(
        "", "CSV, TSV or XLSX file below root; empty: a folder per class, or train/, val/, test/ with those"
    )
    folder: str = param("", "folder below root where the paths of images start (those of masks start at root)")
    file: str = param("file", "column with the path of the image")
    id: str = param("", "column with the case's id; empty: the path")
    labels: tuple[str, ...] = param(("label",), "columns with ordered classes, as numbers or as names of `classes`")
    classes: tuple[str, ...] = param((), "names of classes in ascending order, which become 0, 1, 2, ... and prompts")
    measurements: tuple[str, ...] = param((), "columns with numbers on a continuous scale")
    patient: str = param("", "column with the patient; empty: every image is its own")
    split: str = param("", "column with train, valid or test; empty: drawn by a hash of the patient")
    masks: tuple[str, ...] = param((), "columns with paths of masks (not 0 is inside); their names name the masks")
    text: str = param("", "column with a description of the image, for generators that read")
    photometric: str = param("", "column that says MONOCHROME1 where 0 is white, as DICOM headers do")
    size: int = param(128, "side of the square image in pixels")
    fit: Literal["pad", "crop", "stretch"] = param("pad", "what makes an oblong image square")
    channels: Literal["grey", "colour"] = param("grey", "grey, or three channels (RGB)")
    window: tuple[float, ...] = param(
        (), "values that become black and white, such as [0, 4095]; empty: the file's range"
    )
    mask_rule: Literal["any", "half"] = param("any", "a pixel is in a mask if any, or half, of what is under it is")
    valid: float = param(0.1, "share of the patients in the split valid, where there is no column")
    test: float = param(0.2, "share of the patients in the split test, where there is no column")
    seed: int = param(0, "another seed draws other splits")
    strict: bool = param(False, "whether one bad case stops everything; otherwise it is left out and reported")
    publish: bool = param(False, "whether images may be shown in a published gallery")
    licence: str = param("", "licence of the images, for the tables")


def describe(params: FolderParams) -> DatasetInfo:
    """Return what table and folders say. Raises DataError for impossible parameters, or a table that cannot be read."""
    missing = why_missing(params.root, [params.table] if params.table else [], "")
    labels = {} if missing else _values(params)
    return DatasetInfo(
        channels=3 if params.channels == "colour" else 1,
        space=(params.size, params.size),
        labels=labels,
        fingerprint=f"image-folder {missing or _fingerprint(params)}",
        missing=missing and f"image-folder: {missing}",
        masks=params.masks if params.table else (),
        prompts={label: prompts for label in labels if (prompts := _prompts(params, label))},
        patients=bool(params.patient and params.table),
        redistributable=params.publish,
        licence=params.licence,
    )


def columns(params: FolderParams) -> tuple[str, ...]:
    """Return the columns that the table must have."""
    named = (params.file, params.id, params.patient, params.split, params.text, params.photometric)
    return tuple(dict.fromkeys(c for c in (*named, *params.labels, *params.measurements, *params.masks) if c))


def value_of(row: Row, label: str, params: FolderParams) -> float:
    """Return a row's value of a label; NaN where it is missing. Raises DataError for a cell that is no class."""
    cell = row[label]
    if params.classes and cell:
        if cell not in params.classes:
            raise DataError(
                f"{row.where}: column {label!r} holds {cell!r}; expected one of {', '.join(params.classes)}"
            )
        return float(params.classes.index(cell))
    return row.number(label)


def class_folders(root: Path, params: FolderParams) -> Mapping[str, Mapping[str, Path]]:
    """Return split name (or "" where there are none) to class name to folder. Raises DataError without classes."""
    folders = _folders(root)
    known = {name.lower() for name in folders} <= {"train", "training", *_OTHERS} and "train" in {
        _split_or_nothing(name) for name in folders
    }
    if known:
        return {named_split(name, str(root)): _classes(path, params) for name, path in folders.items()}
    return {"": _classes(root, params)}


_OTHERS = ("val", "valid", "validation", "test", "testing")


def _split_or_nothing(name: str) -> str:
    return name.lower()[:5] if name.lower().startswith("train") else ""


def _folders(root: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")}


def _classes(folder: Path, params: FolderParams) -> dict[str, Path]:
    found = _folders(folder)
    if not found:
        raise DataError(
            f"image-folder: {folder} has no folder per class; name a `table`, or sort the images into folders"
        )
    absent = [name for name in params.classes if name not in found]
    if absent:
        raise DataError(
            f"image-folder: {folder} has no folder {absent[0]!r} (it has {', '.join(found)}); mend `classes`"
        )
    return {name: found[name] for name in params.classes or found}


def class_names(params: FolderParams) -> tuple[str, ...]:
    """Return the names of the classes of a folder without table, in the order of their values."""
    root = root_of(params.root)
    assert root  # noqa: S101 - only asked where the folder is there
    found = class_folders(root, params)
    return params.classes or tuple(sorted({name for classes in found.values() for name in classes}))


def _values(params: FolderParams) -> dict[str, tuple[float, ...]]:
    if not params.table:
        return {CLASS: tuple(map(float, range(len(class_names(params)))))}
    root = root_of(params.root)
    assert root  # noqa: S101 - only asked where the folder is there
    table = root / params.table
    ordered = dict(zip(params.labels, _distinct(table, digest(table), params), strict=True))
    return {**ordered, **dict.fromkeys(params.measurements, ())}


@lru_cache(maxsize=8)
def _distinct(table: Path, _digest: str, params: FolderParams) -> tuple[tuple[float, ...], ...]:
    """Return the values of each label that the table has; cells that are no class are told when cases are listed."""
    rows = read_table(table, columns(params))
    return tuple(_of_label(rows, label, params) for label in params.labels)


def _of_label(rows: list[Row], label: str, params: FolderParams) -> tuple[float, ...]:
    if params.classes:
        return tuple(map(float, range(len(params.classes))))
    found = set()
    for row in rows:
        try:
            found.add(row.number(label))
        except DataError as error:
            if not found and row is rows[0]:
                raise DataError(
                    f"{error}. If its cells are names, list them in `classes`, in ascending order"
                ) from error
    values = sorted(value for value in found if not math.isnan(value))
    if len(values) > MOST_VALUES:
        raise DataError(
            f"image-folder: column {label!r} has {len(values)} distinct values, {values[0]:g} to {values[-1]:g}; "
            f"a label has at most {MOST_VALUES}. Name it in `measurements` instead of `labels`"
        )
    return tuple(values)


def _prompts(params: FolderParams, label: str) -> dict[float, str]:
    names = class_names(params) if not params.table else params.classes if label in params.labels else ()
    return {float(value): name.replace("_", " ") for value, name in enumerate(names)}


def _fingerprint(params: FolderParams) -> str:
    root = root_of(params.root)
    assert root  # noqa: S101 - only asked where the folder is there
    tables = [root / params.table] if params.table else []
    return fingerprint("image-folder", VERSION, params, tables, listed(root))


__all__ = [
    "CLASS",
    "SPLITS",
    "SUFFIXES",
    "FolderParams",
    "class_folders",
    "class_names",
    "columns",
    "describe",
    "value_of",
]
