"""VerSe: folders as the set has them, generated; and the genuine mask and centroids of one of its scans."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from plugins.volumes_made import body_centres, prepared, save, save_centroids, save_scan, spine

from cfbench.errors import DataError
from cfbench_volumes.geometry import SAGITTAL, labels_on, turned
from cfbench_volumes.verse import LEVELS, Params, describe
from cfbench_volumes.verse_cases import list_scans, read_centroids, read_grades, scan_key, verse
from cfbench_volumes.volume import read_labels, read_volume

#: T12, L1, L2.
LEVELS_MADE = (19, 20, 21)


def save_grades(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write the spreadsheet of Löffler et al. 2020, whose ids are numbers."""
    book = openpyxl.Workbook()
    columns = ["verse_ID", "subject_ID", "N_Fx", *(f"{LEVELS[n]}_fx-g" for n in sorted(LEVELS) if n > 7)]
    book.active.append(columns)
    for row in rows:
        book.active.append([row.get(column) for column in columns])
    book.save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six scans of five subjects in the folders of both editions, with grades."""
    folder = tmp_path / "data"
    made = {
        ("dataset-verse19training", "sub-verse004"): "LPS",
        ("dataset-verse19training", "sub-verse401_split-verse253"): "RAS",
        ("dataset-verse19validation", "sub-verse007"): "PIR",
        ("dataset-verse19test", "sub-verse012"): "LAS",
        ("dataset-verse20training", "sub-gl003_dir-ax"): "LPS",
        ("dataset-verse20test", "sub-verse004"): "LPS",
    }
    for seed, ((edition, name), axes) in enumerate(made.items()):
        save_scan(folder / edition, name, LEVELS_MADE, axes, seed=seed)
    save_grades(
        folder / "verse2019_fracture_grading_info.xlsx",
        [
            {"verse_ID": 4, "subject_ID": 4, "N_Fx": 1, "T12_fx-g": 0, "L1_fx-g": 2, "L2_fx-g": 0},
            {"verse_ID": 253, "subject_ID": 401, "N_Fx": 1, "T12_fx-g": 3, "L1_fx-g": None, "L2_fx-g": 1},
            {"verse_ID": 7, "subject_ID": 7, "N_Fx": 0, "T12_fx-g": 0, "L1_fx-g": 0, "L2_fx-g": 0},
            {"verse_ID": 12, "subject_ID": 12, "N_Fx": 0, "T12_fx-g": 0, "L1_fx-g": 0, "L2_fx-g": 7},
        ],
    )
    return folder


def test_every_vertebra_becomes_a_patch_with_its_grade_level_and_mask(root: Path, tmp_path: Path) -> None:
    with prepared(verse(Params(root=str(root), split="patients", valid=0.0, test=0.0)), tmp_path) as data:
        cases = data.cases("train")
        batch = cases.batch(range(len(cases)))
    assert len(cases) == 14  # five scans of three vertebrae, less the one whose grade is 7
    graded = dict(zip(cases.ids, batch.labels["grade"].tolist(), strict=True))
    assert graded["sub-verse004_L1"] == 2
    assert graded["sub-verse401_split-verse253_T12"] == 3
    assert math.isnan(graded["sub-verse401_split-verse253_L1"])
    assert math.isnan(graded["sub-gl003_dir-ax_L1"])
    levels = dict(zip(cases.ids, batch.labels["level"].tolist(), strict=True))
    assert levels["sub-verse007_T12"] == 19
    patients = dict(zip(cases.ids, cases.patients, strict=True))
    assert patients["sub-verse401_split-verse253_L1"] == "sub-verse401"
    assert batch.x is not None
    assert batch.x.shape == (14, 1, 96, 96)
    mask = batch.masks["vertebra"][:, 0].numpy()
    assert mask[:, 48, 48].all(), "each centroid lies inside its own mask"
    rows = mask[:, :, 40:56].any(axis=2).sum(axis=1)
    assert (np.abs(rows - 18) <= 1).all(), "a body is 18 mm high, and a pixel is a millimetre"
    inside = batch.x[:, 0].numpy()
    assert (inside[mask].reshape(-1).mean() - (340 + 500) / 1800) < 0.01


def test_patches_do_not_depend_on_how_the_scan_is_stored(tmp_path: Path) -> None:
    found = []
    for axes in ("RAS", "LPS", "PIR"):
        save_scan(tmp_path / axes / "training", "sub-verse004", LEVELS_MADE, axes, (1.0, 0.8, 1.6))
        params = Params(root=str(tmp_path / axes), valid=0.0, test=0.0)
        (tmp_path / f"made-{axes}").mkdir()
        with prepared(verse(params), tmp_path / f"made-{axes}") as data:
            cases = data.cases("train")
            found.append(cases.batch(range(3)))
    for batch in found[1:]:
        assert (batch.x == found[0].x).all()
        assert (batch.masks["vertebra"] == found[0].masks["vertebra"]).all()
    assert found[0].masks["vertebra"].flatten(1).sum(1).min() > 300


def test_the_process_is_behind_the_body(tmp_path: Path) -> None:
    save_scan(tmp_path / "training", "sub-verse004", LEVELS_MADE)
    with prepared(verse(Params(root=str(tmp_path), valid=0.0, size=96)), tmp_path) as data:
        mask = data.cases("train").batch([1]).masks["vertebra"][0, 0].numpy()
    columns = np.flatnonzero(mask[48])
    assert columns.min() == pytest.approx(48 - 15, abs=1)
    assert columns.max() > 48 + 40, "the spinous process, to the right"


def test_spacing_and_size_are_in_millimetres(tmp_path: Path) -> None:
    save_scan(tmp_path / "training", "sub-verse004", LEVELS_MADE, "LPS", (1.0, 0.8, 1.6))
    heights = {}
    for mm in (0.5, 1.0, 2.0):
        folder = tmp_path / str(mm)
        folder.mkdir()
        with prepared(verse(Params(root=str(tmp_path), spacing=mm, size=64, valid=0.0)), folder) as data:
            mask = data.cases("train").batch([1]).masks["vertebra"][0, 0].numpy()
        heights[mm] = mask[:, 30:34].any(axis=1).sum() * mm
    assert all(abs(height - 17.6) <= mm for mm, height in heights.items()), heights


def test_the_official_split_keeps_a_subject_in_its_most_held_out_folder(root: Path) -> None:
    scans = {scan.name: scan for scan in list_scans(Params(root=str(root), valid=0.0)).sources}
    assert len(scans) == 5, "sub-verse004 is in both editions and counts once"
    assert "verse20test" in str(scans["sub-verse004"].ct)
    assert {name: scan.split for name, scan in scans.items()} == {
        "sub-verse004": "test",
        "sub-verse007": "valid",
        "sub-verse012": "test",
        "sub-verse401_split-verse253": "train",
        "sub-gl003_dir-ax": "train",
    }
    in_2019 = {scan.name: scan.split for scan in list_scans(Params(root=str(root), years="2019")).sources}
    assert in_2019["sub-verse004"] == "train"
    assert "sub-gl003_dir-ax" not in in_2019
    assert {s.name for s in list_scans(Params(root=str(root), years="2020")).sources} == {
        "sub-gl003_dir-ax",
        "sub-verse004",
    }


def test_scans_of_one_subject_in_two_folders_are_in_one_split(tmp_path: Path) -> None:
    save_scan(tmp_path / "training", "sub-verse401_split-verse253", (20,))
    save_scan(tmp_path / "test", "sub-verse401_split-verse254", (20,))
    assert {s.split for s in list_scans(Params(root=str(tmp_path))).sources} == {"test"}
    drawn = {s.split for s in list_scans(Params(root=str(tmp_path), split="patients")).sources}
    assert len(drawn) == 1


def test_folders_that_say_no_split_need_the_other_one(tmp_path: Path) -> None:
    save_scan(tmp_path / "somewhere", "sub-verse004", (20,))
    with pytest.raises(DataError, match="split: patients"):
        list_scans(Params(root=str(tmp_path)))
    assert len(list_scans(Params(root=str(tmp_path), split="patients")).sources) == 1


def test_cervical_levels_are_taken_when_asked_for(tmp_path: Path) -> None:
    save_scan(tmp_path / "training", "sub-verse004", (7, 8))
    for cervical, names in ((False, {"sub-verse004_T1"}), (True, {"sub-verse004_C7", "sub-verse004_T1"})):
        folder = tmp_path / str(cervical)
        folder.mkdir()
        with prepared(verse(Params(root=str(tmp_path), cervical=cervical, valid=0.0)), folder) as data:
            assert set(data.cases("train").ids) == names
        levels = describe(Params(root=str(tmp_path), cervical=cervical)).labels["level"]
        assert (7.0 in levels) is cervical
        assert 28.0 in levels


def test_only_graded_vertebrae_when_asked_for(root: Path, tmp_path: Path) -> None:
    with prepared(verse(Params(root=str(root), split="patients", valid=0.0, test=0.0, graded=True)), tmp_path) as data:
        cases = data.cases("train")
        assert len(cases) == 10
        assert not cases.labels["grade"].isnan().any()


def test_counts_stand_beside_the_papers(root: Path, tmp_path: Path) -> None:
    with prepared(verse(Params(root=str(root), split="patients", valid=0.0, test=0.0)), tmp_path) as data:
        report = "\n".join(data.report())
    assert "0: 4,124 / 7" in report
    assert "2: 102 / 1" in report
    assert "not the same" in report
    assert "sub-verse012_L2: verse2019_fracture_grading_info.xlsx, row 5: column 'L2_fx-g' holds '7'" in report


# --- grades


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("sub-verse004", "4"),
        ("sub-verse401_split-verse253", "253"),
        ("sub-gl003_dir-ax", "gl003"),
        ("4", "4"),
        ("007", "7"),
        ("verse253", "253"),
    ],
)
def test_scans_and_rows_meet_by_number(name: str, key: str) -> None:
    assert scan_key(name) == key


def test_rows_that_contradict_each_other_grade_nothing(tmp_path: Path) -> None:
    table = tmp_path / "fracture_grades.csv"
    table.write_text("verse_ID,L1_fx-g\n4,0\n004,1\n5,1\n5,2\n6,3\n6,3\n")
    grades, left = read_grades([table])
    assert grades["6"] == {"L1": 3.0}
    assert all(isinstance(value, str) and "row 5" in value for value in grades["5"].values())
    assert [item.name for item in left] == ["scan 5"]


def test_a_table_without_grades_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "fracture_grades.csv"
    table.write_text("verse_ID,L1\n4,0\n")
    with pytest.raises(DataError, match="L1_fx-g"):
        read_grades([table])
    table.write_text("scan,L1_fx-g\n4,0\n")
    with pytest.raises(DataError, match="verse_ID"):
        read_grades([table])


# --- centroids


def test_a_centroid_lands_inside_its_mask_however_the_scan_is_stored(tmp_path: Path) -> None:
    _, mask = spine(LEVELS_MADE, (1.0, 0.7, 2.0))
    for told in ("PIR", "LPS", "RAS", "SAL"):
        centroids = save_centroids(tmp_path / f"{told}_ctd.json", body_centres(mask), mask.shape, told)
        for axes in ("RAS", "PIR", "LPS"):
            labels = read_labels(save(tmp_path / f"{axes}.nii.gz", mask, (1.0, 0.7, 2.0), axes))
            found = read_centroids(centroids, turned(labels, SAGITTAL))
            assert [label for label, _ in found] == list(LEVELS_MADE)
            for label, place in found:
                assert turned(labels, SAGITTAL).voxels[tuple(np.rint(place).astype(int))] == label


def test_a_misplaced_centroid_leaves_out_its_vertebra_alone(tmp_path: Path) -> None:
    _, mask = save_scan(tmp_path / "training", "sub-verse004", LEVELS_MADE)
    centres = body_centres(mask)
    centres[20], centres[21] = centres[21], np.array([500.0, 0.0, 0.0])
    save_centroids(tmp_path / "training/derivatives/sub-verse004/sub-verse004_seg-subreg_ctd.json", centres, mask.shape)
    with prepared(verse(Params(root=str(tmp_path), valid=0.0)), tmp_path) as data:
        assert data.cases("train").ids == ("sub-verse004_T12",)
        report = "\n".join(data.report())
    assert "the centroid of L1 lies in L2 of the mask" in report
    assert "the centroid of L2 lies outside the scan" in report


def test_strictness_fails_the_whole(tmp_path: Path) -> None:
    _, mask = save_scan(tmp_path / "training", "sub-verse004", LEVELS_MADE)
    centres = body_centres(mask)
    centres[20] = centres[21]
    save_centroids(tmp_path / "training/derivatives/sub-verse004/sub-verse004_seg-subreg_ctd.json", centres, mask.shape)
    with (
        pytest.raises(DataError, match="centroid of L1"),
        prepared(verse(Params(root=str(tmp_path), valid=0.0, strict=True)), tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as JSON"),
        ("{}", "direction"),
        ('[{"label": 20, "X": 1, "Y": 2, "Z": 3}]', "direction"),
        ('[{"direction": ["P", "I", "R"]}, {"label": 20, "X": 1, "Y": 2}]', "entry 2"),
        ('[{"direction": ["P", "I", "I"]}, {"label": 20, "X": 1, "Y": 2, "Z": 3}]', "one of R or L"),
        (
            json.dumps([{"direction": ["P", "I", "R"]}, *[{"label": 20, "X": 1, "Y": 2, "Z": 3}] * 2]),
            "2 centroids",
        ),
    ],
)
def test_centroid_files_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a_ctd.json").write_text(content)
    volume = turned(read_volume(save(tmp_path / "a.nii.gz", np.zeros((5, 5, 5), np.int16))), SAGITTAL)
    with pytest.raises(DataError, match=message):
        read_centroids(tmp_path / "a_ctd.json", volume)


def test_vertebrae_without_a_position_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a_ctd.json").write_text('[{"direction": ["R", "A", "S"]}, {"label": 20, "X": NaN, "Y": 2, "Z": 3}]')
    volume = read_volume(save(tmp_path / "a.nii.gz", np.zeros((5, 5, 5), np.int16)))
    assert read_centroids(tmp_path / "a_ctd.json", volume) == []


# --- files


def test_one_bad_scan_does_not_lose_the_rest(root: Path, tmp_path: Path) -> None:
    ct = root / "dataset-verse19training/rawdata/sub-verse401/sub-verse401_split-verse253_ct.nii.gz"
    ct.write_bytes(ct.read_bytes()[:5000])
    (root / "dataset-verse19validation/derivatives/sub-verse007/sub-verse007_seg-vert_msk.nii.gz").unlink()
    with prepared(verse(Params(root=str(root), split="patients", valid=0.0, test=0.0)), tmp_path) as data:
        assert len(data.cases("train")) == 8
        report = "\n".join(data.report())
    assert "sub-verse401_split-verse253_ct.nii.gz cannot be read" in report
    assert "sub-verse007_seg-vert_msk" in report


def test_masks_of_another_shape_are_refused(root: Path, tmp_path: Path) -> None:
    folder = root / "dataset-verse19test/derivatives/sub-verse012"
    save(folder / "sub-verse012_seg-vert_msk.nii.gz", np.ones((3, 4, 5), np.uint8))
    with prepared(verse(Params(root=str(root), split="patients", valid=0.0, test=0.0)), tmp_path) as data:
        assert "sub-verse012_seg-vert_msk.nii.gz: the mask has shape" in "\n".join(data.report())


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no scan"):
        list_scans(Params(root=str(tmp_path)))
    assert "root" in describe(Params()).missing
    assert "no folder" in describe(Params(root=str(tmp_path / "nowhere"))).missing
    for wrong in (Params(window=(5.0, 1.0)), Params(window=(1.0,)), Params(size=0), Params(spacing=0.0)):
        with pytest.raises(DataError, match="expected"):
            describe(wrong)


def test_the_fingerprint_changes_with_files_and_parameters(root: Path) -> None:
    base = describe(Params(root=str(root))).fingerprint
    assert base == describe(Params(root=str(root))).fingerprint
    assert base != describe(Params(root=str(root), spacing=0.9)).fingerprint
    (root / "dataset-verse19training/rawdata/sub-verse004/sub-verse004_ct.nii.gz").unlink()
    assert base != describe(Params(root=str(root))).fingerprint


# --- the genuine scan


def test_genuine_centroids_lie_inside_their_vertebrae(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "nifti/verse004"
    labels = read_labels(folder / "sub-verse004_seg-vert_msk.nii.gz")
    for axes in (("P", "I", "R"), ("R", "A", "S"), ("L", "P", "S"), SAGITTAL):
        volume = turned(labels, axes)
        found = read_centroids(folder / "sub-verse004_seg-subreg_ctd.json", volume)
        assert [label for label, _ in found] == list(range(16, 25))
        for label, place in found:
            assert volume.voxels[tuple(np.rint(place).astype(int))] == label


def test_a_genuine_mask_with_its_centroids_becomes_patches(test_data: Path, tmp_path: Path) -> None:
    """The scan is not among the test data: its mask stands in, so that every patch must show its own vertebra."""
    source = test_data / "nifti/verse004"
    labels = read_labels(source / "sub-verse004_seg-vert_msk.nii.gz")
    raw = tmp_path / "training/rawdata/sub-verse004"
    derived = tmp_path / "training/derivatives/sub-verse004"
    raw.mkdir(parents=True)
    derived.mkdir(parents=True)
    shutil.copy(source / "sub-verse004_seg-vert_msk.nii.gz", raw / "sub-verse004_ct.nii.gz")
    for name in ("sub-verse004_seg-vert_msk.nii.gz", "sub-verse004_seg-subreg_ctd.json"):
        shutil.copy(source / name, derived / name)
    with prepared(verse(Params(root=str(tmp_path), window=(0.0, 28.0), valid=0.0)), tmp_path) as data:
        cases = data.cases("train")
        batch = cases.batch(range(len(cases)))
    assert cases.ids == tuple(f"sub-verse004_{LEVELS[n]}" for n in range(16, 25))
    assert batch.x is not None
    for i, label in enumerate(range(16, 25)):
        mask = batch.masks["vertebra"][i, 0].numpy()
        assert mask[48, 48]
        assert np.allclose(batch.x[i, 0].numpy()[mask], label / 28, atol=0.55 / 28 * label)
        neighbours = np.unique(np.rint(batch.x[i, 0].numpy() * 28))
        assert {label - 1, label + 1} & set(neighbours), "neighbours are in the patch"
    assert labels_on(labels, labels, SAGITTAL).voxels.shape == (61, 338, 161)


def test_a_genuine_ct_crop_in_verses_layout(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "nifti/tptbox_vertebra"
    labels = read_labels(source / "sub-ct_seg-vert_label-22_msk.nii.gz")
    centre = np.argwhere(labels.voxels == 22).mean(axis=0)
    raw, derived = tmp_path / "test/rawdata/sub-gl001", tmp_path / "test/derivatives/sub-gl001"
    raw.mkdir(parents=True)
    derived.mkdir(parents=True)
    shutil.copy(source / "sub-ct_label-22_ct.nii.gz", raw / "sub-gl001_ct.nii.gz")
    shutil.copy(source / "sub-ct_seg-vert_label-22_msk.nii.gz", derived / "sub-gl001_seg-vert_msk.nii.gz")
    entry = {"label": 22, **dict(zip("XYZ", centre.tolist(), strict=True))}
    (derived / "sub-gl001_seg-vb_ctd.json").write_text(json.dumps([{"direction": ["P", "I", "R"]}, entry]))
    with prepared(verse(Params(root=str(tmp_path))), tmp_path) as data:
        cases = data.cases("test")
        assert cases.ids == ("sub-gl001_L3",)
        batch = cases.batch([0])
    assert batch.x is not None
    picture, mask = batch.x[0, 0].numpy(), batch.masks["vertebra"][0, 0].numpy()
    assert picture[mask].mean() > picture[~mask & (picture > 0)].mean() + 0.05, (
        "bone is brighter than what is around it"
    )
    assert (picture[:10] == 0).all(), "outside the crop is air"
