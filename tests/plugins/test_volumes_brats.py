"""BraTS in the Decathlon's layout and in its releases'; a genuine case under two conventions and two headers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from plugins.volumes_made import (
    BRATS_AT,
    BRATS_NUMBERS,
    BRATS_SIZE,
    BRATS_SPACING,
    head,
    prepared,
    save,
    save_release,
    save_task01,
    tumour,
)

from cfbench.errors import DataError
from cfbench_volumes.brats import Params, describe
from cfbench_volumes.brats_cases import brats, case_patient, list_patients, monai_held_out

ALL = {"split": "patients", "valid": 0.0, "test": 0.0}


def test_masks_mean_the_same_in_every_release(tmp_path: Path) -> None:
    """The known trap: edema is 1 in the Decathlon's Task01 and 2 in the releases; enhancing tumour 3, 4 and 3."""
    save_task01(tmp_path / "task01", 1)
    save_release(tmp_path / "2021", "BraTS2021_00001", "2021")
    save_release(tmp_path / "2023", "BraTS-GLI-00001-000", "2023")
    found = []
    for release in BRATS_NUMBERS:
        folder = tmp_path / f"made-{release}"
        folder.mkdir()
        with prepared(
            brats(Params(root=str(tmp_path / release), view="volumes", size=32, spacing=4.0, thickness=4.0, **ALL)),
            folder,
        ) as data:
            found.append(data.cases("train").batch([0]))
    for name in ("edema", "enhancing", "tumour"):
        assert found[0].masks[name].any()
        for batch in found[1:]:
            assert (batch.masks[name] == found[0].masks[name]).all(), name
    volume = {name: int(mask.sum()) for name, mask in found[0].masks.items()}
    box = {"tumour": 20**3, "edema": 20**3 - 12**3, "enhancing": 6**3}
    for name, voxels in box.items():
        assert volume[name] * 4**3 == pytest.approx(voxels * 3 * 3 * 2.5, rel=0.35), name


def test_left_stays_left_in_every_orientation(tmp_path: Path) -> None:
    found = []
    for axes, mask_axes in (("LPS", "LPS"), ("RAS", "LPS"), ("PIR", "RAS")):
        root = tmp_path / f"{axes}{mask_axes}"
        save_release(root, "BraTS2021_00001", "2021", axes, mask_axes)
        with prepared(brats(Params(root=str(root), slices="centre", **ALL)), root) as data:
            found.append(data.cases("train").batch([0]))
    for batch in found[1:]:
        assert (batch.x == found[0].x).all()
        assert all((batch.masks[name] == mask).all() for name, mask in found[0].masks.items())
    columns = np.flatnonzero(found[0].masks["edema"][0, 0].any(0))
    rows = np.flatnonzero(found[0].masks["edema"][0, 0].any(1))
    assert columns.mean() < 28, "the tumour is on the patient's right: the left-hand side of the picture"
    assert rows.mean() < 31, "and in front: above"


def test_flair_is_found_by_its_name(tmp_path: Path) -> None:
    pictures = []
    for flair in (0, 2):
        save_task01(tmp_path / str(flair), 1, flair)
        (tmp_path / f"made{flair}").mkdir()
        with prepared(
            brats(Params(root=str(tmp_path / str(flair)), slices="centre", **ALL)), tmp_path / f"made{flair}"
        ) as data:
            pictures.append(data.cases("train").batch([0]).x)
    assert (pictures[0] == pictures[1]).all()
    path = save_task01(tmp_path / "none", 1) / "dataset.json"
    path.write_text(path.read_text().replace('"FLAIR"', '"T2 FLAIR"'))
    with pytest.raises(DataError, match="expected FLAIR once"):
        list_patients(Params(root=str(tmp_path / "none")))


def test_a_list_whose_labels_are_numbered_otherwise_is_not_guessed(tmp_path: Path) -> None:
    renamed = {"0": "background", "1": "necrosis", "2": "edema", "3": "enhancing"}
    save_task01(tmp_path, 1, labels=renamed)
    with pytest.raises(DataError, match="label 1 is 'necrosis'"):
        list_patients(Params(root=str(tmp_path)))
    found = list_patients(Params(root=str(tmp_path), labels="brats")).sources
    assert found[0].convention.edema == (2,)


