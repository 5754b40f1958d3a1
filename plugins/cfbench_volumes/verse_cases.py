"""Reads VerSe's folders: scans, vertebra masks, centroids and the spreadsheet of grades."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from cfbench.errors import DataError
from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.listing import LeftOut, Listing, root_of
from cfbench_files.prepared import Case, Layout
from cfbench_files.splits import SPLITS, named_split
from cfbench_files.table import Row, header_of, read_table, single_rows
from cfbench_volumes.counts import beside_published
from cfbench_volumes.files import found, pair
from cfbench_volumes.geometry import SAGITTAL, labels_on, sample, sample_mask, turned, voxel_of
from cfbench_volumes.intensity import stored, windowed
from cfbench_volumes.verse import CERVICAL, GRADES, HOW, LEVELS, PUBLISHED, Params, grade_tables
from cfbench_volumes.volume import Volume, digest_of, read_labels, read_volume, stem_of

_CT = "_ct"
_SPLIT_WORD = re.compile(r"(training|validation|test)", re.IGNORECASE)
_YEAR = re.compile(r"(?:verse|^)_?(?:20)?(19|20)(?!\d)", re.IGNORECASE)
#: A vertebra's level to its grade, or to a sentence that says why it has none.
Grades = Mapping[str, float | str]


@dataclass(frozen=True)
class Scan:
    """One CT scan and what belongs to it."""

    #: Name of the file without `_ct.nii.gz`.
    name: str
    ct: Path
    mask: Path
    centroids: Path
    patient: str
    split: str
    grades: Grades


def verse(params: Params) -> FileDataset:
    """Return the dataset. Raises DataError for impossible parameters."""
    window = pair(params.window, "window")
    return FileDataset(
        "verse",
        lambda: list_scans(params),
        lambda scan: read_scan(scan, params, window),
        Layout(shape=(1, params.size, params.size), dtype="uint16", masks=("vertebra",), labels=("grade", "level")),
        strict=params.strict,
        notes=_notes,
    )


def _notes(prepared: Prepared) -> Sequence[str]:
    return beside_published(prepared, "grade", PUBLISHED, "Table 1 of Atad et al. 2024")


def list_scans(params: Params) -> Listing:
    """Return the scans below `root`. Raises DataError if there is none, or a table cannot be read."""
    root = root_of(params.root)
    if root is None:
        raise DataError("verse: `root` is empty")
    grades, left = read_grades(grade_tables(root, params.grades))
    places = [(path, *_edition(path.relative_to(root))) for path in found(root, "**/rawdata/**/*_ct.nii*")]
    if params.years != "both":
        places = [place for place in places if place[1] in (params.years, "")]
    # A scan that is in both editions: the later one's folder is the one that counts.
    newest = {stem_of(path).removesuffix(_CT): (path, split) for path, _, split in sorted(places, key=lambda p: p[1])}
    if not newest:
        year = "2019 or 2020" if params.years == "both" else params.years
        raise DataError(f"{root} has no scan of VerSe {year}: expected rawdata/sub-*/sub-*_ct.nii.gz below it. {HOW}")
    split_of = _patients({name: split for name, (_, split) in newest.items()}, params)
    scans = [
        Scan(
            name,
            path,
            _beside(path, f"{name}_seg-vert_msk.nii*"),
            _beside(path, f"{name}_seg-*_ctd.json"),
            _patient(name),
            split_of[_patient(name)],
            grades.get(scan_key(name), {}),
        )
        for name, (path, _) in sorted(newest.items())
    ]
    return Listing(scans, left)


def read_scan(scan: Scan, params: Params, window: tuple[float, float]) -> Iterator[Case | LeftOut]:
    """Yield the scan's vertebrae. Raises DataError if one of its files cannot be used."""
    stored_ct = read_volume(scan.ct)
    ct, mask = turned(stored_ct, SAGITTAL), labels_on(stored_ct, read_labels(scan.mask), SAGITTAL, params.mask_grid)
    digests = {path.name: digest_of(path) for path in (scan.ct, scan.mask, scan.centroids)}
    for label, centre in read_centroids(scan.centroids, ct):
        if (label in CERVICAL and not params.cervical) or label not in LEVELS:
            continue
        case_id = f"{scan.name}_{LEVELS[label]}"
        grade = scan.grades.get(LEVELS[label], math.nan)
        if params.graded and isinstance(grade, float) and math.isnan(grade):
            continue
        if isinstance(grade, str):
            yield LeftOut(case_id, grade)
        elif wrong := _not_in_mask(mask, label, centre):
            yield LeftOut(case_id, f"{scan.centroids.name}: {wrong}")
        else:
            yield _case(case_id, scan, ct, mask, label, centre, grade, digests, params, window)


def _case(
    case_id: str,
    scan: Scan,
    ct: Volume,
    mask: Volume,
    label: int,
    centre: Float64[np.ndarray, "3"],
    grade: float,
    digests: Mapping[str, str],
    params: Params,
    window: tuple[float, float],
) -> Case:
    """Cut the sagittal patch around a vertebra's centroid; what lies outside the scan is air."""
    shape, spacing = (1, params.size, params.size), (1.0, params.spacing, params.spacing)
    patch = sample(ct, centre, shape, spacing, outside=window[0], antialias=params.antialias)
    return Case(
        id=case_id,
        patient=scan.patient,
        split=scan.split,
        labels={"grade": grade, "level": float(label)},
        image=stored(windowed(patch, *window)),
        masks={"vertebra": sample_mask(mask, (label,), centre, shape, spacing)[0]},
        where=f"{scan.ct.name}, {LEVELS[label]}",
        digests=digests,
    )


