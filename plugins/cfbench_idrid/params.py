"""IDRiD (Porwal et al., Data 3(3):25, 2018): where its files are, and what they say. Torch- and numpy-free.

Two layouts: that of the published archive (`A. Segmentation/...`, `B. Disease Grading/...`), and an arranged one
(`grading.csv`, `grading/`, `segmentation.csv`, `segmentation/images/`, `segmentation/masks_{MA,HE,EX,SE,OD}/`).

The photographs with drawn lesions are graded photographs once more, under other numbers and compressed again. `MATCHES`
says which, as found by comparing their content; reading both sets as if they were different would leak.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import digest, fingerprint, listed
from cfbench_files.listing import LeftOut, Listing, Picture, root_of, why_missing
from cfbench_files.splits import hashed_split, whole_patients
from cfbench_files.table import read_table, single_rows

NAME = "idrid"
VERSION = 1
HOW = "Get IDRiD from IEEE DataPort (https://doi.org/10.21227/H25W98, CC BY 4.0) and unpack it there."
GRADES = (0.0, 1.0, 2.0, 3.0, 4.0)
RISKS = (0.0, 1.0, 2.0)
#: Mask to the folder and the suffix of its files in the archive.
MASKS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}
#: Labels of what is drawn: 1 if there is such a lesion.
DRAWN = {"haemorrhages": "HE", "soft_exudates": "SE"}
#: Number of a photograph with lesions to its number among the graded ones of the training set.
MATCHES: Mapping[int, int] = dict(
    zip(
        (
            1,
            2,
            3,
            5,
            6,
            7,
            8,
            10,
            13,
            14,
            15,
            16,
            17,
            18,
            19,
            20,
            21,
            23,
            24,
            26,
            27,
            28,
            29,
            33,
            34,
            35,
            36,
            37,
            38,
            39,
            40,
            41,
            42,
            43,
            44,
            46,
            47,
            48,
            49,
            50,
            51,
            52,
            53,
            54,
        ),
        (
            102,
            366,
            369,
            82,
            196,
            29,
            207,
            224,
            231,
            232,
            236,
            237,
            239,
            132,
            242,
            245,
            246,
            247,
            248,
            299,
            254,
            261,
            263,
            272,
            277,
            278,
            280,
            281,
            185,
            271,
            282,
            283,
            284,
            294,
            300,
            306,
            64,
            53,
            308,
            48,
            310,
            311,
            12,
            314,
        ),
        strict=True,
    )
)
#: Images of the published archive.
PUBLISHED = {"grading": 516, "segmentation": 81}
_GRADE_NAMES = (
    "no retinopathy",
    "mild retinopathy",
    "moderate retinopathy",
    "severe retinopathy",
    "proliferative retinopathy",
)
_RISK_NAMES = ("no risk of macular edema", "low risk of macular edema", "high risk of macular edema")


@dataclass(frozen=True)
class IdridParams:
    """Where the set lies, and which part is read."""

    root: str = param("", "folder of the archive (A. Segmentation, B. Disease Grading), or of the arranged layout")
    part: Literal["grading", "segmentation"] = param(
        "grading", "graded photographs, with the masks of those that have some; or only those with drawn lesions"
    )
    size: int = param(128, "side of the square image in pixels")
    fit: Literal["pad", "crop", "stretch"] = param("pad", "what makes the oblong photographs (4288 x 2848) square")
    split: Literal["official", "hash"] = param(
        "hash", "hash: all photographs are drawn; official: the published testing set is tested on"
    )
    valid: float = param(0.1, "share of the drawn photographs in the split valid")
    test: float = param(0.2, "share of the photographs in the split test, where all are drawn")
    seed: int = param(0, "another seed draws other splits")
    strict: bool = param(False, "whether one bad case stops everything; otherwise it is left out and reported")


@dataclass(frozen=True)
class Folders:
    """The files of one published part (training or testing), in either layout."""

    testing: bool
    grades: Path
    graded: Path
    drawn: Path
    #: Mask to its folder, and the end of its files' names.
    masks: Mapping[str, tuple[Path, str]]
    #: Columns: image, retinopathy, macular edema.
    columns: tuple[str, str, str]


def labels_of(params: IdridParams) -> dict[str, tuple[float, ...]]:
    """Return the labels of a part."""
    drawn: dict[str, tuple[float, ...]] = dict.fromkeys(DRAWN, (0.0, 1.0))
    return {"grade": GRADES, "edema_risk": RISKS} if params.part == "grading" else drawn


def describe(params: IdridParams) -> DatasetInfo:
    """Return what is known without reading images."""
    root = root_of(params.root)
    found = list(_parts(root)) if root else []
    missing = why_missing(params.root, [], HOW) or ("" if found else f"{root} has neither layout of IDRiD. {HOW}")
    return DatasetInfo(
        channels=3,
        space=(params.size, params.size),
        labels=labels_of(params),
        fingerprint=f"{NAME} {missing or _fingerprint(params, found)}",
        missing=missing and f"{NAME}: {missing}",
        masks=tuple(MASKS),
        prompts=_prompts(params),
        patients=False,
        licence="CC BY 4.0",
    )


def _prompts(params: IdridParams) -> dict[str, dict[float, str]]:
    if params.part == "grading":
        names = {"grade": _GRADE_NAMES, "edema_risk": _RISK_NAMES}
        return {
            label: {float(v): f"fundus photograph, {name}" for v, name in enumerate(names[label])} for label in names
        }
    return {d: {0.0: "fundus photograph", 1.0: f"fundus photograph with {d.replace('_', ' ')}"} for d in DRAWN}


def _fingerprint(params: IdridParams, found: list[Folders]) -> str:
    return fingerprint(NAME, VERSION, params, [folders.grades for folders in found], listed(_root(params)))


def _root(params: IdridParams) -> Path:
    root = root_of(params.root)
    assert root  # noqa: S101 - otherwise it is missing
    return root


def _parts(root: Path) -> Iterator[Folders]:
    """Yield the published parts that are there."""
    if (root / "grading.csv").is_file():
        masks = {name: (root / "segmentation" / f"masks_{name}", ".png") for name in MASKS}
        drawn, columns = root / "segmentation" / "images", ("image", "dr_grade", "dme_risk")
        yield Folders(False, root / "grading.csv", root / "grading", drawn, masks, columns)
    if (root / "B. Disease Grading").is_dir():
        yield from (_published(root, testing) for testing in (False, True))


def _published(root: Path, testing: bool) -> Folders:
    part, truth, kind = root / "B. Disease Grading", root / "A. Segmentation", "Testing" if testing else "Training"
    folder = "b. Testing Set" if testing else "a. Training Set"
    drawn = truth / "2. All Segmentation Groundtruths" / folder
    return Folders(
        testing=testing,
        grades=part / "2. Groundtruths" / f"{folder[0]}. IDRiD_Disease Grading_{kind} Labels.csv",
        graded=part / "1. Original Images" / folder,
        drawn=truth / "1. Original Images" / folder,
        masks={name: (drawn / inner, f"_{name}.tif") for name, inner in MASKS.items()},
        columns=("Image name", "Retinopathy grade", "Risk of macular edema"),
    )


def listing(params: IdridParams) -> Listing:
    """Return the photographs of a part. Raises DataError if its tables cannot be read, naming file and row."""
    if missing := describe(params).missing:
        raise DataError(missing)
    parts, out = list(_parts(_root(params))), list[LeftOut]()
    if params.part == "segmentation":
        found = [picture for folders in parts for picture in _drawn(folders, params)]
    else:
        found = _once([p for folders in parts for p in _graded(folders, params, out)], out)
    return Listing(*whole_patients(found, out))


def _drawn(folders: Folders, params: IdridParams) -> Iterator[Picture]:
    for path in sorted(folders.drawn.glob("*.jpg")):
        masks = _masks(folders, path.stem)
        yield Picture(
            name=f"drawn/{path.stem}",
            path=path,
            patient=path.stem,
            split=_split(path.stem, folders, params),
            labels={label: float(mask in masks) for label, mask in DRAWN.items()},
            masks=masks,
            where=f"{folders.drawn.name}/{path.name}",
        )


def _graded(folders: Folders, params: IdridParams, out: list[LeftOut]) -> Iterator[Picture]:
    image, grade, risk = folders.columns
    rows, left = single_rows(read_table(folders.grades, folders.columns), image)
    out += [LeftOut(name, why) for name, why in left]
    seen = {} if folders.testing else {graded: drawn for drawn, graded in MATCHES.items()}
    for row in rows:
        try:
            name = Path(row.text(image)).stem
            labels = {"grade": row.number(grade, GRADES), "edema_risk": row.number(risk, RISKS)}
        except DataError as error:
            out.append(LeftOut(row[image] or row.where, str(error)))
            continue
        path, masks = folders.graded / f"{name}.jpg", dict[str, Path]()
        drawn = folders.drawn / f"IDRiD_{seen.get(_number(name), 0):02d}.jpg"
        if drawn.is_file():  # its masks were drawn on this copy of the photograph
            path, masks = drawn, _masks(folders, drawn.stem)
        case = f"testing/{name}" if folders.testing else name  # both sets count from 1
        split = _split(case, folders, params)
        yield Picture(name=case, path=path, patient=case, split=split, labels=labels, masks=masks, where=row.where)


def _number(name: str) -> int:
    end = name.rpartition("_")[2]
    return int(end) if end.isdigit() else 0


def _masks(folders: Folders, stem: str) -> dict[str, Path]:
    found = {mask: folder / f"{stem}{end}" for mask, (folder, end) in folders.masks.items()}
    return {mask: path for mask, path in found.items() if path.is_file()}


def _split(name: str, folders: Folders, params: IdridParams) -> str:
    if params.split == "official":
        return "test" if folders.testing else hashed_split(name, params.valid, 0.0, params.seed)
    return hashed_split(name, params.valid, params.test, params.seed)


def _once(pictures: list[Picture], out: list[LeftOut]) -> list[Picture]:
    """Return the photographs without repetitions: some files are there twice under two numbers.

    The first of them stays; if their labels differ, nobody knows which are right, and none does.
    """
    same: dict[str, list[Picture]] = {}
    for picture in pictures:
        same.setdefault(digest(picture.path) or picture.name, []).append(picture)
    kept = []
    for first, *others in same.values():
        differ = [other for other in others if other.labels != first.labels]
        why = "with other labels: both are left out" if differ else "with the same labels: it counts once"
        out += [LeftOut(o.name, f"{o.where}: {o.path.name} is the file {first.path.name} again, {why}") for o in others]
        out += [LeftOut(first.name, f"{first.where}: {first.path.name}: see {differ[0].name}")] if differ else []
        kept += [] if differ else [first]
    return kept
