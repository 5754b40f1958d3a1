"""SPIDER: folders as the set has them, generated; and genuine mid-sagittal slices with boxes and gradings."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plugins.volumes_made import SPIDER_SPACING, discs, prepared, save, save_tables

from cfbench.errors import DataError
from cfbench_volumes.spider import Params, describe
from cfbench_volumes.spider_cases import list_series, read_gradings, spider


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four patients: three to train with, one to validate; stored in several orientations."""
    folder = tmp_path / "data"
    series = {"1_t1": "LPS", "1_t2": "LPS", "2_t2": "PIR", "3_t2_SPACE": "RAS", "30_t2": "ASL"}
    for seed, (name, axes) in enumerate(series.items()):
        image, mask = discs(2, seed)
        save(folder / f"images/{name}.mha", image, SPIDER_SPACING, axes)
        save(folder / f"masks/{name}.mha", mask, SPIDER_SPACING, axes)
    graded = [
        {"Patient": p, "IVD label": k, "Pfirrman grade": (p + k) % 5 + 1, "Disc herniation": k - 1}
        for p in (1, 2, 3, 30)
        for k in (1, 2)
    ]
    subsets = dict.fromkeys(series, "training") | {"30_t2": "validation"}
    save_tables(folder, [*graded, {"Patient": 1, "IVD label": 0, "Pfirrman grade": 2}], subsets)
    return folder


def test_every_disc_becomes_a_patch_with_its_gradings_and_mask(root: Path, tmp_path: Path) -> None:
    with prepared(spider(Params(root=str(root), valid=0.0)), tmp_path) as data:
        train, test = data.cases("train"), data.cases("test")
        batch = train.batch(range(len(train)))
        report = "\n".join(data.report())
    assert train.ids == ("1_t2_disc1", "1_t2_disc2", "2_t2_disc1", "2_t2_disc2")
    assert test.ids == ("30_t2_disc1", "30_t2_disc2")
    assert train.patients == ("1", "1", "2", "2")
    assert train.labels["pfirrmann"].tolist() == [3, 4, 4, 5]
    assert train.labels["herniation"].tolist() == [0, 1, 0, 1]
    assert "disc 0 is graded, but the mask has no label 200" in report
    assert batch.x is not None
    mask, pixel = batch.masks["disc"][:, 0].numpy(), 50 / 64
    assert mask[:, 32, 32].all()
    assert np.allclose(mask[:, 32].sum(axis=1) * pixel, 24, atol=pixel)
    assert np.allclose(mask[:, :, 32].sum(axis=1) * pixel, 9, atol=pixel)
    picture = batch.x[:, 0].numpy()
    assert picture[mask].mean() < picture[~mask].mean() - 0.2, "discs are dark"
    canal = picture[:, :, 32 + int(19 / pixel)]
    assert (canal.mean(axis=1) > 0.8).all(), "the canal is bright, behind the disc: on the right"


def test_patches_do_not_depend_on_how_the_series_is_stored(tmp_path: Path) -> None:
    image, mask = discs(2)
    found = []
    for axes, suffix in (("RAS", "mha"), ("LPS", "mha"), ("PIR", "nii.gz")):
        folder = tmp_path / axes
        save(folder / f"images/7_t2.{suffix}", image, SPIDER_SPACING, axes)
        save(folder / f"masks/7_t2.{suffix}", mask, SPIDER_SPACING, axes)
        save_tables(folder, [{"Patient": 7, "IVD label": 1, "Pfirrman grade": 1}], {"7_t2": "validation"})
        with prepared(spider(Params(root=str(folder))), folder) as data:
            found.append(data.cases("test").batch([0]))
    for batch in found[1:]:
        assert (batch.x == found[0].x).all()
        assert (batch.masks["disc"] == found[0].masks["disc"]).all()


def test_the_field_is_in_millimetres_whatever_the_spacing(tmp_path: Path) -> None:
    widths = []
    for step in (0.3, 0.6, 1.2):
        image, mask = discs(1)
        folder = tmp_path / str(step)
        save(folder / "images/7_t2.mha", image, (3.3, step, step))
        save(folder / "masks/7_t2.mha", mask, (3.3, step, step))
        save_tables(folder, [{"Patient": 7, "IVD label": 1, "Pfirrman grade": 1}], {"7_t2": "validation"})
        with prepared(spider(Params(root=str(folder))), folder) as data:
            widths.append(data.cases("test").batch([0]).masks["disc"][0, 0, 32].sum().item() * 50 / 64)
    assert widths == pytest.approx([12, 24, 48], abs=1.2)