def test_labels_that_mean_nothing_or_two_things_are_refused(tmp_path: Path) -> None:
    for name, labels in (
        ("BraTS2021_00001", (2, 1, 7)),
        ("BraTS2021_00002", (3, 1, 4)),
        ("BraTS2021_00003", (2, 1, 3)),
    ):
        save_release(tmp_path, name, "2021")
        save(tmp_path / name / f"{name}_seg.nii.gz", tumour(BRATS_SIZE, BRATS_AT, labels), BRATS_SPACING)
    with prepared(brats(Params(root=str(tmp_path), slices="centre", **ALL)), tmp_path) as data:
        assert data.cases("train").patients == ("BraTS2021_00003",), "renumbered 4 to 3: still the enhancing tumour"
        report = "\n".join(data.report())
    assert "it has labels [0, 1, 2, 7]" in report
    assert "labels 3 and 4" in report


def test_the_resection_cavity_of_2024_is_no_tumour(tmp_path: Path) -> None:
    save_release(tmp_path, "BraTS-GLI-00001-000", "2023")
    mask = tumour(BRATS_SIZE, BRATS_AT, BRATS_NUMBERS["2023"])
    mask[5:15, 30:40, 20:30] = 4
    save(tmp_path / "BraTS-GLI-00001-000/BraTS-GLI-00001-000-seg.nii.gz", mask, BRATS_SPACING)
    with prepared(brats(Params(root=str(tmp_path), view="volumes", **ALL)), tmp_path) as data:
        found = data.cases("train").batch([0]).masks
    assert not found["tumour"][0, 0, :, :, 45:].any(), "nothing on the patient's left"
    assert found["enhancing"].any()


# --- slices


def test_stratified_slices_are_half_with_edema_and_half_without(tmp_path: Path) -> None:
    save_task01(tmp_path, 16)
    with prepared(brats(Params(root=str(tmp_path), **ALL)), tmp_path) as data:
        cases = data.cases("train")
        edema = cases.labels["edema"]
        masks = cases.batch(range(16)).masks
    assert 3 <= edema.sum() <= 13
    assert (masks["edema"].flatten(1).any(1) == (edema == 1)).all()
    folder = tmp_path / "two"
    folder.mkdir()
    with prepared(brats(Params(root=str(tmp_path), per_volume=2, **ALL)), folder) as data:
        two = data.cases("train")
    assert two.labels["edema"].sum() == 16, "one of each"
    assert len(set(two.ids)) == 32


def test_slices_are_a_function_of_the_case_alone(tmp_path: Path) -> None:
    """The same slice whatever the split, the other cases or the order: it is the manifest of the prepared cases."""
    save_task01(tmp_path / "a", 6)
    save_task01(tmp_path / "b", 3)
    names = []
    for root, settings in (("a", ALL), ("a", {"valid": 0.4, "test": 0.3}), ("b", ALL)):
        folder = tmp_path / f"made{len(names)}"
        folder.mkdir()
        with prepared(brats(Params(root=str(tmp_path / root), slices="random", **settings)), folder) as data:
            found = set()
            for split in ("train", "valid", "test"):
                if (data._prepared.index["split"] == split).any():  # type: ignore[union-attr]
                    found |= set(data.cases(split).ids)
            names.append(found)
    assert names[0] == names[1]
    assert names[2] < names[0]


def test_a_manifest_says_which_slices(tmp_path: Path) -> None:
    save_task01(tmp_path, 3)
    (tmp_path / "slices.csv").write_text(
        "case,slice\nBRATS_001,30\nBRATS_001,12\nBRATS_003,31\nBRATS_009,1\nBRATS_003,64\n"
    )
    params = Params(root=str(tmp_path), slices="listed", manifest="slices.csv", **ALL)
    with prepared(brats(params), tmp_path) as data:
        assert data.cases("train").ids == ("BRATS_001_z12", "BRATS_001_z30", "BRATS_003_z31")
        report = "\n".join(data.report())
    assert "there is no case 'BRATS_009'" in report
    assert "row 6" in report
    with pytest.raises(DataError, match="manifest"):
        describe(Params(root=str(tmp_path), slices="listed"))


