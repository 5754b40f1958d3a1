"""Reads any folder of volumes by its table."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from cfbench.errors import DataError
from cfbench_files.dataset import FileDataset
from cfbench_files.listing import LeftOut, Listing, below, root_of
from cfbench_files.prepared import Case, Layout
from cfbench_files.splits import named_split, whole_patients
from cfbench_files.table import Row, read_table, single_rows
from cfbench_volumes.folder import Params, columns, grid_of, value_of
from cfbench_volumes.geometry import AXIAL, PLANES, bounds, labels_on, middle, sample, sample_mask, turned
from cfbench_volumes.intensity import percentiles, stored, windowed
from cfbench_volumes.volume import Volume, digest_of, read_labels, read_volume


@dataclass(frozen=True)
class Item:
    """One row of the table."""

    name: str
    path: Path
    patient: str
    split: str
    labels: Mapping[str, float]
    masks: Mapping[str, Path]
    #: Number of the slice, or -1 for the one in the middle.
    slice: int
    text: str
    where: str


def volume_folder(params: Params) -> FileDataset:
    """Return the dataset. Raises DataError for impossible parameters."""
    size, _ = grid_of(params)
    labels = (*params.labels, *params.measurements)
    return FileDataset(
        "volume-folder",
        lambda: list_items(params),
        lambda item: read_item(item, params),
        Layout(shape=(1, *size), dtype="uint16", masks=params.masks, labels=labels),
        strict=params.strict,
    )


def list_items(params: Params) -> Listing:
    """Return the rows that can be used. Raises DataError if the table cannot be read."""
    root = root_of(params.root)
    if root is None:
        raise DataError("volume-folder: `root` is empty")
    key = params.id or params.file
    rows = read_table(root / params.table, columns(params))
    wrong: list[tuple[str, str]] = []
    if not params.id and params.slice:  # several slices of one file are several cases
        kept = list({tuple(row.cells.items()): row for row in rows}.values())
    else:
        kept, wrong = single_rows(rows, key)
    left = [LeftOut(name, why) for name, why in wrong]
    items: list[Item] = []
    for row in kept:
        try:
            items.append(_item(row, root, params))
        except DataError as error:
            left.append(LeftOut(row[key] or row.where, str(error)))
    return Listing(*whole_patients(items, left))


def _item(row: Row, root: Path, params: Params) -> Item:
    name = row.text(params.id or params.file)
    number = row.number(params.slice, range(1 << 15)) if params.slice else -1
    if math.isnan(number):
        raise DataError(f"{row.where}: column {params.slice!r} is empty; expected the number of a slice")
    patient = row.text(params.patient) if params.patient else name
    values = {label: value_of(row, label, params) for label in params.labels}
    return Item(
        name=name if params.id or not params.slice else f"{name}_{int(number)}",
        path=below(root / params.folder, row.text(params.file), row.where),
        patient=patient,
        split=named_split(row[params.split], row.where) if params.split else params.drawn_split(patient),
        labels=values | {column: row.number(column) for column in params.measurements},
        masks={mask: below(root / params.folder, row[mask], row.where) for mask in params.masks if row[mask]},
        slice=int(number),
        text=row[params.text] if params.text else "",
        where=row.where,
    )


def read_item(item: Item, params: Params) -> Iterator[Case]:
    """Yield the one case of a row. Raises DataError or NotFiniteError if its files cannot be used."""
    channel = params.channel if params.channel >= 0 else None
    raw = read_volume(item.path, channel, nan=params.nan)
    axes = PLANES.get(params.view, AXIAL)
    volume = turned(raw, axes)
    masks = {name: labels_on(raw, read_labels(path), axes, params.mask_grid) for name, path in item.masks.items()}
    limits = params.window or percentiles(volume.voxels, params.percentiles[0], params.percentiles[1], item.path.name)
    window = (limits[0], limits[1])
    size, spacing = grid_of(params)
    flat = params.view != "volumes"
    shape = (1, size[0], size[1]) if flat else (size[0], size[1], size[2])
    steps = (float(volume.spacing[0]), spacing[0], spacing[1]) if flat else (spacing[0], spacing[1], spacing[2])
    centre = _centre(item, volume, masks, params, flat=flat)
    block = sample(volume, centre, shape, steps, outside=window[0], antialias=params.antialias)
    found = {name: sample_mask(mask, _inside(mask), centre, shape, steps) for name, mask in masks.items()}
    paths = (item.path, *item.masks.values())
    yield Case(
        id=item.name,
        patient=item.patient,
        split=item.split,
        labels=item.labels,
        image=stored(windowed(block, *window)).reshape(1, *size),
        masks={name: mask.reshape(size) for name, mask in found.items()},
        text=item.text,
        where=item.where,
        digests={path.name: digest_of(path) for path in paths},
    )


def _inside(mask: Volume) -> tuple[int, ...]:
    return tuple(int(n) for n in np.unique(mask.voxels) if n)


def _centre(
    item: Item, volume: Volume, masks: Mapping[str, Volume], params: Params, *, flat: bool
) -> Float64[np.ndarray, "3"]:
    """Return the voxel in the middle of what is cut out; of a slice, a whole number: slices are never blended."""
    centre = middle(volume)
    if params.centre == "mask":
        name = params.masks[0]
        if name not in masks or not masks[name].voxels.any():
            raise DataError(f"the mask {name!r} is empty or not named; it should say where the middle is")
        first, last = bounds(masks[name].voxels != 0)
        centre = (first + last) / 2
    if item.slice >= 0:
        if item.slice >= volume.voxels.shape[0]:
            raise DataError(
                f"slice {item.slice} of {volume.voxels.shape[0]} ({params.view}); expected one that is there"
            )
        centre[0] = item.slice
    return np.array([np.floor(centre[0]), *centre[1:]]) if flat else centre
