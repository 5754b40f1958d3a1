"""ADNI's table of subjects, and `volume-folder`: generated tables and volumes, and a genuine T1 template."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plugins.volumes_made import head, prepared, save, save_4d, spine

from cfbench.errors import DataError
from cfbench_volumes import adni, folder
from cfbench_volumes.adni_cases import adni as adni_dataset
from cfbench_volumes.adni_cases import list_visits
from cfbench_volumes.folder_cases import list_items, volume_folder

SMALL = {"size": (20, 24, 20), "spacing": 8.0}


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


# --- ADNI


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    """A table as people make it: two phases, a subject of both, repeated visits, other diagnoses."""
    root = tmp_path / "data"
    rows = [
        ("002_S_0295", "CN", "ADNI1", "2006-04-18", "a0.nii.gz"),
        ("002_S_0295", "CN", "ADNI1", "2006-11-02", "a1.nii.gz"),
        ("007", "AD", "ADNI1", "2006-05-01", "b0.nii.gz"),
        ("003_S_0907", "AD", "ADNI1", "2006-09-11", "c0.nii.gz"),
        ("002_S_0295", "CN", "ADNI2", "2011-06-02", "a2.nii.gz"),
        ("009_S_4324", "CN", "ADNI 2", "11/21/2011", "d1.nii.gz"),
        ("009_S_4324", "CN", "ADNI-2", "10/1/2011", "d0.nii.gz"),
        ("007_S_4568", "AD", "ADNI2", "2012-01-05", "e0.nii.gz"),
        ("010_S_4135", "MCI", "ADNI2", "2012-01-05", "f0.nii.gz"),
        ("011_S_9999", "CN", "ADNI3", "2018-01-05", "g0.nii.gz"),
    ]
    for seed, row in enumerate(rows):
        save(root / row[4], head((50, 60, 50), seed), (3, 3, 3), ("LPS", "RAS", "PIR")[seed % 3])
    write(root / "subjects.csv", "subject,group,phase,date,file", *(",".join(row) for row in rows))
    return root


def test_the_later_phase_tests_without_the_subjects_of_the_earlier_one(subjects: Path, tmp_path: Path) -> None:
    with prepared(adni_dataset(adni.Params(root=str(subjects), valid=0.0, **SMALL)), tmp_path) as data:
        train, test = data.cases("train"), data.cases("test")
        batch = train.batch(range(len(train)))
    assert train.ids == ("a0", "b0", "c0"), "first visits"
    assert train.patients == ("002_S_0295", "007", "003_S_0907"), "ids stay as they are written"
    assert test.ids == ("d0", "e0"), "an earlier date counts, not an earlier row; 002_S_0295 has been seen before"
    assert train.labels["diagnosis"].tolist() == [0, 1, 1]
    assert batch.x is not None
    assert batch.x.shape == (3, 1, 20, 24, 20)
    assert (batch.masks["brain"][:, 0, 10, 12, 10]).all()
    assert not batch.masks["brain"][:, 0, 0].any()


def test_all_visits_and_other_groups_when_asked_for(subjects: Path) -> None:
    params = adni.Params(root=str(subjects), visits="all", groups=("CN", "MCI", "AD"), valid=0.0)
    found = {visit.name: (visit.split, visit.diagnosis) for visit in list_visits(params).sources}
    assert found["a1"] == ("train", 0)
    assert found["f0"] == ("test", 1)
    assert found["e0"] == ("test", 2)
    assert "a2" not in found
    assert "g0" not in found
    info = adni.describe(params)
    assert info.labels["diagnosis"] == (0, 1, 2)
    assert "Alzheimer" in info.prompts["diagnosis"][2]
    drawn = list_visits(adni.Params(root=str(subjects), visits="all", split="patients")).sources
    splits = {p: {v.split for v in drawn if v.patient == p} for p in {v.patient for v in drawn}}
    assert len(splits) == 6
    assert all(len(found) == 1 for found in splits.values())


def test_orientation_and_spacing_of_a_head(tmp_path: Path) -> None:
    """Brighter to the right, darker to the front: so is every slice, left to right and top to bottom."""
    found = []
    for axes in ("RAS", "LPS", "SAR"):
        root = tmp_path / axes
        save(root / "a.nii.gz", head((60, 72, 40)), (3.0, 3.0, 4.0), axes)
        write(root / "subjects.csv", "subject,group,file", "1,CN,a.nii.gz")
        params = adni.Params(root=str(root), split="patients", valid=0.0, test=0.0)
        with prepared(adni_dataset(params), root) as data:
            found.append(data.cases("train").batch([0]))
    assert all((batch.x == found[0].x).all() for batch in found[1:])
    assert found[0].x is not None
    picture = found[0].x[0, 0, 40].numpy()
    assert picture[30:66, 15:30].mean() > picture[30:66, 50:65].mean() + 0.1
    assert picture[60:75, 25:55].mean() > picture[20:35, 25:55].mean() + 0.05
    brain = found[0].masks["brain"][0, 0].numpy()
    extent = [np.ptp(np.flatnonzero(brain.any(axis=axes))) * 2 for axes in ((1, 2), (0, 2), (0, 1))]
    assert extent[0] == pytest.approx(0.9 * 40 * 4, abs=8)


def test_tables_as_the_archive_exports_them(tmp_path: Path) -> None:
    """Image ids instead of files, other names of columns, month/day/year."""
    name = "ADNI_002_S_0295_MR_MPR____N3__Scaled_Br_20070319121214158_S13407_I45107.nii"
    save(tmp_path / "002_S_0295" / "MPR" / name, head())
    save(tmp_path / "I45108" / "brain.nii.gz", head())
    write(
        tmp_path / "subjects.csv",
        '"Image Data ID","Subject","Group","Sex","Age","Visit","Modality","Description","Acq Date"',
        '"I45107","002_S_0295","CN","M","84","sc","MRI","MPR","4/18/2006"',
        '"45108","002_S_0413","AD","F","76","sc","MRI","MPR","5/02/2006"',
        '"I45109","002_S_0414","AD","F","76","sc","MRI","MPR","5/02/2006"',
    )
    listing = list_visits(adni.Params(root=str(tmp_path), split="patients"))
    assert {visit.path.name for visit in listing.sources} == {name, "brain.nii.gz"}
    assert "row 4: 0 volumes" in listing.left_out[0].why
    with pytest.raises(DataError, match="phase or Phase"):
        list_visits(adni.Params(root=str(tmp_path)))


def test_columns_that_are_not_there(subjects: Path) -> None:
    with pytest.raises(DataError, match="no column DX9"):
        list_visits(adni.Params(root=str(subjects), group="DX9"))
    write(subjects / "other.csv", "subject,group,phase", "1,CN,ADNI1")
    with pytest.raises(DataError, match="neither a column of files"):
        list_visits(adni.Params(root=str(subjects), table="other.csv"))
    write(subjects / "other.csv", "who,group,phase,file", "1,CN,ADNI1,a0.nii.gz")
    with pytest.raises(DataError, match="no column subject or Subject"):
        list_visits(adni.Params(root=str(subjects), table="other.csv"))
    assert len(list_visits(adni.Params(root=str(subjects), table="other.csv", subject="who")).sources) == 1


def test_bad_rows_and_files_leave_out_their_visit(subjects: Path, tmp_path: Path) -> None:
    table = subjects / "subjects.csv"
    table.write_text(
        table.read_text()
        + "x,CN,ADNI2,2012-01-05,nowhere.nii.gz\n"
        + "y,CN,ADNI2,2012-01-05,e0.nii.gz\n"
        + "z,CN,ADNI2,2012-01-05,/etc/passwd\n"
        + "007_S_4568,AD,ADNI2,2012-01-05,e0.nii.gz\n"
    )
    voxels = head((50, 60, 50)).astype(np.float32)
    voxels[3, 3, 3] = np.nan
    save(subjects / "b0.nii.gz", voxels, (4, 4, 4))
    save(subjects / "c0.nii.gz", np.zeros((5, 5, 5), np.int16))
    with prepared(adni_dataset(adni.Params(root=str(subjects), valid=0.0, **SMALL)), tmp_path) as data:
        assert data.cases("train").ids == ("a0",)
        assert data.cases("test").ids == ("d0",), "a volume that two subjects claim is nobody's"
        report = "\n".join(data.report())
    for said in (
        "row 12: there is no file",
        "the volume e0 is also in subjects.csv, row 9",
        "is not below",
        f"subjects.csv, row 4: {subjects / 'b0.nii.gz'}: 1 voxels are no finite numbers",
        "subjects.csv, row 5: c0.nii.gz: percentiles 0 and 99.5 of its voxels are both 0",
    ):
        assert said in report, said
    again = tmp_path / "again"
    again.mkdir()
    with prepared(adni_dataset(adni.Params(root=str(subjects), valid=0.0, nan="lowest", **SMALL)), again) as data:
        assert data.cases("train").ids == ("a0", "b0")


def test_what_adni_may_not_be_shown_and_what_it_needs(subjects: Path) -> None:
    info = adni.describe(adni.Params(root=str(subjects)))
    assert not info.redistributable
    assert info.space == (80, 96, 80)
    assert not info.missing
    assert "no subjects.csv" in adni.describe(adni.Params(root=str(subjects.parent))).missing
    for wrong in (
        adni.Params(size=(5,)),
        adni.Params(groups=("CN",)),
        adni.Params(groups=("CN", "CN")),
        adni.Params(spacing=0.0),
    ):
        with pytest.raises(DataError, match="expected"):
            adni.describe(wrong)


def test_a_genuine_template_is_a_head(test_data: Path, tmp_path: Path) -> None:
    """Colin27 in MNI space, skull-stripped, 1 mm: the middle 160 x 192 x 160 at half its size, as in the paper."""
    shutil.copy(test_data / "nifti/t1_templates/ch2.nii.gz", tmp_path / "ch2.nii.gz")
    write(tmp_path / "subjects.csv", "subject,group,phase,file", "007,CN,ADNI1,ch2.nii.gz")
    with prepared(adni_dataset(adni.Params(root=str(tmp_path), valid=0.0)), tmp_path) as data:
        cases = data.cases("train")
        batch = cases.batch([0])
    assert cases.patients == ("007",)
    assert batch.x is not None
    volume, brain = batch.x[0, 0].numpy(), batch.masks["brain"][0, 0].numpy()
    assert volume.shape == (80, 96, 80)
    assert 1.2e6 < brain.sum() * 8 < 2.6e6, "cubic millimetres"
    left, right = brain[:, :, 40:].sum(), brain[:, :, :40].sum()
    assert abs(left - right) / brain.sum() < 0.05
    widths = brain.any(axis=0).sum(axis=1) * 2
    assert 110 < widths.max() < 170
    ventricles = volume[44:50, 40:60, 34:47]
    assert ventricles.min() < 0.45 * volume[brain].mean(), "dark ventricles in the middle"


# --- volume-folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    rows = []
    for number in range(8):
        image, mask = spine((20,), (1.0, 1.0, 1.0), number)
        mask[:, :45] = 0  # the body alone: 30 x 30 x 18 mm
        axes, suffix = (("LPS", ".nii.gz"), ("RAS", ".mha"))[number % 2]
        save(root / f"images/{number:03d}{suffix}", image, (1, 1, 1), axes)
        save(root / f"masks/{number:03d}.nii.gz", mask, (1, 1, 1), "PIR")
        mask_cell = f"masks/{number:03d}.nii.gz" if number else ""
        split = ("train", "valid", "test", "train")[number // 2]
        words = '"a, vertebra"'
        rows.append(
            f"images/{number:03d}{suffix},{number:03d},{number % 3},{number / 4},00{number // 2},"
            f"{split},{mask_cell},{words}"
        )
    write(root / "cases.csv", "file,id,grade,height,patient,split,bone,note", *rows)
    return root


OWN = {
    "id": "id",
    "labels": ("grade",),
    "measurements": ("height",),
    "patient": "patient",
    "split": "split",
    "masks": ("bone",),
    "text": "note",
}


def test_files_and_a_table_are_enough(files: Path, tmp_path: Path) -> None:
    params = folder.Params(root=str(files), size=(30, 40, 20), spacing=(1.0, 2.0, 3.0), window=(0.0, 400.0), **OWN)
    info = folder.describe(params)
    assert info.space == (30, 40, 20)
    assert info.labels == {"grade": (0, 1, 2), "height": ()}
    assert info.patients
    assert not info.redistributable
    with prepared(volume_folder(params), tmp_path) as data:
        train = data.cases("train")
        batch = train.batch(range(len(train)))
        assert data.cases("valid").ids == ("002", "003")
    assert train.ids == ("000", "001", "006", "007")
    assert train.patients == ("000", "000", "003", "003")
    assert train.labels["height"].tolist() == [0, 0.25, 1.5, 1.75]
    assert batch.text == ("a, vertebra",) * 4
    assert batch.x is not None
    assert batch.x.shape == (4, 1, 30, 40, 20)
    masks = batch.masks["bone"][:, 0].numpy()
    assert not masks[0].any(), "a case without a mask has none"
    assert masks[1].sum() * 6 == pytest.approx(18 * 30 * 30, rel=0.1), "cubic millimetres"
    assert batch.x[1, 0].numpy()[masks[1]].mean() > 0.75


@pytest.mark.parametrize(("view", "shape"), [("sagittal", (32, 48)), ("axial", (32, 48)), ("coronal", (32, 48))])
def test_slices_of_each_plane_through_the_mask(files: Path, tmp_path: Path, view: str, shape: tuple[int, int]) -> None:
    settings = OWN | {"split": ""}
    params = folder.Params(
        root=str(files), view=view, size=shape, spacing=(1.0,), centre="mask", valid=0.0, test=0.0, **settings
    )  # type: ignore[arg-type]
    with prepared(volume_folder(params), tmp_path) as data:
        cases = data.cases("train")
        batch = cases.batch(range(len(cases)))
        assert "row 2: the mask 'bone' is empty or not named" in "\n".join(data.report())
    assert batch.x is not None
    assert batch.x.shape == (7, 1, *shape)
    middle = {"sagittal": 18, "axial": 30, "coronal": 18}[view]
    assert (np.abs(batch.masks["bone"][:, 0].any(2).sum(1).numpy() - middle) <= 1).all()


def test_slices_that_the_table_numbers(files: Path, tmp_path: Path) -> None:
    write(
        files / "slices.csv",
        "file,z,label",
        "images/000.nii.gz,20,0",
        "images/000.nii.gz,49,1",
        "images/000.nii.gz,50,1",
    )
    params = folder.Params(root=str(files), table="slices.csv", slice="z", view="axial", valid=0.0, test=0.0)
    with prepared(volume_folder(params), tmp_path) as data:
        assert data.cases("train").ids == ("images/000.nii.gz_20", "images/000.nii.gz_49")
        assert "row 4: slice 50 of 50 (axial)" in "\n".join(data.report())


def test_names_of_classes_become_values_and_prompts(files: Path) -> None:
    write(
        files / "named.csv",
        "file,label",
        "images/000.nii.gz,old_fracture",
        "images/001.mha,healthy",
        "images/002.nii.gz,?",
    )
    params = folder.Params(root=str(files), table="named.csv", classes=("healthy", "old_fracture"))
    info = folder.describe(params)
    assert info.labels == {"label": (0, 1)}
    assert info.prompts == {"label": {0: "healthy", 1: "old fracture"}}
    listing = list_items(params)
    assert [item.labels["label"] for item in listing.sources] == [1, 0]
    assert "row 4: column 'label' holds '?'" in listing.left_out[0].why
    with pytest.raises(DataError, match="list them in `classes`"):
        folder.describe(folder.Params(root=str(files), table="named.csv"))


def test_a_patient_in_two_splits_is_left_out(files: Path) -> None:
    table = files / "cases.csv"
    table.write_text(table.read_text().replace(",001,valid,", ",001,test,", 1))
    listing = list_items(folder.Params(root=str(files), **OWN))
    assert {item.name for item in listing.left_out} == {"002", "003"}
    assert "patient '001' is in split valid, but in test by cases.csv, row 4" in listing.left_out[0].why
    assert len(listing.sources) == 6


def test_rows_that_are_there_twice(files: Path) -> None:
    write(
        files / "twice.csv",
        "file,label",
        *["images/000.nii.gz,1"] * 2,
        "images/001.mha,1",
        "images/001.mha,2",
        ",3",
        "../x.nii,1",
    )
    listing = list_items(folder.Params(root=str(files), table="twice.csv"))
    assert [item.name for item in listing.sources] == ["images/000.nii.gz"]
    reasons = "\n".join(item.why for item in listing.left_out)
    for said in ("'images/001.mha' is also in twice.csv, row 4, with other values", "is empty", "not below"):
        assert said in reasons


def test_what_is_wrong_with_a_volume_names_its_row(files: Path, tmp_path: Path) -> None:
    voxels = head().astype(np.float32)
    voxels[3, 3, 3] = np.nan
    save(files / "images/nan.nii.gz", voxels)
    whole = (files / "images/000.nii.gz").read_bytes()
    (files / "images/cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    names = ("nan.nii.gz", "cut.nii.gz", "gone.nii.gz", "000.nii.gz")
    write(files / "bad.csv", "file,label", *(f"images/{name},{n}" for n, name in enumerate(names)))
    params = folder.Params(root=str(files), table="bad.csv", valid=0.0, test=0.0)
    with prepared(volume_folder(params), tmp_path) as data:
        assert data.cases("train").ids == ("images/000.nii.gz",)
        report = "\n".join(data.report())
    for row, name, words in ((2, "nan", "no finite numbers"), (3, "cut", "cut short"), (4, "gone", "no such file")):
        (line,) = (line for line in report.splitlines() if f"bad.csv, row {row}:" in line)
        assert f"{name}.nii.gz" in line
        assert words in line
        assert line.count(f"row {row}") == 1
    strict = tmp_path / "strict"
    strict.mkdir()
    with (
        pytest.raises(DataError, match=r"bad\.csv, row 2: .*nan\.nii\.gz.*`strict: false`"),
        prepared(volume_folder(replace(params, strict=True)), strict),
    ):
        pass


def test_four_dimensions(files: Path, tmp_path: Path) -> None:
    save_4d(files / "images/many.nii.gz", np.stack([head(), head() * 2], axis=-1))
    write(files / "many.csv", "file,label", "images/many.nii.gz,1", "images/000.nii.gz,0")
    listed = {}
    for channel in (-1, 1):
        made = tmp_path / str(channel)
        made.mkdir()
        params = folder.Params(root=str(files), table="many.csv", channel=channel, valid=0.0, test=0.0)
        with prepared(volume_folder(params), made) as data:
            listed[channel] = (data.cases("train").ids, "\n".join(data.report()))
    assert listed[-1][0] == ("images/000.nii.gz",)
    assert "many.csv, row 2" in listed[-1][1]
    assert listed[1][0] == ("images/many.nii.gz",)
    assert "expected 4D" in listed[1][1]


def test_impossible_parameters(files: Path) -> None:
    root = str(files)
    for wrong, message in (
        (folder.Params(root=root, size=(3, 3)), "one number above 0, or 3"),
        (folder.Params(root=root, view="axial", spacing=(0.0,)), "above 0, or 2"),
        (folder.Params(root=root, window=(3.0, 1.0)), "window"),
        (folder.Params(root=root, percentiles=(99.0,)), "percentiles"),
        (folder.Params(root=root, centre="mask", labels=("grade",)), "column of masks"),
        (folder.Params(root=root, labels=("nothing",)), "no column 'nothing'"),
        (folder.Params(root=root, labels=("patient",), classes=("a",)), ""),
    ):
        if message:
            with pytest.raises(DataError, match=message):
                folder.describe(wrong)
    assert "no cases.csv" in folder.describe(folder.Params(root=str(files / "images"))).missing