def test_too_little_brain_leaves_out_the_case(tmp_path: Path) -> None:
    save_task01(tmp_path, 1)
    with (
        pytest.raises(DataError, match=r"slices show brain on 0\.9"),
        prepared(brats(Params(root=str(tmp_path), brain=0.9, **ALL)), tmp_path),
    ):
        pass


# --- splits


def test_monais_split_is_monais() -> None:
    """As `monai.apps.DecathlonDataset(seed=0, val_frac=0.2)` draws it, for the 484 cases of Task01."""
    from monai.utils import set_determinism

    class Drawn(__import__("monai.apps", fromlist=["CrossValidation"]).DecathlonDataset):  # type: ignore[misc]
        def __init__(self, section: str) -> None:
            self.section, self.val_frac = section, 0.2
            self.set_random_state(seed=0)
            self.indices = np.array([])

    everything = [{"image": i} for i in range(484)]
    held_out = {item["image"] for item in Drawn("validation")._split_datalist(everything)}
    set_determinism(None)
    assert held_out == set(monai_held_out(484).tolist())
    assert len(held_out) == 96


def test_the_papers_split_tests_on_what_monai_holds_out(tmp_path: Path) -> None:
    save_task01(tmp_path, 10)
    patients = list_patients(Params(root=str(tmp_path), split="monai")).sources
    tested = {p.name for p in patients if p.split == "test"}
    assert tested == {f"BRATS_{i + 1:03d}" for i in monai_held_out(10)}
    save_release(tmp_path / "release", "BraTS2021_00001", "2021")
    with pytest.raises(DataError, match="split: monai"):
        list_patients(Params(root=str(tmp_path / "release"), split="monai"))


def test_visits_of_one_patient_are_in_one_split(tmp_path: Path) -> None:
    assert case_patient("BraTS-GLI-00005-100") == case_patient("BraTS-GLI-00005-101") == "BraTS-GLI-00005"
    assert case_patient("BraTS2021_00005") == "BraTS2021_00005"
    for visit in ("000", "001"):
        for number in range(8):
            save_release(tmp_path, f"BraTS-GLI-{number:05d}-{visit}", "2023")
    splits: dict[str, set[str]] = {}
    for patient in list_patients(Params(root=str(tmp_path), test=0.4)).sources:
        splits.setdefault(patient.patient, set()).add(patient.split)
    assert len(splits) == 8
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) > {"train"}


# --- files that cannot be used


def test_one_bad_case_does_not_lose_the_rest(tmp_path: Path) -> None:
    folder = save_task01(tmp_path, 6)
    (folder / "labelsTr/BRATS_001.nii.gz").unlink()
    image = folder / "imagesTr/BRATS_002.nii.gz"
    image.write_bytes(image.read_bytes()[:20_000])
    save(folder / "imagesTr/BRATS_003.nii.gz", head(BRATS_SIZE), BRATS_SPACING)
    save(folder / "labelsTr/BRATS_004.nii.gz", tumour((10, 10, 10), (5, 5, 5), (1, 2, 3)), BRATS_SPACING)
    save(folder / "labelsTr/BRATS_005.nii.gz", tumour(BRATS_SIZE, BRATS_AT, (1, 2, 3)) + 0.5, BRATS_SPACING)
    with prepared(brats(Params(root=str(tmp_path), **ALL)), tmp_path) as data:
        assert data.cases("train").patients == ("BRATS_006",)
        report = "\n".join(data.report())
    for said in (
        "labelsTr/BRATS_001.nii.gz: there is no such file",
        "BRATS_002.nii.gz cannot be read",
        "expected 4D with 4",
    ):
        assert said in report
    for said in ("BRATS_004.nii.gz: the mask has shape", "BRATS_005.nii.gz: its voxels are no whole numbers"):
        assert said in report
    with (
        pytest.raises(DataError, match="strict: false"),
        prepared(brats(Params(root=str(tmp_path), strict=True, **ALL)), folder),
    ):
        pass


