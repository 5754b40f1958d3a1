"""Any folder of images becomes a dataset, by its table or by its folders; what is wrong is named."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cfbench.errors import DataError
from cfbench.protocols import Context, PreparingDataset, ReportingDataset
from cfbench_folder.dataset import image_folder
from cfbench_folder.params import FolderParams, describe


def picture(path, value, shape=(20, 24), kind=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, kind)).save(path)


def loaded(params, tmp_path, name="prepared"):
    dataset = image_folder(params)
    assert isinstance(dataset, PreparingDataset)
    assert isinstance(dataset, ReportingDataset)
    folder, scratch = tmp_path / name, tmp_path / f"{name}-scratch"
    folder.mkdir()
    scratch.mkdir()
    dataset.prepare(folder, Context(0, scratch))
    dataset.load(folder)
    return dataset


def everything(dataset):
    found = {}
    for split in ("train", "valid", "test"):
        try:
            cases = dataset.cases(split)
        except DataError:
            continue
        for i, case in enumerate(cases.ids):
            found[case] = (
                split,
                cases.patients[i],
                {k: float(v[i]) for k, v in cases.labels.items()},
                cases.batch([i]),
            )
    return found


HEADER = "id,file,grade,score,patient,split,lesion,note,pi\n"


def table(tmp_path, *rows, header=HEADER):
    root = tmp_path / "data"
    root.mkdir(exist_ok=True)
    (root / "cases.csv").write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return FolderParams(
        root=str(root),
        table="cases.csv",
        id="id",
        labels=("grade",),
        measurements=("score",),
        patient="patient",
        split="split",
        masks=("lesion",),
        text="note",
        photometric="pi",
        size=8,
        fit="stretch",
    )


def test_a_table_says_everything(tmp_path):
    params = table(
        tmp_path,
        "001,a/1.png,0,1.5,007,train,m/1.png,no finding,",
        "002,a/2.png,2,,007,Training,,,MONOCHROME1",
        '003,a/3.png,,-2,08,val,,"a large, round opacity",MONOCHROME2',
        "004,a/4.png,1,0,9,test,,,",
    )
    for i in range(1, 5):
        picture(tmp_path / "data" / "a" / f"{i}.png", 40 * i)
    picture(tmp_path / "data" / "m" / "1.png", 255)
    info = describe(params)
    assert info.labels == {"grade": (0.0, 1.0, 2.0), "score": ()}
    assert (info.masks, info.patients, info.redistributable, info.missing) == (("lesion",), True, False, "")
    cases = everything(loaded(params, tmp_path))
    assert {case: facts[:2] for case, facts in cases.items()} == {
        "001": ("train", "007"),
        "002": ("train", "007"),
        "003": ("valid", "08"),
        "004": ("test", "9"),
    }
    assert cases["001"][2] == {"grade": 0.0, "score": 1.5}
    assert np.isnan(cases["003"][2]["grade"])
    assert cases["003"][3].text == ("a large, round opacity",)
    assert cases["001"][3].masks["lesion"].all()
    assert not cases["002"][3].masks["lesion"].any()
    assert float(cases["001"][3].x.mean()) == pytest.approx(40 / 255)
    assert float(cases["002"][3].x.mean()) == pytest.approx(1 - 80 / 255)
    assert cases["001"][3].x.shape == (1, 1, 8, 8)


def test_a_folder_per_class_needs_no_table(tmp_path):
    for name, value in (("normal", 50), ("large_opacity", 200)):
        for i in range(30):
            picture(tmp_path / "data" / name / f"{i}.png", value + i % 3)
    params = FolderParams(root=str(tmp_path / "data"), size=8, classes=("normal", "large_opacity"))
    info = describe(params)
    assert info.labels == {"class": (0.0, 1.0)}
    assert info.prompts == {"class": {0.0: "normal", 1.0: "large opacity"}}
    assert not info.patients
    cases = everything(loaded(params, tmp_path))
    assert len(cases) == 60
    assert {split for split, *_ in cases.values()} == {"train", "valid", "test"}
    assert all(facts[2]["class"] == float(case.startswith("large")) for case, facts in cases.items())
    assert (
        describe(FolderParams(root=str(tmp_path / "data"))).prompts["class"][0.0] == "large opacity"
    )  # by the alphabet


def test_folders_of_splits_with_classes_are_understood(tmp_path):
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            picture(tmp_path / "data" / split / name / "1.png", 9)
    cases = everything(loaded(FolderParams(root=str(tmp_path / "data"), size=8), tmp_path))
    assert {case: facts[0] for case, facts in cases.items()} == {
        f"{folder}/{name}/1.png": split
        for folder, split in (("train", "train"), ("val", "valid"), ("test", "test"))
        for name in ("a", "b")
    }


def test_one_bad_case_loses_no_other_and_each_is_named(tmp_path):
    params = table(
        tmp_path,
        "good,a/1.png,0,1,p1,train,,,",
        "gone,a/none.png,0,1,p2,train,,,",
        "cut,a/cut.png,0,1,p3,train,,,",
        "high,a/1.png,bad,1,p4,train,,,",
        "escape,../x.png,0,1,p5,train,,,",
        "mask,a/1.png,1,1,p6,train,m/small.png,,",
        "empty,,1,1,p7,train,,,",
        "where,a/1.png,1,1,p8,nowhere,,,",
        "strange,a/1.png,1,1,p9,train,,,MONOCHROME3",
        "twice,a/1.png,1,1,p10,train,,,",
        "twice,a/1.png,0,1,p10,train,,,",
    )
    picture(tmp_path / "data" / "a" / "1.png", 9)
    picture(tmp_path / "data" / "m" / "small.png", 1, (5, 6))
    whole = (tmp_path / "data" / "a" / "1.png").read_bytes()
    (tmp_path / "data" / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    dataset = loaded(params, tmp_path)
    assert list(everything(dataset)) == ["good"]
    report = "\n".join(dataset.report())
    assert "left out: 9 cases" in report
    for row, words in {
        3: "none.png cannot be read",
        4: "cut.png cannot be read as an image",
        5: "column 'grade' holds 'bad'",
        6: "'../x.png' is not below",
        7: "6 x 5 pixels, its image 24 x 20",
        8: "column 'file' is empty",
        9: "there is no split 'nowhere'",
        10: "holds 'MONOCHROME3'",
        12: "id 'twice' is also in cases.csv, row 11",
    }.items():
        assert any(f"cases.csv, row {row}:" in line and words in line for line in report.splitlines()), (row, words)
    with pytest.raises(DataError, match=r"cases\.csv, row"):
        loaded(replace(params, strict=True), tmp_path, "strict")


def test_a_patient_in_two_splits_is_left_out(tmp_path):
    rows = ("1,a.png,0,1,007,train,,,", "2,a.png,1,1,007,test,,,", "3,a.png,1,1,7,train,,,")
    picture(tmp_path / "data" / "a.png", 9)
    params = table(tmp_path, *rows)
    dataset = loaded(params, tmp_path)
    assert set(everything(dataset)) == {"3"}
    why = "cases.csv, row 3: patient '007' is in split test, but in train by cases.csv, row 2"
    assert "\n".join(dataset.report()).count(why) == 2
    with pytest.raises(DataError, match="patient '007' is in split test"):
        loaded(replace(params, strict=True), tmp_path, "strict")


def test_images_of_twelve_bits_fill_the_range(tmp_path):
    params = table(tmp_path, "1,a.png,0,1,1,train,,,", "2,b.png,1,1,2,train,,,")
    picture(tmp_path / "data" / "a.png", 4095, kind=np.uint16)
    picture(tmp_path / "data" / "b.png", 1024, kind=np.uint16)
    cases = everything(loaded(replace(params, window=(0.0, 4095.0)), tmp_path))
    assert float(cases["1"][3].x.min()) == 1
    assert float(cases["2"][3].x.mean()) == pytest.approx(1024 / 4095, abs=1e-5)


def test_names_of_classes_in_a_table(tmp_path):
    params = replace(table(tmp_path, "1,a.png,mild,1,1,train,,,", "2,a.png,odd,1,2,train,,,"), classes=("none", "mild"))
    picture(tmp_path / "data" / "a.png", 1)
    assert describe(params).labels["grade"] == (0.0, 1.0)
    dataset = loaded(params, tmp_path)
    assert everything(dataset)["1"][2]["grade"] == 1
    assert "row 3: column 'grade' holds 'odd'; expected one of none, mild" in "\n".join(dataset.report())


def test_descriptions_say_what_is_wrong(tmp_path):
    assert "`root` is empty" in describe(FolderParams()).missing
    params = table(tmp_path, *(f"{i},a.png,{i},1,{i},train,,," for i in range(50)))
    with pytest.raises(DataError, match=r"50 distinct values.*`measurements`"):
        describe(params)
    with pytest.raises(DataError, match="no column 'stage'; it has: id, file, grade"):
        describe(replace(params, labels=("stage",)))
    with pytest.raises(DataError, match="If its cells are names, list them in `classes`"):
        describe(replace(params, labels=("file",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folder per class"):
        describe(FolderParams(root=str(tmp_path / "empty")))


def test_fingerprints_follow_the_files(tmp_path):
    params = table(tmp_path, "1,a.png,0,1,1,train,,,")
    picture(tmp_path / "data" / "a.png", 1)
    first = describe(params).fingerprint
    picture(tmp_path / "data" / "a.png", 1, (30, 30))
    second = describe(params).fingerprint
    table(tmp_path, "1,a.png,1,1,1,train,,,")
    third = describe(params).fingerprint
    assert len({first, second, third}) == 3
