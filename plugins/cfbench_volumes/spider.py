"""SPIDER, described: MR of the lumbar spine, one sagittal patch per intervertebral disc, Pfirrmann grades."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint, listed
from cfbench_files.listing import root_of, why_missing
from cfbench_volumes.files import FolderParams

VERSION = 1
LICENCE = "CC BY 4.0"
HOW = (
    "Unpack images.zip and masks.zip of https://zenodo.org/records/10159290 there, beside overview.csv and "
    "radiological_gradings.csv."
)
GRADINGS, OVERVIEW, BOXES = "radiological_gradings.csv", "overview.csv", "discs.csv"
#: Label to its column and its values. The set itself spells Pfirrmann with one n.
LABELS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "pfirrmann": ("Pfirrman grade", (1.0, 2.0, 3.0, 4.0, 5.0)),
    "modic": ("Modic", (0.0, 1.0, 2.0, 3.0)),
    "upper_endplate": ("UP endplate", (0.0, 1.0)),
    "lower_endplate": ("LOW endplate", (0.0, 1.0)),
    "spondylolisthesis": ("Spondylolisthesis", (0.0, 1.0)),
    "herniation": ("Disc herniation", (0.0, 1.0)),
    "narrowing": ("Disc narrowing", (0.0, 1.0)),
    "bulging": ("Disc bulging", (0.0, 1.0)),
}
PROMPTS = {
    "pfirrmann": {
        1.0: "healthy intervertebral disc",
        2.0: "minimal disc degeneration",
        3.0: "mild disc degeneration",
        4.0: "moderate disc degeneration",
        5.0: "severe disc degeneration",
    },
    "modic": {
        0.0: "vertebral endplates without Modic changes",
        **{float(kind): f"Modic changes of type {kind}" for kind in (1, 2, 3)},
    },
    "upper_endplate": {0.0: "intact upper endplate", 1.0: "upper endplate with changes"},
    "lower_endplate": {0.0: "intact lower endplate", 1.0: "lower endplate with changes"},
    "herniation": {0.0: "intervertebral disc without herniation", 1.0: "disc herniation"},
    "narrowing": {0.0: "intervertebral disc of normal height", 1.0: "narrowed intervertebral disc"},
    "bulging": {0.0: "intervertebral disc without bulging", 1.0: "bulging disc"},
    "spondylolisthesis": {0.0: "aligned vertebrae", 1.0: "spondylolisthesis"},
}
#: Discs by Pfirrmann grade, of the owner's training and validation series (Atad et al. 2024, Table 1, by their code).
PUBLISHED_TRAIN = {1.0: 182, 2.0: 304, 3.0: 343, 4.0: 214, 5.0: 142}
PUBLISHED_TEST = {1.0: 35, 2.0: 35, 3.0: 74, 4.0: 77, 5.0: 40}


@dataclass(frozen=True)
class Params(FolderParams):
    """Which discs, and how they are cut out."""

    layout: Literal["volumes", "slices"] = param(
        "volumes", "'volumes': images/*.mha and masks/*.mha; 'slices': slices/*.jpg with boxes in discs.csv"
    )
    sequences: tuple[str, ...] = param(("t2",), "ends of the series' names that are taken: t2, t2_SPACE, t1")
    graded: bool = param(True, "whether discs without a row in the gradings are left away")
    size: int = param(64, "side of the patch in pixels")
    field: float = param(50.0, "side of the patch in mm (volumes); the papers': 80 pixels of 0.625 mm")
    margin: float = param(1.25, "side of the patch as a multiple of the box's longer side (slices)")
    upper: float = param(99.5, "percentile of the series that becomes 1")
    split: Literal["paper", "patients"] = param(
        "paper",
        "'paper': the owner's validation series are the test cases; 'patients': shares of patients by their hash",
    )
    mask_grid: Literal["header", "image"] = param(
        "header", "'image': masks match voxel by voxel, whatever their headers say"
    )


def describe(params: Params) -> DatasetInfo:
    """Return what is known without reading images. Raises DataError for impossible parameters."""
    if params.size < 1 or min(params.field, params.margin) <= 0 or not 0 < params.upper <= 100:
        raise DataError("spider: expected size, field and margin above 0, and a percentile `upper` up to 100")
    if not params.sequences:
        raise DataError("spider: `sequences` is empty; expected ends of series' names such as t2")
    needed = ("slices", BOXES) if params.layout == "slices" else ("images", "masks", GRADINGS)
    root = root_of(params.root)
    slices = params.layout != "slices" and root and (root / BOXES).is_file()
    how = f"There is {BOXES}: for exported slices set `layout: slices`. {HOW}" if slices else HOW
    missing = why_missing(params.root, (*needed, OVERVIEW), how)
    tables = [root / name for name in (GRADINGS, OVERVIEW, BOXES)] if root and not missing else []
    return DatasetInfo(
        channels=1,
        space=(params.size, params.size),
        labels={name: values for name, (_, values) in LABELS.items()},
        prompts=PROMPTS,
        masks=("disc",) if params.layout == "volumes" else ("box",),
        fingerprint=fingerprint("spider", VERSION, params, tables, listed(root, needed[:2]) if root and tables else ""),
        missing=missing and f"spider: {missing}",
        licence=LICENCE,
    )