def read_centroids(path: Path, volume: Volume) -> list[tuple[int, Float64[np.ndarray, "3"]]]:
    """Return labels and voxel positions in a volume, of the centroids of a `_ctd.json`.

    Its first entry says where the axes X, Y and Z point, in which the others count voxels of the scan's own grid,
    from the centre of the first. (The set's tools round, and count from the far edge where they flip: up to a voxel.)
    A vertebra whose position is not a number is not there, as in these tools.

    Raises:
        DataError: it is no such file, or a vertebra is there twice.
    """
    entries = _json(path)
    if not isinstance(entries, list) or not entries or "direction" not in entries[0]:
        raise DataError(f'{path}: expected a list that begins with {{"direction": ["P", "I", "R"]}}')
    axes, result = tuple(entries[0]["direction"]), []
    for number, entry in enumerate(entries[1:], start=2):
        try:
            label, point = int(entry["label"]), [float(entry[axis]) for axis in "XYZ"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, entry {number}: expected label, X, Y and Z, found {entry!r}") from error
        if all(math.isfinite(value) for value in point):
            result.append((label, voxel_of(point, axes, volume)))
    labels = [label for label, _ in result]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise DataError(f"{path}: vertebra {min(twice)} has {labels.count(min(twice))} centroids; expected one")
    return result


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error


def _not_in_mask(mask: Volume, label: int, centre: Float64[np.ndarray, "3"]) -> str:
    """Return what is wrong if no voxel within one of the centroid's has its label."""
    at = np.rint(centre).astype(int)
    if (at < -1).any() or (at > mask.voxels.shape).any():
        return f"the centroid of {LEVELS[label]} lies outside the scan, at voxel {at.tolist()} of {mask.voxels.shape}"
    near = mask.voxels[tuple(slice(max(i - 1, 0), i + 2) for i in at)]
    if (near == label).any():
        return ""
    there = sorted(LEVELS.get(int(n), str(n)) for n in np.unique(near) if n)
    return f"the centroid of {LEVELS[label]} lies in {' and '.join(there) or 'no vertebra'} of the mask {mask.where}"


def _beside(ct: Path, pattern: str) -> Path:
    """Return the derivative of a scan: in `derivatives/`, in the folder that has the scan's `rawdata/`."""
    raw = next(parent for parent in ct.parents if parent.name == "rawdata")
    matches = found(raw.parent / "derivatives" / ct.parent.relative_to(raw), pattern)
    return matches[0] if matches else raw.parent / "derivatives" / ct.parent.relative_to(raw) / pattern


def _edition(path: Path) -> tuple[str, str]:
    """Return the year and the split of a scan ("" where no folder says it), from the names of its folders."""
    folders = path.parts[: path.parts.index("rawdata")]
    year = next((f"20{m[1]}" for part in reversed(folders) if (m := _YEAR.search(part))), "")
    split = next((m[1].lower() for part in reversed(folders) if (m := _SPLIT_WORD.search(part))), "")
    return year, split


def _patients(scans: Mapping[str, str], params: Params) -> Mapping[str, str]:
    """Return the split of each subject.

    In the official split, a subject with scans in several folders is in the most held-out of these.
    """
    if params.split == "patients":
        return {_patient(name): params.drawn_split(_patient(name)) for name in scans}
    result: dict[str, str] = {}
    for name, word in scans.items():
        if not word:
            raise DataError(
                f"{name}: no folder above it is called training, validation or test; say `split: patients` instead"
            )
        splits = (named_split(word, name), result.get(_patient(name), "train"))
        result[_patient(name)] = max(splits, key=SPLITS.index)
    return result


def _patient(name: str) -> str:
    """Return the subject of a scan: `sub-verse401` of `sub-verse401_split-verse253`."""
    return name.split("_", 1)[0]


def scan_key(name: str) -> str:
    """Return what the spreadsheet calls a scan: `253` of `sub-verse401_split-verse253`, `4` of `sub-verse004`.

    It counts scans by numbers, so that 7 and 007 are one; other names (`sub-gl003`) stay as they are.
    """
    last = name.rsplit("_split-", maxsplit=1)[-1] if "_split-" in name else name.split("_", 1)[0]
    last = last.removeprefix("sub-").removeprefix("verse")
    return str(int(last)) if last.isdigit() else last


def read_grades(tables: Sequence[Path]) -> tuple[Mapping[str, Grades], list[LeftOut]]:
    """Return the grades of each scan, by `scan_key`, and the rows that contradict each other."""
    result: dict[str, Grades] = {}
    left: list[LeftOut] = []
    for path in tables:
        columns = [name for name in header_of(path) if name.endswith("_fx-g")]
        if not columns:
            raise DataError(f"{path} has no column such as L1_fx-g: expected the grades of VerSe's fractures")
        rows, wrong = single_rows(
            (row for row in read_table(path, ["verse_ID", *columns]) if row["verse_ID"]), "verse_ID"
        )
        left += [LeftOut(f"scan {name}", why) for name, why in wrong]
        bad = {scan_key(name): why for name, why in wrong}
        result |= {name: dict.fromkeys(LEVELS.values(), why) for name, why in bad.items()}
        result |= {scan_key(row["verse_ID"]): _grades_of(row, columns) for row in rows}
    return result, left


def _grades_of(row: Row, columns: Sequence[str]) -> Grades:
    result: dict[str, float | str] = {}
    for column in columns:
        try:
            result[column.removesuffix("_fx-g")] = row.number(column, GRADES)
        except DataError as error:
            result[column.removesuffix("_fx-g")] = str(error)
    return result
