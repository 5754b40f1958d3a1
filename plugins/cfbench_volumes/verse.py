"""VerSe, described: CT of the spine, one sagittal patch per vertebra, Genant grades of fractures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint, listed
from cfbench_files.listing import root_of, why_missing
from cfbench_volumes.files import FolderParams, found, pair

VERSION = 1
LICENCE = "CC BY-SA 4.0"
HOW = (
    "Unpack dataset-verse19training.zip and its five sisters (https://github.com/anjany/verse) into one folder, and "
    "put verse2019_fracture_grading_info.xlsx (supplement of Löffler et al. 2020) beside them."
)
#: Label in masks and centroid files to the level's name, as the set's README says.
LEVELS: Mapping[int, str] = {
    **{n: f"C{n}" for n in range(1, 8)},
    **{n: f"T{n - 7}" for n in range(8, 20)},
    **{n: f"L{n - 19}" for n in range(20, 26)},
    28: "T13",
}
CERVICAL = frozenset(range(1, 8))
GRADES = (0.0, 1.0, 2.0, 3.0)
PROMPTS = {
    "grade": {
        0.0: "vertebra without fracture",
        1.0: "mild vertebral fracture",
        2.0: "moderate vertebral fracture",
        3.0: "severe vertebral fracture",
    }
}
#: Vertebrae by grade in Table 1 of Atad et al. 2024; see docs/datasets-volumes.md for what is known of the difference.
PUBLISHED = {0.0: 4124, 1.0: 74, 2.0: 102, 3.0: 44}


@dataclass(frozen=True)
class Params(FolderParams):
    """Which vertebrae, and how they are cut out."""

    years: Literal["both", "2019", "2020"] = param("both", "editions; a scan that is in both counts once, as in 2020")
    grades: str = param(
        "", "table of grades, below `root`; empty: every file there with `fracture` and `grad` in its name"
    )
    graded: bool = param(False, "whether vertebrae without a grade are left away; they serve for learning images")
    cervical: bool = param(False, "whether C1 to C7 are taken; the papers' best model is without them")
    size: int = param(96, "side of the patch in pixels")
    spacing: float = param(1.0, "millimetres per pixel; the papers do not state theirs")
    window: tuple[float, ...] = param(
        (-500.0, 1300.0), "Hounsfield units that become 0 and 1 (VerSe's own soft-bone window)"
    )
    antialias: bool = param(False, "whether finer scans are averaged over a pixel, instead of interpolated")
    split: Literal["official", "patients"] = param(
        "official", "'official': the set's folders; 'patients': shares of subjects by their hash"
    )
    mask_grid: Literal["header", "image"] = param(
        "header", "'image': masks match voxel by voxel, whatever their headers say"
    )


def describe(params: Params) -> DatasetInfo:
    """Return what is known without reading volumes. Raises DataError for impossible parameters."""
    pair(params.window, "window")
    if params.size < 1 or params.spacing <= 0:
        raise DataError(f"verse: size {params.size}, spacing {params.spacing:g}: expected numbers above 0")
    missing = why_missing(params.root, (), HOW)
    root = root_of(params.root)
    levels = sorted(label for label in LEVELS if params.cervical or label not in CERVICAL)
    return DatasetInfo(
        channels=1,
        space=(params.size, params.size),
        labels={"grade": GRADES, "level": tuple(float(label) for label in levels)},
        prompts={**PROMPTS, "level": {float(label): f"vertebra {LEVELS[label]}" for label in levels}},
        masks=("vertebra",),
        fingerprint=fingerprint(
            "verse",
            VERSION,
            params,
            grade_tables(root, params.grades) if root and not missing else (),
            listed(root) if root and not missing else "",
        ),
        missing=missing and f"verse: {missing}",
        licence=LICENCE,
    )


def grade_tables(root: Path, name: str) -> list[Path]:
    """Return the tables of grades: the one that is named, or all of a fitting name in `root` and one folder below."""
    if name:
        return [root / name]
    tables = found(root, "*.xlsx", "*.csv", "*/*.xlsx", "*/*.csv")
    return [path for path in tables if "fracture" in path.name.lower() and "grad" in path.name.lower()]
