"""COVID-19 image data collection (Cohen et al. 2020): radiographs of case reports. Torch- and numpy-free.

Two layouts: the published repository (`metadata.csv`, `images/`, `annotations/lungVAE-masks/`,
`annotations/covid-severity-scores.csv`), and a folder with `metadata.csv`, `images/`, `masks_lesion/`,
`masks_lung_manual/`, `masks_lung_auto/` in which severities and the names of derived images and masks are columns of
the table. The radiologists' masks are those of the GeneralBlockchain segmentations set (CC BY 4.0).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint, listed
from cfbench_files.listing import LeftOut, Listing, Picture, below, root_of, why_missing
from cfbench_files.splits import hashed_split, whole_patients
from cfbench_files.table import Row, read_table, single_rows

NAME = "cohen-cxr"
VERSION = 1
HOW = "Clone https://github.com/ieee8023/covid-chestxray-dataset."
#: Severity scores, means of three readers.
SCORES = {"geographic": "geographic_mean", "opacity": "opacity_mean"}
#: Mask to its folders: of the arranged layout, and of the repository.
MASKS = {
    "lesion": ("masks_lesion", ""),
    "lung": ("masks_lung_manual", ""),
    "lung_auto": ("masks_lung_auto", "annotations/lungVAE-masks"),
}
#: Licences under which an image may be shown with credit. The non-commercial ones may not, in a page of anybody's.
FREE = ("CC BY", "CC BY 3.0", "CC BY 4.0", "CC BY-SA", "CC0")
#: Not a finding that was confirmed or ruled out.
_UNKNOWN = frozenset({"", "todo", "unknown"})
_OPTIONAL = ("image", "modality", "license", "clinical_notes", "mask_file", *SCORES.values())


@dataclass(frozen=True)
class CohenParams:
    """Where the set lies, and what is read of it."""

    root: str = param("", "folder that has metadata.csv and images")
    view: tuple[str, ...] = param(("PA", "AP", "AP Supine", "AP Erect"), "views that are read (frontal)")
    licences: tuple[str, ...] = param((), "licences of the images that are read, as in the table; empty: all")
    size: int = param(256, "side of the square image in pixels")
    fit: Literal["pad", "crop", "stretch"] = param("pad", "what makes an oblong image square")
    valid: float = param(0.1, "share of the patients in the split valid")
    test: float = param(0.2, "share of the patients in the split test")
    seed: int = param(0, "another seed draws other splits")
    strict: bool = param(False, "whether one bad case stops everything; otherwise it is left out and reported")


def describe(params: CohenParams) -> DatasetInfo:
    """Return what is known without reading images."""
    missing = why_missing(params.root, ["metadata.csv", "images"], HOW)
    return DatasetInfo(
        channels=1,
        space=(params.size, params.size),
        labels={"covid": (0.0, 1.0), "abnormal": (0.0, 1.0), **dict.fromkeys(SCORES, ())},
        fingerprint=f"{NAME} {missing or _fingerprint(params)}",
        missing=missing and f"{NAME}: {missing}",
        masks=tuple(MASKS),
        prompts={
            "covid": {0.0: "pneumonia that is not COVID 19, or a normal chest scan", 1.0: "COVID 19"},
            "abnormal": {0.0: "Normal chest scan", 1.0: "Lung Opacity"},
        },
        redistributable=bool(params.licences) and set(params.licences) <= set(FREE),
        licence=" / ".join(params.licences) or "per image (column license), most of them CC BY-NC-SA",
    )


def _fingerprint(params: CohenParams) -> str:
    root = root_of(params.root)
    assert root  # noqa: S101 - otherwise it is missing
    folders = ["images", *(folder for pair in MASKS.values() for folder in pair if folder)]
    return fingerprint(NAME, VERSION, params, [root / "metadata.csv", _scores_table(root)], listed(root, folders))


def _scores_table(root: Path) -> Path:
    return root / "annotations" / "covid-severity-scores.csv"


def listing(params: CohenParams) -> Listing:
    """Return the frontal radiographs. Raises DataError if a table cannot be read, naming file and row."""
    if missing := describe(params).missing:
        raise DataError(missing)
    root = root_of(params.root)
    assert root  # noqa: S101 - otherwise it is missing
    rows, left = single_rows(
        read_table(root / "metadata.csv", ["patientid", "finding", "view", "filename"], _OPTIONAL), "filename"
    )
    out = [LeftOut(name, why) for name, why in left]
    scores, found = _scores(root), []
    for row in rows:
        if not _wanted(row, params):
            continue
        try:
            found.append(_picture(row, scores, root, params))
        except DataError as error:
            out.append(LeftOut(row["filename"], str(error)))
    return Listing(*whole_patients(found, out))


def _wanted(row: Row, params: CohenParams) -> bool:
    radiograph = row["modality"].lower() in {"", "x-ray"}
    return radiograph and row["view"] in params.view and (not params.licences or row["license"] in params.licences)


def _scores(root: Path) -> Mapping[str, Row]:
    """Return the rows of the repository's own table of severities, by file; none in the arranged layout."""
    table = _scores_table(root)
    if not table.is_file():
        return {}
    return {row["filename"]: row for row in read_table(table, ["filename", *SCORES.values()])}


def _picture(row: Row, scores: Mapping[str, Row], root: Path, params: CohenParams) -> Picture:
    file, patient = row.text("filename"), row.text("patientid")
    scored = scores.get(file, row)
    return Picture(
        name=file,
        path=below(root / "images", row["image"] or file, row.where),
        patient=patient,
        split=hashed_split(patient, params.valid, params.test, params.seed),
        labels={**_findings(row["finding"]), **{name: scored.number(column) for name, column in SCORES.items()}},
        masks=_masks(root, file, row),
        text=row["clinical_notes"],
        where=row.where,
    )


def _findings(finding: str) -> dict[str, float]:
    """Return `covid` and `abnormal`; NaN where the finding is not known yet."""
    said = finding.strip()
    if said.lower() in _UNKNOWN:
        return {"covid": math.nan, "abnormal": math.nan}
    return {"covid": float("COVID-19" in said), "abnormal": float(said != "No Finding")}


def _masks(root: Path, file: str, row: Row) -> dict[str, Path]:
    found = {}
    names = [row["mask_file"], f"{Path(file).stem}.png", f"{Path(file).stem}_mask.png"]
    for mask, folders in MASKS.items():
        paths = [root / folder / name for folder in folders if folder for name in names if name]
        there = next((path for path in paths if path.is_file()), None)
        if there:
            found[mask] = there
    return found
