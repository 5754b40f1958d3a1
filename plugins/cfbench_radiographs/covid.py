"""COVID-19 Radiography Database (Chowdhury et al. 2020, Rahman et al. 2021). Torch- and numpy-free.

`COVID-19_Radiography_Dataset/{COVID,Lung_Opacity,Normal,Viral Pneumonia}/{images,masks}/NAME-n.png`, and one
spreadsheet per class. Patients are not published.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint, listed
from cfbench_files.listing import Listing, Picture, root_of, why_missing
from cfbench_files.splits import hashed_split
from cfbench_files.table import read_table

NAME = "covid-radiography"
VERSION = 1
#: Folder to its value of `finding`, its own label, and the prompt of Siddiqui et al.
CLASSES = {
    "Normal": (0.0, "", "Normal chest scan"),
    "Lung_Opacity": (1.0, "lung_opacity", "Lung Opacity"),
    "Viral Pneumonia": (2.0, "viral_pneumonia", "Viral Pneumonia"),
    "COVID": (3.0, "covid", "COVID 19"),
}
#: Images in the public release. Siddiqui et al. report 4,945 of Lung_Opacity; the others agree.
PUBLIC = {"Normal": 10192, "Lung_Opacity": 6012, "Viral Pneumonia": 1345, "COVID": 3616}
PAPER = {0.0: 10192, 1.0: 4945, 2.0: 1345, 3.0: 3616}
OWN = tuple(label for _, label, _ in CLASSES.values() if label)
HOW = (
    "Get https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database (research use); `root` is its "
    "folder COVID-19_Radiography_Dataset."
)


@dataclass(frozen=True)
class CovidParams:
    """Where the set lies, and what is read of it."""

    root: str = param("", "folder that has COVID, Lung_Opacity, Normal and Viral Pneumonia")
    classes: tuple[str, ...] = param(tuple(CLASSES), "class folders that are read, Normal among them")
    size: int = param(256, "side of the square image in pixels (published: 299)")
    valid: float = param(0.1, "share of the images in the split valid")
    test: float = param(0.2, "share of the images in the split test")
    seed: int = param(0, "another seed draws other splits")
    strict: bool = param(False, "whether one bad case stops everything; otherwise it is left out and reported")
    masks: Literal["lung", "none"] = param("lung", "lung masks where there are some, or none at all")


def describe(params: CovidParams) -> DatasetInfo:
    """Return what is known without reading images. Raises DataError for classes that there are not."""
    strange = [name for name in params.classes if name not in CLASSES]
    if strange or "Normal" not in params.classes:
        raise DataError(f"{NAME}: classes {list(params.classes)}; expected Normal and some of {', '.join(CLASSES)}")
    missing = why_missing(params.root, [f"{name}/images" for name in params.classes], _how(params))
    own = {CLASSES[name][1]: CLASSES[name] for name in params.classes if name != "Normal"}
    normal = CLASSES["Normal"][2]
    binary = {label: {0.0: normal, 1.0: prompt} for label, (_, _, prompt) in own.items()}
    finding = {CLASSES[name][0]: CLASSES[name][2] for name in CLASSES if name in params.classes}
    labels = {"finding": tuple(finding), "abnormal": (0.0, 1.0), **dict.fromkeys(binary, (0.0, 1.0))}
    return DatasetInfo(
        channels=1,
        space=(params.size, params.size),
        labels=labels,
        fingerprint=f"{NAME} {missing or _fingerprint(params)}",
        missing=missing and f"{NAME}: {missing}",
        masks=("lung",) if params.masks == "lung" else (),
        prompts={"finding": finding, **binary, "abnormal": {0.0: normal, 1.0: "Abnormal chest scan"}},
        patients=False,
        redistributable=False,
        licence="mixed sources; research use, not for redistribution",
    )


def _how(params: CovidParams) -> str:
    """Return how the set is had; to those who have some of its classes, that these are enough."""
    root = root_of(params.root)
    there = [name for name in params.classes if root and (root / name / "images").is_dir()]
    some = "Normal" in there and len(there) > 1
    return f"To read what is there: `classes=[{','.join(there)}]`. {HOW}" if some else HOW


def listing(params: CovidParams) -> Listing:
    """Return the images of all class folders. Raises DataError if one is missing."""
    if missing := describe(params).missing:
        raise DataError(missing)
    return Listing([picture for name in params.classes for picture in _pictures(_root(params), name, params)])


def _fingerprint(params: CovidParams) -> str:
    return fingerprint(NAME, VERSION, params, [], listed(_root(params), params.classes))


def _root(params: CovidParams) -> Path:
    root = root_of(params.root)
    assert root  # noqa: S101 - otherwise it is missing
    return root


def _pictures(root: Path, name: str, params: CovidParams) -> Iterator[Picture]:
    value, own, _ = CLASSES[name]
    labels = {"finding": value, "abnormal": float(value > 0)}
    for label in OWN:  # each disease against normal; images of another disease are neither
        labels[label] = 0.0 if value == 0 else 1.0 if label == own else math.nan
    for path in sorted((root / name / "images").glob("*.png"), key=_number):
        mask = root / name / "masks" / path.name
        where = f"{name}/images/{path.name}"
        yield Picture(
            name=path.stem,
            path=path,
            patient=path.stem,
            split=hashed_split(path.stem, params.valid, params.test, params.seed),
            labels=labels,
            masks={"lung": mask} if params.masks == "lung" and mask.is_file() else {},
            where=where,
        )


def _number(path: Path) -> tuple[int, str]:
    found = re.search(r"(\d+)$", path.stem)
    return int(found[1]) if found else 0, path.stem


def spreadsheets(params: CovidParams) -> list[str]:
    """Return what the spreadsheets of the classes say against their folders; nothing where there is none."""
    root, said = _root(params), []
    for name in params.classes:
        table = root / f"{name}.metadata.xlsx"
        if not table.is_file():
            continue
        named = {
            row["FILE NAME"].lower() for row in read_table(table, ["FILE NAME"])
        }  # NORMAL-1 there, Normal-1.png here
        found = {path.stem.lower() for path in (root / name / "images").glob("*.png")}
        said.append(f"{table.name}: {len(named):,} rows, {len(found):,} files")
        said += _some("in the spreadsheet but no file", named - found) + _some("a file but no row", found - named)
    return said


def _some(what: str, names: set[str]) -> list[str]:
    shown = ", ".join(sorted(names)[:5])
    return [f"  {len(names)} {what}: {shown}{', ...' if len(names) > 5 else ''}"] if names else []
