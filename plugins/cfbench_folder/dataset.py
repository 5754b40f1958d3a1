"""Lists the images of a folder, by its table or by its class folders."""

import math
from collections.abc import Iterator
from pathlib import Path

from cfbench.errors import DataError
from cfbench_files.dataset import FileDataset
from cfbench_files.images import Geometry
from cfbench_files.listing import LeftOut, Listing, Picture, below, root_of, why_missing
from cfbench_files.pictures import Reading, picture_dataset
from cfbench_files.splits import hashed_split, named_split, whole_patients
from cfbench_files.table import Row, read_table, single_rows
from cfbench_folder.params import CLASS, SUFFIXES, FolderParams, class_folders, class_names, columns, value_of


def image_folder(params: FolderParams) -> FileDataset:
    """Return the images of a folder as a dataset."""
    reading = Reading(
        geometry=Geometry(params.size, params.fit),
        channels=3 if params.channels == "colour" else 1,
        window=params.window,
        rules=dict.fromkeys(params.masks if params.table else (), params.mask_rule),
    )
    labels = (*params.labels, *params.measurements) if params.table else (CLASS,)
    return picture_dataset("image-folder", lambda: _listing(params), reading, labels, strict=params.strict)


def _listing(params: FolderParams) -> Listing:
    if missing := why_missing(params.root, [params.table] if params.table else [], ""):
        raise DataError(f"image-folder: {missing}")
    root = root_of(params.root)
    assert root  # noqa: S101 - otherwise it is missing
    return _by_table(root, params) if params.table else Listing(list(_by_folders(root, params)))


def _by_table(root: Path, params: FolderParams) -> Listing:
    rows, left = single_rows(read_table(root / params.table, columns(params)), params.id or params.file)
    out = [LeftOut(name, why) for name, why in left]
    found: list[Picture] = []
    for row in rows:
        try:
            found.append(_picture(row, root, params))
        except DataError as error:
            out.append(LeftOut(row[params.id or params.file] or row.where, str(error)))
    return Listing(*whole_patients(found, out))


def _picture(row: Row, root: Path, params: FolderParams) -> Picture:
    name = row.text(params.id or params.file)
    patient = row.text(params.patient) if params.patient else name
    drawn = hashed_split(patient, params.valid, params.test, params.seed)
    return Picture(
        name=name,
        path=below(root / params.folder, row.text(params.file), row.where),
        patient=patient,
        split=named_split(row[params.split], row.where) if params.split else drawn,
        labels={label: value_of(row, label, params) for label in params.labels}
        | {name: row.number(name) for name in params.measurements},
        masks={mask: below(root, row[mask], row.where) for mask in params.masks if row[mask]},
        text=row[params.text] if params.text else "",
        where=row.where,
        inverted=_inverted(row, params),
    )


def _inverted(row: Row, params: FolderParams) -> bool:
    said = row[params.photometric].upper() if params.photometric else ""
    if said not in {"", "MONOCHROME1", "MONOCHROME2", "RGB"}:
        raise DataError(
            f"{row.where}: column {params.photometric!r} holds {said!r}; expected MONOCHROME1 or 2, RGB or nothing"
        )
    return said == "MONOCHROME1"


def _by_folders(root: Path, params: FolderParams) -> Iterator[Picture]:
    values = {name: float(value) for value, name in enumerate(class_names(params))}
    for split, classes in class_folders(root, params).items():
        for name, folder in classes.items():
            for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
                case = path.relative_to(root).as_posix()
                yield Picture(
                    name=case,
                    path=path,
                    patient=case,
                    split=split or hashed_split(case, params.valid, params.test, params.seed),
                    labels={CLASS: values.get(name, math.nan)},
                    where=case,
                )
