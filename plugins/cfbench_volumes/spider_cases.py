"""Reads SPIDER's folders: series, masks, gradings and overview; or mid-sagittal slices with boxes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cfbench.errors import DataError
from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.images import read_image
from cfbench_files.listing import LeftOut, Listing, root_of
from cfbench_files.prepared import Case, Layout
from cfbench_files.splits import named_split
from cfbench_files.table import Row, read_table, single_rows
from cfbench_volumes.counts import beside_published
from cfbench_volumes.files import found
from cfbench_volumes.geometry import SAGITTAL, bounds, labels_on, sample, sample_mask, turned
from cfbench_volumes.intensity import percentiles, stored, windowed
from cfbench_volumes.spider import BOXES, GRADINGS, LABELS, OVERVIEW, PUBLISHED_TEST, PUBLISHED_TRAIN, Params
from cfbench_volumes.volume import Volume, digest_of, read_labels, read_volume, suffix_of

#: In masks, the disc with `IVD label` k is 200 + k.
DISC = 200
#: Label of the gradings to values, or to a sentence that says why there are none.
Grading = Mapping[str, float] | str


@dataclass(frozen=True)
class Series:
    """One series and the gradings of its patient's discs."""

    #: Such as `12_t2`.
    name: str
    image: Path
    #: Not there for slices.
    mask: Path | None
    patient: str
    split: str
    #: `IVD label` to its grading.
    discs: Mapping[int, Grading]
    #: `IVD label` to the row with its box; for slices only.
    boxes: Mapping[int, Row]


def spider(params: Params) -> FileDataset:
    """Return the dataset."""
    slices = params.layout == "slices"
    masks = ("box",) if slices else ("disc",)
    return FileDataset(
        "spider",
        lambda: list_slices(params) if slices else list_series(params),
        lambda series: read_slice(series, params) if slices else read_series(series, params),
        Layout(shape=(1, params.size, params.size), dtype="uint16", masks=masks, labels=tuple(LABELS)),
        strict=params.strict,
        notes=_notes if params.split == "paper" and not slices else lambda _: (),
    )


def _notes(prepared: Prepared) -> Sequence[str]:
    source = "Table 1 of Atad et al. 2024 (their code's series)"
    learnt = {value: count + PUBLISHED_TEST[value] for value, count in PUBLISHED_TRAIN.items()}
    return [
        *beside_published(prepared, "pfirrmann", learnt, source),
        *beside_published(prepared, "pfirrmann", PUBLISHED_TEST, source, "test"),
    ]


def list_series(params: Params) -> Listing:
    """Return the series below `images/`. Raises DataError if there is none, or a table cannot be read."""
    root = _root(params)
    gradings, left = read_gradings(root / GRADINGS)
    splits = _Subsets(root, params)
    images = {path.name[: -len(suffix_of(path))]: path for path in found(root / "images", "*.mha", "*.nii*")}
    wanted = [name for name in images if _sequence(name) in params.sequences]
    if not wanted:
        raise DataError(
            f"{root / 'images'} has no series that ends in {' or '.join(params.sequences)}: expected ID_t2.mha"
        )
    series = [
        Series(
            name,
            images[name],
            root / "masks" / images[name].name,
            _patient(name),
            splits(name),
            gradings.get(_patient(name), {}),
            {},
        )
        for name in wanted
    ]
    return Listing(*_with_split(series, left))


def read_series(series: Series, params: Params) -> Iterator[Case | LeftOut]:
    """Yield the discs of a series. Raises DataError if the image or the mask cannot be used."""
    assert series.mask is not None  # noqa: S101 - series of volumes have one
    raw = read_volume(series.image)
    image = turned(raw, SAGITTAL)
    labels = labels_on(raw, read_labels(series.mask), SAGITTAL, params.mask_grid)
    window = percentiles(image.voxels, 0, params.upper, series.image.name)
    drawn = {int(n) - DISC for n in np.unique(labels.voxels) if DISC <= n < DISC + 100}
    digests = {f"{p.parent.name}/{p.name}": digest_of(p) for p in (series.image, series.mask)}
    for disc in sorted(drawn | set(series.discs)):
        name = f"{series.name}_disc{disc}"
        grading = series.discs.get(disc, dict.fromkeys(LABELS, math.nan))
        if disc not in series.discs and params.graded:
            continue
        if isinstance(grading, str):
            yield LeftOut(name, grading)
        elif disc not in drawn:
            yield LeftOut(name, f"{series.mask.name}: disc {disc} is graded, but the mask has no label {DISC + disc}")
        else:
            where = f"{series.image.name}, disc {disc}"
            yield _disc(name, where, series, grading, image, labels, window, digests, params, DISC + disc)