def test_which_sequences_are_taken(root: Path) -> None:
    for sequences, names in (
        (("t2",), {"1_t2", "2_t2", "30_t2"}),
        (("t2", "t2_SPACE"), {"1_t2", "2_t2", "30_t2", "3_t2_SPACE"}),
        (("t1",), {"1_t1"}),
    ):
        assert {s.name for s in list_series(Params(root=str(root), sequences=sequences)).sources} == names
    with pytest.raises(DataError, match="no series that ends in t7"):
        list_series(Params(root=str(root), sequences=("t7",)))
    with pytest.raises(DataError, match="sequences"):
        describe(Params(sequences=()))


def test_series_of_one_patient_are_in_one_split(root: Path) -> None:
    params = Params(root=str(root), sequences=("t1", "t2"), split="patients", valid=0.3, test=0.3)
    splits: dict[str, set[str]] = {}
    for series in list_series(params).sources:
        splits.setdefault(series.patient, set()).add(series.split)
    assert all(len(found) == 1 for found in splits.values())


def test_a_patient_in_two_subsets_is_left_out(root: Path) -> None:
    rows = (root / "overview.csv").read_text().replace("1_t1,3,2,training", "1_t1,3,2,validation")
    (root / "overview.csv").write_text(rows)
    listing = list_series(Params(root=str(root), sequences=("t1", "t2"), valid=0.0))
    assert {s.name for s in listing.sources} == {"2_t2", "30_t2"}
    assert {item.name for item in listing.left_out} == {"1_t1", "1_t2"}
    assert "patient 1 has series in test and train" in listing.left_out[0].why


def test_series_that_the_overview_does_not_place_are_left_out(root: Path) -> None:
    lines = (root / "overview.csv").read_text().splitlines()
    (root / "overview.csv").write_text(
        "\n".join(x.replace("training", "?") if x[:2] == "2_" else x for x in lines if x[:4] != "1_t2")
    )
    listing = list_series(Params(root=str(root)))
    assert {s.name for s in listing.sources} == {"30_t2"}
    assert {item.name for item in listing.left_out} == {"1_t2", "2_t2"}


def test_gradings_that_are_none_leave_out_their_disc_alone(root: Path, tmp_path: Path) -> None:
    rows = [
        {"Patient": "001", "IVD label": 1, "Pfirrman grade": 6},
        {"Patient": 1, "IVD label": 2, "Pfirrman grade": 1},
        {"Patient": 2, "IVD label": 1, "Pfirrman grade": 1},
        {"Patient": 2, "IVD label": 1, "Pfirrman grade": 2},
        {"Patient": 2, "IVD label": 2, "Pfirrman grade": 5},
        {"Patient": 2, "IVD label": 2, "Pfirrman grade": 5},
        {"Patient": 30, "IVD label": "", "Pfirrman grade": 5},
        {"Patient": 30, "IVD label": 1, "Pfirrman grade": ""},
    ]
    save_tables(root, rows, {"1_t2": "training", "2_t2": "training", "30_t2": "validation"})
    gradings, left = read_gradings(root / "radiological_gradings.csv")
    assert gradings["2"][2]["pfirrmann"] == 5  # type: ignore[index]
    assert [item.name for item in left] == ["30_disc?"]
    with prepared(spider(Params(root=str(root), valid=0.0)), tmp_path) as data:
        assert data.cases("train").ids == ("1_t2_disc2", "2_t2_disc2")
        assert data.cases("test").labels["pfirrmann"].isnan().all()
        report = "\n".join(data.report())
    assert "row 2: column 'Pfirrman grade' holds '6'" in report
    assert "row 5: the disc is also in radiological_gradings.csv, row 4" in report


def test_ungraded_discs_are_taken_when_asked_for(root: Path, tmp_path: Path) -> None:
    save_tables(root, [{"Patient": 1, "IVD label": 1, "Pfirrman grade": 1}], {"1_t2": "training"})
    with prepared(spider(Params(root=str(root), valid=0.0, graded=False)), tmp_path) as data:
        assert data.cases("train").labels["pfirrmann"].isnan().tolist() == [False, True]


def test_files_that_cannot_be_used_leave_out_their_series(root: Path, tmp_path: Path) -> None:
    (root / "masks/1_t2.mha").unlink()
    image = root / "images/30_t2.mha"
    image.write_bytes(image.read_bytes()[:20_000])
    with prepared(spider(Params(root=str(root), valid=0.0)), tmp_path) as data:
        assert data.cases("train").ids == ("2_t2_disc1", "2_t2_disc2")
        report = "\n".join(data.report())
    assert "1_t2.mha: there is no such file" in report
    assert "30_t2.mha" in report


def test_columns_that_are_not_there(root: Path) -> None:
    table = root / "radiological_gradings.csv"
    table.write_text(table.read_text().replace("Pfirrman grade", "Pfirrmann grade"))
    with pytest.raises(DataError, match="no column 'Pfirrman grade'"):
        list_series(Params(root=str(root)))


