"""Folders in the layouts in which data sets are published, with generated pixels and tables."""

import gzip
import math
from pathlib import Path

import numpy as np
from openpyxl import Workbook
from PIL import Image

from cfbench.errors import DataError
from cfbench.protocols import Context


def picture(path: Path, seed: int, shape=(30, 24), **options) -> None:
    """Write a smooth random grey or RGB image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    low = np.random.default_rng(seed).integers(0, 256, (4, 4, *shape[2:]), dtype=np.uint8)
    Image.fromarray(low).resize((shape[1], shape[0]), Image.Resampling.BICUBIC).save(path, **options)


def mask(path: Path, shape=(30, 24), where=(slice(5, 12), slice(6, 14))) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.zeros(shape, np.uint8)
    drawn[where] = 255
    Image.fromarray(drawn).save(path)


def loaded(dataset, tmp_path, name="prepared"):
    """Prepare a dataset and take its cases from the folder."""
    folder, scratch = tmp_path / name, tmp_path / f"{name}-scratch"
    folder.mkdir()
    scratch.mkdir()
    dataset.prepare(folder, Context(0, scratch))
    dataset.load(folder)
    return dataset


def everything(dataset):
    """Return case id to (split, patient, labels without the missing ones, its batch)."""
    found = {}
    for split in ("train", "valid", "test"):
        try:
            cases = dataset.cases(split)
        except DataError:
            continue
        for i, case in enumerate(cases.ids):
            labels = {k: float(v[i]) for k, v in cases.labels.items() if not math.isnan(v[i])}
            found[case] = (split, cases.patients[i], labels, cases.batch([i]))
    return found


MIMIC_METADATA = """\
dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns
aa-1,10000032,50414267,CHEST (PA AND LAT),AP,3056,2544
aa-2,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544
bb-1,10000764,57375967,CHEST (PORTABLE AP),AP,3056,2544
cc-1,10000898,50771383,CHEST (PORTABLE AP),AP,3056,2544
dd-1,10062617,55170181,CHEST (PORTABLE AP),AP,3056,2544
ee-1,10000935,51178377,CHEST (PA),PA,3056,2544
"""
MIMIC_SPLIT = """\
dicom_id,study_id,subject_id,split
aa-1,50414267,10000032,train
aa-2,50414267,10000032,train
bb-1,57375967,10000764,validate
cc-1,50771383,10000898,test
dd-1,55170181,10062617,train
ee-1,51178377,10000935,train
"""
MIMIC_LABELS = """\
subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,\
Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices
10000032,50414267,,,,,,,,,1.0,,,,,
10000764,57375967,,1.0,,,,,,-1.0,,,,0.0,,
10000898,50771383,,,,,,,,1.0,,,,-1.0,,
10062617,55170181,,,,1.0,,,,,,,,,,
"""
SEVERITY = {
    "regex_report": "subject_id,study_id,edema_severity\n"
    "10000032,50414267,0\n10000764,57375967,3\n10062617,55170181,3\n",
    "expert_report": "subject_id,study_id,edema_severity\n10000764,57375967,2\n",
    "consensus_image": "subject_id,study_id,dicom_id,edema_severity\n10062617,55170181,dd-1,1\n",
}


def mimic(root: Path, *, severity: Path | None = None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    tables = {"metadata": MIMIC_METADATA, "split": MIMIC_SPLIT, "chexpert": MIMIC_LABELS}
    for name, text in tables.items():
        (root / f"mimic-cxr-2.0.0-{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name, text in SEVERITY.items():
        folder = severity or root
        folder.mkdir(exist_ok=True)
        (folder / f"{name}_edema_severity.csv").write_text(text)
    for i, line in enumerate(MIMIC_METADATA.splitlines()[1:]):
        image, patient, study = line.split(",")[:3]
        picture(
            root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}" / f"{image}.jpg", i, (60, 50), quality=95
        )
    return root


CHEXPERT_HEAD = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices\n"
)
CHEXPERT_TRAIN = {
    "patient00001/study1/view1_frontal": "Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
    "patient00002/study1/view1_frontal": "Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
    "patient00002/study1/view2_lateral": "Female,87,Lateral,,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
    "patient00003/study1/view1_frontal": "Male,41,Frontal,PA,,,1.0,,,1.0,,,,0.0,,,,",
    "patient00004/study1/view1_frontal": "Male,41,Frontal,AP,,,0.0,,,1.0,,,,0.0,,,,",
}


def chexpert(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    rows = {
        "train": CHEXPERT_TRAIN,
        "valid": {"patient64541/study1/view1_frontal": "Male,73,Frontal,AP" + ",1.0" + ",0.0" * 13},
    }
    for name, cases in rows.items():
        lines = [f"CheXpert-v1.0-small/{name}/{case}.jpg,{rest}\n" for case, rest in cases.items()]
        (root / f"{name}.csv").write_text(CHEXPERT_HEAD + "".join(lines))
        for i, case in enumerate(cases):
            picture(root / name / f"{case}.jpg", i, (32, 39))
    return root


def covid(root: Path, per_class: int = 12) -> Path:
    names = {"COVID": "COVID", "Lung_Opacity": "Lung_Opacity", "Normal": "NORMAL", "Viral Pneumonia": "Viral Pneumonia"}
    for c, (folder, written) in enumerate(names.items()):
        book = Workbook()
        book.active.append(["FILE NAME", "FORMAT", "SIZE", "URL"])
        for i in range(1, per_class + 1):
            picture(root / folder / "images" / f"{folder}-{i}.png", 100 * c + i, (299, 299))
            mask(root / folder / "masks" / f"{folder}-{i}.png", (256, 256), (slice(64, 192), slice(64, 192)))
            book.active.append([f"{written}-{i}", "PNG", "256*256", "https://example.org"])
        book.save(root / f"{folder}.metadata.xlsx")
    return root


COHEN = """\
patientid,offset,sex,age,finding,survival,view,modality,date,location,folder,filename,doi,url,license,clinical_notes
2,0,M,65,Pneumonia/Viral/COVID-19,Y,PA,X-ray,2020,,images,a-1.jpeg,,,CC BY-NC-SA,"fever, cough"
2,3,M,65,COVID-19,Y,AP,X-ray,2020,,images,a-2.jpeg,,,CC BY-NC-SA,
007,0,F,40,No Finding,Y,PA,X-ray,2020,,images,b.png,,,CC BY 4.0,clear lungs
8,0,F,40,todo,,PA,X-ray,2020,,images,c.png,,,,
9,0,F,40,COVID-19,,Axial,CT,2020,,volumes,d.nii.gz,,,,
10,0,F,40,COVID-19,,L,X-ray,2020,,images,e.png,,,,
"""


def cohen(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata.csv").write_text(COHEN)
    for i, name in enumerate(("a-1.jpeg", "a-2.jpeg", "b.png", "c.png", "e.png")):
        picture(root / "images" / name, i, (40, 50))
    mask(root / "annotations" / "lungVAE-masks" / "a-1_mask.png", (40, 50))
    (root / "annotations" / "covid-severity-scores.csv").write_text(
        "## mean of 3 raters\nfilename,geographic_mean,opacity_mean\na-1.jpeg,6.0,4.0\n"
    )
    return root


def idrid(root: Path) -> Path:
    """The published archive, small: four graded training images, of which two were drawn upon, and two for testing."""
    grading, drawn = root / "B. Disease Grading", root / "A. Segmentation"
    parts = {
        "a. Training Set": (
            "a. IDRiD_Disease Grading_Training Labels.csv",
            {1: (3, 2), 102: (2, 1), 366: (2, 2), 4: (0, 0)},
        ),
        "b. Testing Set": ("b. IDRiD_Disease Grading_Testing Labels.csv", {1: (4, 0), 2: (1, 0)}),
    }
    (grading / "2. Groundtruths").mkdir(parents=True)
    for part, (table, cases) in parts.items():
        lines = [f"IDRiD_{n:03d},{g},{r},,,\n" for n, (g, r) in cases.items()]
        head = "Image name,Retinopathy grade,Risk of macular edema ,,,\n"
        (grading / "2. Groundtruths" / table).write_text(head + "".join(lines))
        for n in cases:
            picture(grading / "1. Original Images" / part / f"IDRiD_{n:03d}.jpg", n + len(cases), (28, 42, 3))
    for part, numbers in (("a. Training Set", (1, 2, 4)), ("b. Testing Set", (55,))):
        for n in numbers:
            picture(drawn / "1. Original Images" / part / f"IDRiD_{n:02d}.jpg", 500 + n, (28, 42, 3))
            truth = drawn / "2. All Segmentation Groundtruths" / part
            for folder, end in (("1. Microaneurysms", "MA"), ("3. Hard Exudates", "EX"), ("5. Optic Disc", "OD")):
                mask(truth / folder / f"IDRiD_{n:02d}_{end}.tif", (28, 42))
            if n == 1:
                mask(truth / "4. Soft Exudates" / "IDRiD_01_SE.tif", (28, 42), (slice(9, 10), slice(20, 21)))
    return root