def _disc(
    name: str,
    where: str,
    series: Series,
    grading: Mapping[str, float],
    image: Volume,
    labels: Volume,
    window: tuple[float, float],
    digests: Mapping[str, str],
    params: Params,
    label: int,
) -> Case:
    """Cut a disc out of the middle one of the slices that show it; two slices are never blended."""
    first, last = bounds(labels.voxels == label)
    centre = (first + last) / 2
    centre[0] = np.floor(centre[0])
    shape, pixel = (1, params.size, params.size), params.field / params.size
    spacing = (float(image.spacing[0]), pixel, pixel)
    patch = sample(image, centre, shape, spacing, outside=window[0], antialias=True)
    return Case(
        id=name,
        patient=series.patient,
        split=series.split,
        labels=grading,
        image=stored(windowed(patch, *window)),
        masks={"disc": sample_mask(labels, (label,), centre, shape, spacing)[0]},
        where=where,
        digests=digests,
    )


def list_slices(params: Params) -> Listing:
    """Return the slices that `discs.csv` has boxes of. Raises DataError if there is none."""
    root = _root(params)
    splits = _Subsets(root, params)
    columns = ["file", "series", "pid", "seq", "ivd", "x0", "y0", "x1", "y1", "H", "W", "pfirrmann"]
    others = [column for name, (column, _) in LABELS.items() if name != "pfirrmann"]
    rows, wrong = single_rows(read_table(root / BOXES, columns, others), "file")
    left = [LeftOut(name, why) for name, why in wrong]
    of_series: dict[str, list[Row]] = {}
    for row in rows:
        if row["seq"] in params.sequences:
            of_series.setdefault(row["series"], []).append(row)
    if not of_series:
        raise DataError(f"{root / BOXES} has no row whose seq is {' or '.join(params.sequences)}")
    series = [
        Series(
            name,
            root / "slices" / f"{name}.jpg",
            None,
            found_rows[0]["pid"],
            splits(name),
            {int(row["ivd"]): _grading(row, "pfirrmann") for row in found_rows},
            {int(row["ivd"]): row for row in found_rows},
        )
        for name, found_rows in of_series.items()
    ]
    return Listing(*_with_split(series, left))


def read_slice(series: Series, params: Params) -> Iterator[Case | LeftOut]:
    """Yield the discs of a slice. Raises DataError if it cannot be read."""
    read = read_image(series.image, 1, f"{BOXES}, series {series.name}")
    pixels = np.asarray(read.image, dtype=np.float32)
    image = Volume(pixels[None], np.eye(4), series.image.name)
    window = percentiles(pixels, 0, params.upper, series.image.name)
    for disc, row in series.boxes.items():
        name, grading = f"{series.name}_disc{disc}", series.discs[disc]
        try:
            (top, left, bottom, right), wrong = _box(row, pixels.shape), ""
        except DataError as error:
            wrong = str(error)
        if wrong or isinstance(grading, str):
            yield LeftOut(name, wrong or str(grading))
            continue
        # Boxes count from the edge of the first pixel, voxels from its centre.
        centre = np.array([0.0, (top + bottom - 1) / 2, (left + right - 1) / 2])
        shape, pixel = (1, params.size, params.size), params.margin * max(bottom - top, right - left) / params.size
        box = np.zeros_like(image.voxels)
        box[0, round(top) : round(bottom), round(left) : round(right)] = 1
        spacing = (1.0, pixel, pixel)
        patch = sample(image, centre, shape, spacing, outside=0.0, antialias=True)
        yield Case(
            id=name,
            patient=series.patient,
            split=series.split,
            labels=grading,
            image=stored(windowed(patch, *window)),
            masks={"box": sample_mask(Volume(box, np.eye(4), row.where), (1,), centre, shape, spacing)[0]},
            where=row.where,
            digests={f"slices/{series.image.name}": read.digest},
        )