def test_counts_stand_beside_the_papers(root: Path, tmp_path: Path) -> None:
    with prepared(spider(Params(root=str(root))), tmp_path) as data:
        report = "\n".join(data.report())
    assert "3: 417 / " in report
    assert "3: 74 / 1" in report


def test_what_must_be_there(tmp_path: Path, root: Path) -> None:
    assert "root" in describe(Params()).missing
    assert "no images" in describe(Params(root=str(tmp_path))).missing
    assert not describe(Params(root=str(root))).missing
    assert "no slices" in describe(Params(root=str(root), layout="slices")).missing


# --- genuine slices


def test_genuine_slices_give_the_windows_that_were_cut_independently(test_data: Path, tmp_path: Path) -> None:
    """The windows in discs/ were cut by others, from the same slices and boxes: ours are alike, grey level apart."""
    root = test_data / "spider_midsagittal"
    params = Params(
        root=str(root), layout="slices", sequences=("t2", "t2_SPACE"), split="patients", valid=0.0, test=0.0
    )
    with prepared(spider(params), tmp_path) as data:
        cases = data.cases("train")
        batch = cases.batch(range(len(cases)))
        assert not data.report()[1:], "nothing is left out"
    assert len(cases) == 490
    assert batch.x is not None
    correlations = []
    for i, name in enumerate(cases.ids):
        theirs = np.asarray(Image.open(root / "discs" / f"{name.replace('_disc', '_ivd')}.png"), dtype=float)
        correlations.append(np.corrcoef(batch.x[i, 0].numpy().ravel(), theirs.ravel())[0, 1])
    assert np.median(correlations) > 0.93
    assert np.mean(np.array(correlations) > 0.8) > 0.97


def test_genuine_gradings_and_split(test_data: Path, tmp_path: Path) -> None:
    root = test_data / "spider_midsagittal"
    with (root / "discs.csv").open() as file:
        rows = {f"{r['series']}_disc{r['ivd']}": r for r in csv.DictReader(file) if r["seq"] == "t2"}
    with (root / "overview.csv").open() as file:
        subset = {r["new_file_name"]: r["subset"] for r in csv.DictReader(file)}
    with prepared(spider(Params(root=str(root), layout="slices")), tmp_path) as data:
        splits = {split: data.cases(split) for split in ("train", "valid", "test")}
        test = splits["test"].batch(range(len(splits["test"])))
    assert sum(len(cases) for cases in splits.values()) == len(rows) == 400
    for split, cases in splits.items():
        for name, grade in zip(cases.ids, cases.labels["pfirrmann"].tolist(), strict=True):
            assert grade == float(rows[name]["pfirrmann"])
            assert (subset[rows[name]["series"]] == "validation") is (split == "test")
    assert not set(splits["train"].patients) & set(splits["valid"].patients)
    # A disc that degenerates loses its signal: within the box, grade 1 and 2 are brighter than 4 and 5.
    assert test.x is not None
    middle = test.x[:, 0, 26:38, 22:42].flatten(1).mean(1)
    grade = test.labels["pfirrmann"]
    assert middle[grade <= 2].mean() > middle[grade >= 4].mean() + 0.05


def test_gradings_of_the_owners_table_are_read_whole(test_data: Path) -> None:
    gradings, left = read_gradings(test_data / "spider_midsagittal/radiological_gradings.csv")
    assert not left
    assert sum(len(discs) for discs in gradings.values()) == 1141
    assert gradings["1"][4]["pfirrmann"] == 4  # type: ignore[index]
    assert {0} <= {disc for discs in gradings.values() for disc in discs}, "two rows have the label 0"


def test_boxes_outside_their_slice_are_left_out(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "spider_midsagittal"
    root = tmp_path / "data"
    (root / "slices").mkdir(parents=True)
    (root / "slices/104_t2.jpg").write_bytes((source / "slices/104_t2.jpg").read_bytes())
    (root / "overview.csv").write_bytes((source / "overview.csv").read_bytes())
    lines = (source / "discs.csv").read_text().splitlines()
    kept = [line for line in lines if line.startswith(("file", "104_t2_ivd1", "104_t2_ivd2"))]
    kept[1] = kept[1].replace(",273,351,", ",2730,351,")
    (root / "discs.csv").write_text("\n".join(kept))
    with prepared(
        spider(Params(root=str(root), layout="slices", split="patients", valid=0.0, test=0.0)), tmp_path
    ) as data:
        assert data.cases("train").ids == ("104_t2_disc2",)
        assert "discs.csv, row 2: box 197,302 to 2730,351" in "\n".join(data.report())
