"""Reads ADNI's table of subjects, and each subject's registered T1 volume."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np

from cfbench.errors import DataError
from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.listing import LeftOut, Listing, below, root_of
from cfbench_files.prepared import Case, Layout
from cfbench_files.table import Row, header_of, read_table
from cfbench_volumes.adni import PUBLISHED_ADNI1, PUBLISHED_ADNI2, Params
from cfbench_volumes.counts import beside_published
from cfbench_volumes.files import found, once
from cfbench_volumes.geometry import AXIAL, middle, sample, sample_mask, turned
from cfbench_volumes.intensity import percentiles, stored, windowed
from cfbench_volumes.volume import SUFFIXES, Volume, digest_of, read_volume, stem_of

#: What the tables that people have call each column, in order of preference.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "subject": ("subject", "Subject", "Subject ID", "PTID", "RID"),
    "group": ("group", "Group", "Research Group", "DX", "DX_bl", "DX_Group"),
    "phase": ("phase", "Phase", "COLPROT", "ORIGPROT"),
    "date": ("date", "Acq Date", "EXAMDATE", "Study Date"),
    "file": ("file", "File", "path"),
    "image": ("image", "Image Data ID", "Image ID", "IMAGEUID"),
}


@dataclass(frozen=True)
class Visit:
    """One row of the table, and its volume."""

    name: str
    path: Path
    patient: str
    split: str
    diagnosis: float
    where: str


def adni(params: Params) -> FileDataset:
    """Return the dataset."""
    return FileDataset(
        "adni",
        lambda: list_visits(params),
        lambda visit: read_visit(visit, params),
        Layout(shape=(1, *params.size), dtype="uint16", masks=("brain",), labels=("diagnosis",)),
        strict=params.strict,
        notes=lambda prepared: _notes(prepared, params),
    )


def _notes(prepared: Prepared, params: Params) -> Sequence[str]:
    if params.split != "phases" or set(params.groups) != set(PUBLISHED_ADNI2):
        return ()
    both = [
        {float(params.groups.index(group)): count + extra.get(group, 0) for group, count in PUBLISHED_ADNI2.items()}
        for extra in (PUBLISHED_ADNI1, {})
    ]
    return [
        *beside_published(prepared, "diagnosis", both[0], "Liu et al. 2025, ADNI-1 and ADNI-2"),
        *beside_published(prepared, "diagnosis", both[1], "Liu et al. 2025, ADNI-2", "test"),
    ]


def list_visits(params: Params) -> Listing:
    """Return the visits that the table names. Raises DataError if it cannot be read, or has none."""
    root = root_of(params.root)
    if root is None:
        raise DataError("adni: `root` is empty")
    table = below(root, params.table, "table")
    columns = _columns(table, params)
    seen = once(read_table(table, list(columns.values())))
    earlier = _earlier(seen, columns, params)
    files, left, visits = _Files(root), [], []
    for row in _first_visits(seen, columns) if params.visits == "first" else seen:
        try:
            visit = _visit(row, columns, params, files, earlier)
        except DataError as error:
            left.append(LeftOut(row[columns["subject"]], str(error)))
        else:
            visits += [visit] if visit else []
    return Listing(*_unique(visits, left))


def _columns(table: Path, params: Params) -> Mapping[str, str]:
    """Return the table's own name of each column that it has. Raises DataError if one that is needed is not there."""
    header = header_of(table)
    result: dict[str, str] = {}
    for what, names in COLUMNS.items():
        asked = getattr(params, what, "")
        name = next((name for name in ((asked,) if asked else names) if name in header), "")
        if name:
            result[what] = name
        elif asked or what in ("subject", "group") or (what == "phase" and params.split == "phases"):
            expected = asked or " or ".join(names)
            raise DataError(f"{table} has no column {expected}; it has: {', '.join(header)}. Set `{what}` to its name")
    if "file" not in result and "image" not in result:
        raise DataError(f"{table} has neither a column of files nor of images' ids: expected file, or Image Data ID")
    return result


