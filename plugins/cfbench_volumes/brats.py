"""BraTS, described: MR of brains with glioma (FLAIR), as slices or volumes, with masks of edema and tumour."""

from dataclasses import dataclass
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint, listed
from cfbench_files.listing import root_of, why_missing
from cfbench_volumes.files import FolderParams

VERSION = 1
LICENCE = "CC BY-SA 4.0 (Decathlon); BraTS releases have terms of their own"
HOW = (
    "Unpack Task01_BrainTumour.tar (http://medicaldecathlon.com) there, or the training data of a BraTS release "
    "(https://www.synapse.org), one folder per case."
)
MASKS = ("edema", "enhancing", "tumour")
PROMPTS = {
    "edema": {0.0: "brain without edema", 1.0: "brain with peritumoral edema"},
    "enhancing": {0.0: "brain without enhancing tumour", 1.0: "brain with enhancing tumour"},
    "tumour": {0.0: "brain without tumour", 1.0: "brain with glioma"},
}
#: Slices by edema in Table 1 of Atad et al. 2024; they were drawn at random for training, in the middle for validation.
PUBLISHED = {0.0: 203, 1.0: 281}


@dataclass(frozen=True)
class Params(FolderParams):
    """Which images of each case, and what their masks mean."""

    layout: Literal["auto", "task01", "brats"] = param(
        "auto", "'task01': dataset.json and 4D images; 'brats': a folder per case; 'auto': by what is there"
    )
    labels: Literal["auto", "task01", "brats"] = param(
        "auto",
        "what masks mean: 'task01': 1 is edema, 2 core, 3 enhancing; 'brats': 2 is edema, 1 core, 3 or 4 enhancing",
    )
    view: Literal["slices", "volumes"] = param("slices", "one axial slice per case (or several), or the whole block")
    size: int = param(64, "side in pixels, and slices of a volume")
    spacing: float = param(3.0, "millimetres per pixel, in the slice")
    thickness: float = param(2.0, "millimetres from slice to slice")
    slices: Literal["stratified", "random", "centre", "listed"] = param(
        "stratified",
        "which slices, one rule in all splits: half with and half without edema; any; the middle; those of `manifest`",
    )
    per_volume: int = param(1, "slices per case")
    brain: float = param(
        0.2,
        "share of a slice that must be brain for it to be drawn: near the vertex there is little, and never edema, so "
        "that size alone would tell the classes apart",
    )
    manifest: str = param("", "table of slices, below `root`: columns case and slice (0 = lowest)")
    upper: float = param(99.5, "percentile of the block that becomes 1")
    split: Literal["monai", "patients"] = param(
        "patients",
        "'monai': the fifth of the cases that MONAI's DecathlonDataset holds out with seed 0, as in the paper, are the "
        "test cases; 'patients': shares of patients by their hash",
    )
    antialias: bool = param(
        False, "whether finer volumes are averaged over a voxel, instead of interpolated as in the paper"
    )
    mask_grid: Literal["header", "image"] = param(
        "header", "'image': masks match voxel by voxel, whatever their headers say"
    )


def describe(params: Params) -> DatasetInfo:
    """Return what is known without reading volumes. Raises DataError for impossible parameters."""
    if min(params.size, params.per_volume) < 1 or min(params.spacing, params.thickness) <= 0:
        raise DataError("brats: expected size, per_volume, spacing and thickness above 0")
    if params.slices == "listed" and not params.manifest:
        raise DataError("brats: `slices: listed` needs `manifest`, a table with columns case and slice")
    if not 0 < params.upper <= 100 or not 0 <= params.brain < 1:
        raise DataError("brats: expected a percentile `upper` up to 100, and `brain` from 0 to below 1")
    missing = why_missing(params.root, (), HOW)
    root = root_of(params.root)
    there = root is not None and not missing
    tables = [root / name for name in ("dataset.json", params.manifest) if name] if root and there else []
    return DatasetInfo(
        channels=1,
        space=(params.size,) * (2 if params.view == "slices" else 3),
        labels=dict.fromkeys(MASKS, (0.0, 1.0)),
        prompts=PROMPTS,
        masks=MASKS,
        fingerprint=fingerprint("brats", VERSION, params, tables, listed(root) if root and there else ""),
        missing=missing and f"brats: {missing}",
        redistributable=False,
        licence=LICENCE,
    )
