"""ADNI, and any folder of registered T1 volumes with a table of subjects, described."""

from dataclasses import dataclass
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint, listed
from cfbench_files.listing import root_of, why_missing
from cfbench_volumes.files import FolderParams

VERSION = 1
LICENCE = "ADNI data use agreement (https://adni.loni.usc.edu); nothing of it may be shown or passed on"
HOW = (
    "Apply for ADNI at https://adni.loni.usc.edu, strip the skulls and register the T1 volumes to MNI space, and put a "
    "table beside them with columns subject, group, phase, file."
)
#: What a prompt says of a group; others are called by their names.
_WORDS = {
    "CN": "brain MRI of a cognitively normal subject",
    "SMC": "brain MRI of a subject with memory complaints",
    "MCI": "brain MRI of a subject with mild cognitive impairment",
    "EMCI": "brain MRI of a subject with early mild cognitive impairment",
    "LMCI": "brain MRI of a subject with late mild cognitive impairment",
    "AD": "brain MRI of a subject with Alzheimer's disease",
}
#: Subjects of Liu et al. 2025: first visits of ADNI-1, and of ADNI-2 without ADNI-1's subjects (their test set).
PUBLISHED_ADNI1 = {"CN": 231, "AD": 200}
PUBLISHED_ADNI2 = {"CN": 205, "AD": 159}


@dataclass(frozen=True)
class Params(FolderParams):
    """Which subjects, and what of their volumes."""

    table: str = param("subjects.csv", "table of subjects, below `root`")
    subject: str = param("", "its column of subjects; empty: subject, Subject, Subject ID, PTID or RID")
    group: str = param("", "its column of diagnoses; empty: group, Group, Research Group, DX, DX_bl or DX_Group")
    phase: str = param("", "its column of study phases; empty: phase, Phase, COLPROT or ORIGPROT")
    date: str = param("", "its column of dates (ISO or month/day/year); empty: date, Acq Date, EXAMDATE or Study Date")
    file: str = param(
        "", "its column of files; empty: file, File or path, else files with the image's id in their names"
    )
    groups: tuple[str, ...] = param(("CN", "AD"), "diagnoses that are taken, from 0 upward; others are left away")
    visits: Literal["first", "all"] = param("first", "each subject's first visit by date, as in the paper, or all")
    split: Literal["phases", "patients"] = param(
        "phases", "'phases': the later phase's subjects test, without those of the earlier one; or shares of subjects"
    )
    train_phase: str = param("ADNI1", "phase that is learnt from (case, blanks and hyphens do not count)")
    test_phase: str = param("ADNI2", "phase that is tested on")
    size: tuple[int, ...] = param((80, 96, 80), "voxels from bottom to top, front to back, right to left")
    spacing: float = param(2.0, "millimetres per voxel; the paper halves 160 x 192 x 160 of 1 mm")
    antialias: bool = param(True, "whether finer volumes are averaged over a voxel, instead of interpolated")
    upper: float = param(99.5, "percentile of the volume that becomes 1")
    nan: Literal["refuse", "lowest"] = param(
        "refuse", "voxels that are no numbers: refuse the file, or take the lowest value"
    )


def describe(params: Params) -> DatasetInfo:
    """Return what is known without reading volumes. Raises DataError for impossible parameters."""
    if len(params.size) != 3 or min(params.size) < 1 or params.spacing <= 0 or not 0 < params.upper <= 100:
        raise DataError("adni: expected three sizes and a spacing above 0, and a percentile `upper` up to 100")
    if len(params.groups) < 2 or len(set(params.groups)) != len(params.groups):
        raise DataError(f"adni: groups is {list(params.groups)}: expected two or more different diagnoses")
    missing = why_missing(params.root, (params.table,), HOW)
    root = root_of(params.root)
    there = root is not None and not missing
    values = {float(i): group for i, group in enumerate(params.groups)}
    return DatasetInfo(
        channels=1,
        space=tuple(params.size),
        labels={"diagnosis": tuple(values)},
        prompts={"diagnosis": {i: _WORDS.get(group, f"brain MRI, {group}") for i, group in values.items()}},
        masks=("brain",),
        fingerprint=fingerprint(
            "adni",
            VERSION,
            params,
            [root / params.table] if root and there else [],
            listed(root) if root and there else "",
        ),
        missing=missing and f"adni: {missing}",
        redistributable=False,
        licence=LICENCE,
    )
