"""`volume-folder`, described: any folder of volumes with a table; most people need no plugin of their own."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import digest, fingerprint, listed
from cfbench_files.listing import root_of, why_missing
from cfbench_files.table import Row, read_table
from cfbench_volumes.files import FolderParams, pair

VERSION = 1
HOW = "Write a table with a column `file` and one per label, or name yours: `table`, `file`, `labels`."
#: Distinct values of a label above which it must be a measurement.
MOST_VALUES = 32


@dataclass(frozen=True)
class Params(FolderParams):
    """What the columns of the table mean, and what is cut out of the volumes."""

    table: str = param("cases.csv", "CSV, TSV or XLSX file, below `root`")
    folder: str = param("", "folder below root where paths start")
    file: str = param("file", "column with the path of the volume: .nii, .nii.gz, .mha, .mhd or .nrrd")
    id: str = param("", "column with the case's id; empty: the path")
    labels: tuple[str, ...] = param(("label",), "columns with ordered classes, as numbers or as names of `classes`")
    classes: tuple[str, ...] = param((), "names of classes in ascending order, which become 0, 1, 2, ... and prompts")
    measurements: tuple[str, ...] = param((), "columns with numbers on a continuous scale")
    patient: str = param("", "column with the patient; empty: every volume is its own")
    split: str = param("", "column with train, valid or test; empty: drawn by a hash of the patient")
    masks: tuple[str, ...] = param((), "columns with paths of masks (not 0 is inside); their names name the masks")
    text: str = param("", "column with a description of the image, for generators that read")
    view: Literal["volumes", "axial", "sagittal", "coronal"] = param(
        "volumes", "3D, or one slice of this plane per row"
    )
    size: tuple[int, ...] = param((64,), "one side for all axes, or each: (bottom to top,) rows, columns")
    spacing: tuple[float, ...] = param((2.0,), "millimetres per voxel, likewise; of a slice: rows, columns")
    centre: Literal["volume", "mask"] = param(
        "volume", "what is in the middle: that of the volume, or of the first mask"
    )
    slice: str = param("", "column with the slice's number from the left, the back or the bottom (0 is the first)")
    channel: int = param(-1, "of 4D files, which volume is taken; -1: files are 3D")
    window: tuple[float, ...] = param((), "values that become 0 and 1, such as [-500, 1300]; empty: `percentiles`")
    percentiles: tuple[float, ...] = param((0.0, 99.5), "percentiles of each volume that become 0 and 1")
    antialias: bool = param(True, "whether finer volumes are averaged over a voxel, instead of interpolated")
    mask_grid: Literal["header", "image"] = param(
        "header", "'image': masks match voxel by voxel, whatever their headers say"
    )
    nan: Literal["refuse", "lowest"] = param(
        "refuse", "voxels that are no numbers: refuse the file, or take the lowest value"
    )
    publish: bool = param(False, "whether images may be shown in a published gallery")
    licence: str = param("", "licence of the images, for the tables")


def describe(params: Params) -> DatasetInfo:
    """Return what the table says. Raises DataError for impossible parameters, or a table that cannot be read."""
    size, _ = grid_of(params)
    pair(params.window or params.percentiles, "window" if params.window else "percentiles")
    if params.centre == "mask" and not params.masks:
        raise DataError("volume-folder: `centre: mask` needs a column of masks")
    missing = why_missing(params.root, (params.table,), HOW)
    root = root_of(params.root)
    there = root is not None and not missing
    table = root / params.table if root else Path()
    ordered = dict(zip(params.labels, _distinct(table, digest(table), params), strict=True)) if there else {}
    names = {float(value): name.replace("_", " ") for value, name in enumerate(params.classes)}
    return DatasetInfo(
        channels=1,
        space=size,
        labels={**ordered, **(dict.fromkeys(params.measurements, ()) if there else {})},
        prompts={label: names for label in params.labels if names},
        masks=params.masks,
        fingerprint="volume-folder "
        + fingerprint(
            "volume-folder", VERSION, params, [table] if there else [], listed(root) if root and there else ""
        ),
        missing=missing and f"volume-folder: {missing}",
        patients=bool(params.patient),
        redistributable=params.publish,
        licence=params.licence,
    )


def grid_of(params: Params) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the size and the spacing of each axis of an image. Raises DataError if they do not fit the view."""
    dims = 3 if params.view == "volumes" else 2
    size = params.size * dims if len(params.size) == 1 else params.size
    spacing = params.spacing * dims if len(params.spacing) == 1 else params.spacing
    if len(size) != dims or len(spacing) != dims or min(size) < 1 or min(spacing) <= 0:
        raise DataError(
            f"volume-folder: size {list(params.size)}, spacing {list(params.spacing)}; expected one number above 0, or "
            f"{dims} (view {params.view})"
        )
    return size, spacing


def columns(params: Params) -> tuple[str, ...]:
    """Return the columns that the table must have."""
    named = (params.file, params.id, params.patient, params.split, params.text, params.slice)
    return tuple(dict.fromkeys(c for c in (*named, *params.labels, *params.measurements, *params.masks) if c))


def value_of(row: Row, label: str, params: Params) -> float:
    """Return a row's value of a label; NaN where it is missing. Raises DataError for a cell that is no class."""
    cell = row[label]
    if params.classes and cell:
        if cell not in params.classes:
            raise DataError(
                f"{row.where}: column {label!r} holds {cell!r}; expected one of {', '.join(params.classes)}"
            )
        return float(params.classes.index(cell))
    return row.number(label)


@lru_cache(maxsize=8)
def _distinct(table: Path, _digest: str, params: Params) -> tuple[tuple[float, ...], ...]:
    """Return the values of each label that the table has; cells that are no class are told when cases are listed."""
    rows = read_table(table, columns(params))
    return tuple(_of_label(rows, label, params) for label in params.labels)


def _of_label(rows: list[Row], label: str, params: Params) -> tuple[float, ...]:
    if params.classes:
        return tuple(map(float, range(len(params.classes))))
    values, wrong = set(), ""
    for row in rows:
        try:
            values.add(row.number(label))
        except DataError as error:
            wrong = wrong or str(error)
    known = sorted(value for value in values if not math.isnan(value))
    if not known and wrong:
        raise DataError(f"{wrong}. If the cells of {label!r} are names, list them in `classes`, in ascending order")
    if len(known) > MOST_VALUES:
        raise DataError(
            f"volume-folder: column {label!r} has {len(known)} values, {known[0]:g} to {known[-1]:g}; a label has "
            f"at most {MOST_VALUES}. Name it in `measurements` instead of `labels`"
        )
    return tuple(known)
