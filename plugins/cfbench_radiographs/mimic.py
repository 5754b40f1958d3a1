"""MIMIC-CXR-JPG 2.0.0 (Johnson et al. 2019) with the oedema severities of Liao et al. Torch- and numpy-free.

`files/p10/p10000032/s50414267/<dicom_id>.jpg`; tables `mimic-cxr-2.0.0-{metadata,split,chexpert}.csv` (or `.csv.gz`);
and,
from the project `mimic-cxr-pe-severity`, `{regex_report,expert_report,consensus_image}_edema_severity.csv`. The JPEG
files are those of PhysioNet, in which MONOCHROME1 images have been inverted already.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param
from cfbench_files.fingerprint import fingerprint
from cfbench_files.listing import LeftOut, Listing, Picture, root_of, why_missing
from cfbench_files.splits import hashed_split, named_split, whole_patients
from cfbench_files.table import Row, read_table, single_rows
from cfbench_radiographs.findings import NORMAL, label_of, prompts_of, value_of

NAME = "mimic-cxr-jpg"
VERSION = 1
FINDINGS = ("Lung Opacity", "Pneumonia", "Cardiomegaly")
EDEMA = "edema_severity"
GRADES = (0.0, 1.0, 2.0, 3.0)
#: Later tables overrule earlier ones: a radiologist's reading beats a rule, several radiologists beat one.
SEVERITY = ("regex_report", "expert_report", "consensus_image")
HOW = (
    "MIMIC-CXR-JPG (https://physionet.org/content/mimic-cxr-jpg) needs a credentialed PhysioNet account and its data "
    "use agreement."
)
#: Table 1 of Atad et al. 2024, at the level of images.
PAPER: Mapping[str, Mapping[float, int]] = {
    "lung_opacity": {0.0: 66130, 1.0: 28465},
    "pneumonia": {0.0: 66096, 1.0: 2629},
    "cardiomegaly": {0.0: 66094, 1.0: 25201},
    EDEMA: {0.0: 2908, 1.0: 1631, 2.0: 1873, 3.0: 725},
}


@dataclass(frozen=True)
class MimicParams:
    """Where the set lies, and how its labels are read."""

    root: str = param("", "folder that has `files` and the mimic-cxr-2.0.0 tables")
    severity: str = param(
        "", "folder with the *_edema_severity.csv files; empty: root. Without them there is no such label"
    )
    view: tuple[str, ...] = param(("AP",), "ViewPosition of the images that are read")
    keep: Literal["all", "labelled", "edema"] = param(
        "all", "all images (for the generator), those with any label, or those with an edema severity"
    )
    uncertain: Literal["missing", "positive", "negative"] = param("missing", "what -1 (uncertain) becomes")
    negatives: Literal["no_finding", "explicit"] = param(
        "no_finding", "negative cases: images without any finding, or those where the finding itself is 0"
    )
    hold_out: bool = param(True, "whether patients whose images several radiologists graded are in the split test")
    split: Literal["official", "hash"] = param("official", "the published split, or one drawn by a hash of the patient")
    valid: float = param(0.1, "share of the patients in the split valid, where it is drawn")
    test: float = param(0.2, "share of the patients in the split test, where it is drawn")
    seed: int = param(0, "another seed draws other splits")
    size: int = param(256, "side of the square image in pixels")
    fit: Literal["pad", "crop", "stretch"] = param("crop", "what makes an oblong image square")
    strict: bool = param(False, "whether one bad case stops everything; otherwise it is left out and reported")


def describe(params: MimicParams) -> DatasetInfo:
    """Return what is known without reading images."""
    missing = _missing(params)
    normal = {0.0: NORMAL, 1.0: "vascular congestion", 2.0: "interstitial edema", 3.0: "alveolar edema"}
    return DatasetInfo(
        channels=1,
        space=(params.size, params.size),
        labels={**{label_of(c): (0.0, 1.0) for c in FINDINGS}, EDEMA: GRADES},
        fingerprint=f"{NAME} {missing or fingerprint(NAME, VERSION, _named(params), _tables(params))}",
        missing=missing and f"{NAME}: {missing}",
        prompts={**prompts_of(FINDINGS), EDEMA: normal},
        redistributable=False,
        licence="PhysioNet Credentialed Health Data License 1.5.0; not for redistribution",
    )


def _named(params: MimicParams) -> MimicParams:
    """Return the parameters without the place of the severities: only their content counts."""
    return MimicParams(**{**params.__dict__, "severity": ""})


def _missing(params: MimicParams) -> str:
    root = root_of(params.root)
    absent = [name for name in ("metadata", "split", "chexpert") if root and not _table(root, name).is_file()]
    if root and absent:
        return f"{root} has no mimic-cxr-2.0.0-{absent[0]}.csv (or .csv.gz): set `root` to the right folder. {HOW}"
    return why_missing(params.root, ["files"], HOW)


def _table(root: Path, name: str) -> Path:
    plain = root / f"mimic-cxr-2.0.0-{name}.csv"
    packed = plain.with_name(f"{plain.name}.gz")
    return plain if plain.is_file() or not packed.is_file() else packed


def _root(params: MimicParams) -> Path:
    root = root_of(params.root)
    assert root  # noqa: S101 - otherwise it is missing
    return root


def _tables(params: MimicParams) -> list[Path]:
    return [_table(_root(params), name) for name in ("metadata", "split", "chexpert")] + list(
        _severities(params).values()
    )


def _severities(params: MimicParams) -> dict[str, Path]:
    folder = root_of(params.severity) or _root(params)
    found = {name: folder / f"{name}_edema_severity.csv" for name in SEVERITY}
    return {name: path for name, path in found.items() if path.is_file()}


@dataclass(frozen=True)
class Labels:
    """What the tables say, by study (as `subject/study`) and by image."""

    findings: Mapping[str, Row]
    split: Mapping[str, Row]
    #: Study or image to its grade; images come first.
    edema: Mapping[str, float]
    #: Patients that are tested on whatever the split says.
    held_out: frozenset[str]


def listing(params: MimicParams) -> Listing:
    """Return the images of the wanted view. Raises DataError if a table cannot be read, naming file and row."""
    if missing := describe(params).missing:
        raise DataError(missing)
    root = _root(params)
    rows, left = single_rows(
        read_table(_table(root, "metadata"), ["dicom_id", "subject_id", "study_id", "ViewPosition"]), "dicom_id"
    )
    out = [LeftOut(name, why) for name, why in left]
    labels, found = _labels(params, out), []
    for row in rows:
        if row["ViewPosition"] not in params.view:
            continue
        try:
            picture = _picture(row, labels, root, params)
        except DataError as error:
            out.append(LeftOut(row["dicom_id"], str(error)))
        else:
            found += [picture] if _kept(picture, params) else []
    return Listing(*whole_patients(found, out))


def _kept(picture: Picture, params: MimicParams) -> bool:
    if params.keep == "edema":
        return not math.isnan(picture.labels[EDEMA])
    return params.keep == "all" or any(not math.isnan(value) for value in picture.labels.values())


def _labels(params: MimicParams, out: list[LeftOut]) -> Labels:
    root = _root(params)
    findings, twice = single_rows(
        read_table(_table(root, "chexpert"), ["study_id", "subject_id", *FINDINGS, "No Finding"]), "study_id"
    )
    split, strange = single_rows(read_table(_table(root, "split"), ["dicom_id", "split"]), "dicom_id")
    out += [LeftOut(f"study {name}", why) for name, why in twice] + [LeftOut(name, why) for name, why in strange]
    edema, held_out = _edema(params, out)
    return Labels(
        findings={row["study_id"]: row for row in findings},
        split={row["dicom_id"]: row for row in split},
        edema=edema,
        held_out=held_out if params.hold_out else frozenset(),
    )


def _edema(params: MimicParams, out: list[LeftOut]) -> tuple[dict[str, float], frozenset[str]]:
    """Return the grade of each study or image, and the patients of the consensus."""
    grades: dict[str, float] = {}
    patients = set()
    for name, path in _severities(params).items():
        of_image = name == "consensus_image"
        key = "dicom_id" if of_image else "study_id"
        for row in read_table(path, ["subject_id", "study_id", "edema_severity", *([key] if of_image else [])]):
            try:
                grades[row.text(key)] = row.number("edema_severity", GRADES)
            except DataError as error:
                out.append(LeftOut(row[key], str(error)))
            patients |= {row["subject_id"]} if of_image else set()
    return grades, frozenset(patients)


def _picture(row: Row, labels: Labels, root: Path, params: MimicParams) -> Picture:
    image, patient, study = row.text("dicom_id"), row.text("subject_id"), row.text("study_id")
    against = "No Finding" if params.negatives == "no_finding" else ""
    said = labels.findings.get(study)
    values = {
        label_of(c): value_of(said, c, params.uncertain, "missing", against) if said else math.nan for c in FINDINGS
    }
    values[EDEMA] = labels.edema.get(image, labels.edema.get(study, math.nan))
    return Picture(
        name=image,
        path=root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}" / f"{image}.jpg",
        patient=patient,
        split=_split(row, image, patient, labels, params),
        labels=values,
        where=row.where,
    )


def _split(row: Row, image: str, patient: str, labels: Labels, params: MimicParams) -> str:
    if patient in labels.held_out:
        return "test"
    if params.split == "hash":
        return hashed_split(patient, params.valid, params.test, params.seed)
    said = labels.split.get(image)
    if said is None:
        raise DataError(f"{row.where}: image {image} is not in the split table")
    return named_split(said["split"], said.where)