def test_lists_that_are_none(tmp_path: Path) -> None:
    folder = save_task01(tmp_path, 2)
    facts = json.loads((folder / "dataset.json").read_text())
    facts["training"].append(facts["training"][0])
    (folder / "dataset.json").write_text(json.dumps(facts))
    listing = list_patients(Params(root=str(tmp_path)))
    assert len(listing.sources) == 2
    assert "BRATS_001' is there twice" in listing.left_out[0].why
    facts["training"] = [{"image": "../../etc/passwd", "label": "x"}]
    (folder / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="not below"):
        list_patients(Params(root=str(tmp_path)))
    (folder / "dataset.json").write_text("[]")
    with pytest.raises(DataError, match="list of cases"):
        list_patients(Params(root=str(tmp_path)))
    with pytest.raises(DataError, match=r"no dataset\.json"):
        list_patients(Params(root=str(tmp_path / "imagesTr"), layout="task01"))
    with pytest.raises(DataError, match="expected CASE"):
        list_patients(Params(root=str(tmp_path / "empty")))


def test_what_macos_leaves_behind_is_no_case(tmp_path: Path) -> None:
    save_release(tmp_path, "BraTS2021_00001", "2021")
    (tmp_path / "BraTS2021_00001/._BraTS2021_00001_flair.nii.gz").write_bytes(b"junk")
    assert len(list_patients(Params(root=str(tmp_path))).sources) == 1


def test_images_of_the_releases_may_not_be_shown(tmp_path: Path) -> None:
    info = describe(Params(root=str(tmp_path)))
    assert not info.redistributable
    assert info.space == (64, 64)
    assert describe(Params(view="volumes")).space == (64, 64, 64)
    assert describe(Params()).missing
    with pytest.raises(DataError, match="above 0"):
        describe(Params(size=0))


# --- the genuine case


def genuine(test_data: Path, root: Path, name: str, mask: str) -> None:
    source, newer = test_data / "nifti/brats_case", name.startswith("BraTS-")
    (root / name).mkdir(parents=True)
    shutil.copy(source / "t2f.nii.gz", root / name / f"{name}{'-t2f' if newer else '_flair'}.nii.gz")
    shutil.copy(source / mask, root / name / f"{name}{'-seg' if newer else '_seg'}.nii.gz")


def test_a_genuine_case_under_two_conventions(test_data: Path, tmp_path: Path) -> None:
    """Two segmentations of one tumour, by different tools, one numbered 1-2-3 and one 1-2-4."""
    genuine(test_data, tmp_path, "BraTS-GLI-00001-000", "seg-BraTS23_1.nii.gz")
    genuine(test_data, tmp_path, "BraTS2021_00001", "seg-bratstoolkit_isen.nii.gz")
    with prepared(brats(Params(root=str(tmp_path), view="volumes", **ALL)), tmp_path) as data:
        cases = data.cases("train")
        assert set(cases.ids) == {"BraTS-GLI-00001-000", "BraTS2021_00001"}
        batch = cases.batch([0, 1])
    assert batch.x is not None
    for name in ("edema", "enhancing", "tumour"):
        a, b = batch.masks[name][0].numpy(), batch.masks[name][1].numpy()
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.85, f"Dice of {name}: the numbers mean the same"
    flair = batch.x[0].numpy()
    edema, brain = batch.masks["edema"][0].numpy(), flair > 0
    assert flair[edema].mean() > 1.8 * flair[brain].mean(), "edema is bright on FLAIR"
    columns = np.argwhere(edema)[:, 3].mean()
    assert columns > 32, "on the patient's left: the right-hand side of the picture"


def test_a_genuine_mask_whose_header_lies(test_data: Path, tmp_path: Path) -> None:
    """It has its sister's voxels with an affine of ones: by it, the tumour would be in the other half of the head."""
    genuine(test_data, tmp_path / "a", "BraTS2021_00001", "seg-BraTS23_1_mapped.nii.gz")
    genuine(test_data, tmp_path / "b", "BraTS-GLI-00001-000", "seg-BraTS23_1.nii.gz")
    with (
        pytest.raises(DataError, match=r"239.0 mm off the image .* say `mask_grid: image`"),
        prepared(brats(Params(root=str(tmp_path / "a"), **ALL)), tmp_path / "a"),
    ):
        pass
    found = []
    for name in ("a", "b"):
        folder = tmp_path / f"made-{name}"
        folder.mkdir()
        params = Params(root=str(tmp_path / name), view="volumes", mask_grid="image", **ALL)
        with prepared(brats(params), folder) as data:
            found.append(data.cases("train").batch([0]))
    for mask in ("edema", "enhancing", "tumour"):
        assert (found[0].masks[mask] == found[1].masks[mask]).all()