def _visit(
    row: Row, columns: Mapping[str, str], params: Params, files: "_Files", earlier: frozenset[str]
) -> Visit | None:
    """Return a row's visit, or None if its group or phase is not asked for. Raises DataError without its file."""
    subject = row.text(columns["subject"])
    group = row.text(columns["group"])
    if group not in params.groups:
        return None
    if params.split == "patients":
        split = params.drawn_split(subject)
    else:
        phase = _plain(row[columns["phase"]])
        if phase == _plain(params.train_phase):
            split = params.drawn_from_training(subject)
        elif phase == _plain(params.test_phase) and subject not in earlier:
            split = "test"
        else:
            return None
    path = files.of(row, columns)
    return Visit(stem_of(path), path, subject, split, float(params.groups.index(group)), row.where)


def _plain(phase: str) -> str:
    return re.sub(r"[\s_-]", "", phase).lower()


def _earlier(rows: Sequence[Row], columns: Mapping[str, str], params: Params) -> frozenset[str]:
    """Return the subjects of the phase that is learnt from, who must not be tested on."""
    if params.split != "phases":
        return frozenset()
    train = _plain(params.train_phase)
    return frozenset(row[columns["subject"]] for row in rows if _plain(row[columns["phase"]]) == train)


def _first_visits(rows: Sequence[Row], columns: Mapping[str, str]) -> list[Row]:
    """Return each subject's earliest row; rows without a date come last, and otherwise the table's order holds."""
    first: dict[str, int] = {}
    for i in sorted(range(len(rows)), key=lambda i: _date(rows[i], columns)):
        first.setdefault(rows[i][columns["subject"]], i)
    return [rows[i] for i in sorted(first.values())]


def _date(row: Row, columns: Mapping[str, str]) -> date:
    text = row[columns["date"]] if "date" in columns else ""
    for form in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            return datetime.strptime(text.split(" ")[0], form).date()  # noqa: DTZ007 - a day, anywhere
        except ValueError:
            continue
    return date.max


class _Files:
    """Volumes below a folder, by path or by an image's id in their names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_word: dict[str, list[Path]] = {}
        for path in found(root, *(f"**/*{suffix}" for suffix in SUFFIXES)):
            for word in {*re.split(r"[_.\s-]", stem_of(path)), *path.relative_to(root).parts[:-1]}:
                self._by_word.setdefault(word, []).append(path)

    def of(self, row: Row, columns: Mapping[str, str]) -> Path:
        """Return a row's volume. Raises DataError if there is none, or more than one."""
        if "file" in columns:
            path = below(self._root, row.text(columns["file"]), row.where)
            if not path.is_file():
                raise DataError(f"{row.where}: there is no file {path}")
            return path
        image = row.text(columns["image"])
        paths = self._by_word.get(image) or self._by_word.get(f"I{image}", [])
        if len(paths) != 1:
            raise DataError(
                f"{row.where}: {len(paths)} volumes below {self._root} have the image's id {image!r}; expected one"
            )
        return paths[0]


def _unique(visits: Sequence[Visit], left: list[LeftOut]) -> tuple[list[Visit], list[LeftOut]]:
    """Leave out volumes that several rows name: nobody knows whose they are."""
    by_name: dict[str, list[Visit]] = {}
    for visit in visits:
        by_name.setdefault(visit.name, []).append(visit)
    kept = [same[0] for same in by_name.values() if len(same) == 1]
    out = [
        LeftOut(name, f"{same[1].where}: the volume {name} is also in {same[0].where}")
        for name, same in by_name.items()
        if len(same) > 1
    ]
    return kept, [*left, *out]


def read_visit(visit: Visit, params: Params) -> Iterator[Case]:
    """Yield the one case of a visit. Raises DataError or NotFiniteError if its file cannot be used."""
    volume = turned(read_volume(visit.path, nan=params.nan), AXIAL)
    window = percentiles(volume.voxels, 0, params.upper, visit.path.name)
    depth, height, width = params.size
    shape, spacing = (depth, height, width), (params.spacing,) * 3
    block = sample(volume, middle(volume), shape, spacing, outside=window[0], antialias=params.antialias)
    head = Volume((volume.voxels > window[0]).astype(np.uint8), volume.affine, volume.where)
    yield Case(
        id=visit.name,
        patient=visit.patient,
        split=visit.split,
        labels={"diagnosis": visit.diagnosis},
        image=stored(windowed(block, *window))[None],
        masks={"brain": sample_mask(head, (1,), middle(volume), shape, spacing)},
        where=visit.where,
        digests={visit.path.name: digest_of(visit.path)},
    )
