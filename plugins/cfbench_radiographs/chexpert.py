"""CheXpert (Irvin et al., AAAI 2019), as `CheXpert-v1.0` or `CheXpert-v1.0-small`. Torch- and numpy-free.

`train.csv` and `valid.csv` (Path, Sex, Age, Frontal/Lateral, AP/PA, 14 findings) and JPEG files; patients are in the
paths: `CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint
from cfbench_files.listing import LeftOut, Listing, Picture, below, root_of, why_missing
from cfbench_files.splits import hashed_split, whole_patients
from cfbench_files.table import Row, read_table, single_rows
from cfbench_radiographs.findings import FINDINGS, label_of, prompts_of, value_of

NAME = "chexpert"
VERSION = 1
HOW = (
    "CheXpert is given by Stanford AIMI (https://aimi.stanford.edu) under its research agreement, also as "
    "`ashery/chexpert` on Kaggle."
)
#: Images with cardiomegaly that Siddiqui et al. used; their filter is not stated.
PAPER = {1.0: 8060}
_PATIENT = re.compile(r"patient\d+")


@dataclass(frozen=True)
class ChexpertParams:
    """Where the set lies, and how its labels are read."""

    root: str = param("", "folder that has train.csv and valid.csv (CheXpert-v1.0-small)")
    findings: tuple[str, ...] = param(
        ("Cardiomegaly", "Lung Opacity", "Edema", "Pneumonia", "Pleural Effusion", "No Finding"),
        "columns read as labels",
    )
    view: tuple[str, ...] = param(("AP", "PA"), "projections that are read, of the frontal images")
    uncertain: Literal["missing", "positive", "negative"] = param("missing", "what -1 (uncertain) becomes")
    blank: Literal["missing", "negative"] = param("missing", "what an empty cell (not mentioned) becomes")
    negatives: Literal["no_finding", "explicit"] = param(
        "no_finding", "negative cases: images without any finding, or those where the finding itself is 0"
    )
    split: Literal["official", "hash"] = param(
        "official", "official: valid.csv is tested on, patients of train.csv are drawn; hash: all are drawn"
    )
    valid: float = param(0.1, "share of the drawn patients in the split valid")
    test: float = param(0.2, "share of the patients in the split test, where all are drawn")
    seed: int = param(0, "another seed draws other splits")
    size: int = param(256, "side of the square image in pixels")
    fit: Literal["pad", "crop", "stretch"] = param("crop", "what makes an oblong image square")
    strict: bool = param(False, "whether one bad case stops everything; otherwise it is left out and reported")


def describe(params: ChexpertParams) -> DatasetInfo:
    """Return what is known without reading images. Raises DataError for findings that there are not."""
    strange = [name for name in params.findings if name not in FINDINGS]
    if strange:
        raise DataError(f"{NAME}: there is no finding {strange[0]!r}; expected some of {', '.join(FINDINGS)}")
    missing = why_missing(params.root, ["train.csv", "valid.csv"], HOW)
    return DatasetInfo(
        channels=1,
        space=(params.size, params.size),
        labels={label_of(column): (0.0, 1.0) for column in params.findings},
        fingerprint=f"{NAME} {missing or fingerprint(NAME, VERSION, params, _tables(params))}",
        missing=missing and f"{NAME}: {missing}",
        prompts=prompts_of(params.findings),
        redistributable=False,
        licence="Stanford University Dataset Research Use Agreement; not for redistribution",
    )


def _tables(params: ChexpertParams) -> list[Path]:
    root = root_of(params.root)
    assert root  # noqa: S101 - otherwise it is missing
    return [root / "train.csv", root / "valid.csv"]


def listing(params: ChexpertParams) -> Listing:
    """Return the frontal images of both tables. Raises DataError if they cannot be read, naming file and row."""
    if missing := describe(params).missing:
        raise DataError(missing)
    found: list[Picture] = []
    out: list[LeftOut] = []
    for table in _tables(params):
        rows, left = single_rows(read_table(table, _columns(params)), "Path")
        out += [LeftOut(name, why) for name, why in left]
        for row in _wanted(rows, params):
            try:
                found.append(_picture(row, table, params))
            except DataError as error:
                out.append(LeftOut(row["Path"], str(error)))
    return Listing(*whole_patients(found, out))


def _columns(params: ChexpertParams) -> list[str]:
    return list(dict.fromkeys(["Path", "Frontal/Lateral", "AP/PA", *params.findings, "No Finding"]))


def _wanted(rows: list[Row], params: ChexpertParams) -> Iterator[Row]:
    return (row for row in rows if row["Frontal/Lateral"] == "Frontal" and row["AP/PA"] in params.view)


def _picture(row: Row, table: Path, params: ChexpertParams) -> Picture:
    name = row.text("Path")
    patient = _PATIENT.search(name)
    if not patient:
        raise DataError(f"{row.where}: no patient in the path {name!r}; expected .../patient00001/...")
    inner = name.partition("/")[2] if name.startswith("CheXpert") else name
    official = params.split == "official"
    tested = official and table.name == "valid.csv"
    drawn = hashed_split(patient[0], params.valid, 0.0 if official else params.test, params.seed)
    against = "No Finding" if params.negatives == "no_finding" else ""
    return Picture(
        name=inner.removesuffix(".jpg"),
        path=below(table.parent, inner, row.where),
        patient=patient[0],
        split="test" if tested else drawn,
        labels={label_of(c): value_of(row, c, params.uncertain, params.blank, against) for c in params.findings},
        where=row.where,
    )