def _box(row: Row, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return top, left, bottom and right of a box in the slice, which was padded to a square and made smaller.

    Raises:
        DataError: it is no box, or not inside the image that it was drawn on.
    """
    x0, y0, x1, y1, height, width = (row.number(column) for column in ("x0", "y0", "x1", "y1", "H", "W"))
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height) or shape[0] != shape[1]:
        raise DataError(
            f"{row.where}: box {x0:g},{y0:g} to {x1:g},{y1:g} on {width:g} x {height:g} pixels, slice {list(shape)}; "
            "expected a box inside, and a square slice"
        )
    side = max(height, width)
    scale, down, across = shape[0] / side, (side - height) / 2, (side - width) / 2
    return (y0 + down) * scale, (x0 + across) * scale, (y1 + down) * scale, (x1 + across) * scale


def read_gradings(path: Path) -> tuple[Mapping[str, Mapping[int, Grading]], list[LeftOut]]:
    """Return each patient's gradings by `IVD label`; rows that contradict each other are left out."""
    columns = [column for column, _ in LABELS.values()]
    result: dict[str, dict[int, Grading]] = {}
    first: dict[tuple[str, int], Row] = {}
    left: list[LeftOut] = []
    for row in read_table(path, ["Patient", "IVD label", *columns]):
        number = row.number("IVD label", range(100))
        patient = _without_zeros(row.text("Patient"))
        if math.isnan(number):
            left.append(LeftOut(f"{patient}_disc?", f"{row.where}: column 'IVD label' is empty"))
            continue
        known = first.setdefault((patient, int(number)), row)
        if known.cells != row.cells:
            result[patient][int(number)] = f"{row.where}: the disc is also in {known.where}, with other values"
        elif known is row:
            result.setdefault(patient, {})[int(number)] = _grading(row, LABELS["pfirrmann"][0])
    return result, left


def _grading(row: Row, pfirrmann: str) -> Grading:
    try:
        return {
            name: row.number(pfirrmann if name == "pfirrmann" else column, values)
            for name, (column, values) in LABELS.items()
        }
    except DataError as error:
        return str(error)


class _Subsets:
    """The split of each series, by its name."""

    def __init__(self, root: Path, params: Params) -> None:
        self._params = params
        rows = read_table(root / OVERVIEW, ["new_file_name", "subset"])
        self._subset = {row["new_file_name"]: row for row in rows}

    def __call__(self, name: str) -> str:
        """Return the split, or "" where the overview does not say it (training or validation)."""
        patient = _patient(name)
        if self._params.split == "patients":
            return self._params.drawn_split(patient)
        try:
            row = self._subset[name]
            held_out = named_split(row["subset"], row.where) != "train"
        except (KeyError, DataError):
            return ""
        return "test" if held_out else self._params.drawn_from_training(patient)


def _with_split(series: Sequence[Series], left: list[LeftOut]) -> tuple[list[Series], list[LeftOut]]:
    """Leave out what the overview does not place, and patients whom it places twice."""
    splits: dict[str, set[str]] = {}
    for one in series:
        splits.setdefault(one.patient, set()).add(one.split)
    kept, out = [], list(left)
    for one in series:
        if not one.split:
            out.append(LeftOut(one.name, f"{OVERVIEW} has no row {one.name!r} whose subset is training or validation"))
        elif len(splits[one.patient] - {""}) > 1:
            both = " and ".join(sorted(splits[one.patient] - {""}))
            out.append(
                LeftOut(one.name, f"{OVERVIEW}: patient {one.patient} has series in {both}; expected one subset")
            )
        else:
            kept.append(one)
    return kept, out


def _root(params: Params) -> Path:
    root = root_of(params.root)
    if root is None:
        raise DataError("spider: `root` is empty")
    return root


def _patient(name: str) -> str:
    return _without_zeros(name.split("_", 1)[0])


def _without_zeros(patient: str) -> str:
    """Return a patient's number as the set's tables write it: files and tables of it have no leading zeros."""
    return str(int(patient)) if patient.isdigit() else patient


def _sequence(name: str) -> str:
    return name.split("_", 1)[1] if "_" in name else ""
