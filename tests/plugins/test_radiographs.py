"""Sets of radiographs, from generated folders in their published layouts and from the genuine ones."""

import re
from dataclasses import replace

import layouts
import pytest
from layouts import everything, loaded

from cfbench.errors import DataError
from cfbench.specs import DatasetSpec
from cfbench_radiographs import chexpert, cohen, covid, datasets, mimic
from cfbench_radiographs.plugin import cfbench_datasets


@pytest.mark.parametrize("spec", cfbench_datasets(), ids=lambda spec: spec.name)
def test_a_set_that_is_not_there_can_be_described(spec):
    assert isinstance(spec, DatasetSpec)
    assert spec.prepares
    info = spec.describe(spec.params())
    assert "`root` is empty" in info.missing
    assert info.labels
    assert not info.redistributable
    assert info.licence
    assert all(set(words) <= set(info.labels[label]) for label, words in info.prompts.items())


# MIMIC-CXR-JPG


def test_mimic_reads_its_tables(tmp_path):
    params = mimic.MimicParams(root=str(layouts.mimic(tmp_path / "mimic")), size=16)
    cases = everything(loaded(datasets.mimic_cxr_jpg(params), tmp_path))
    assert {case: facts[:2] for case, facts in cases.items()} == {
        "aa-1": ("train", "10000032"),
        "bb-1": ("valid", "10000764"),
        "cc-1": ("test", "10000898"),
        "dd-1": ("test", "10062617"),  # held out: several radiologists graded it
    }
    labels = {case: facts[2] for case, facts in cases.items()}
    assert labels["aa-1"] == {"lung_opacity": 0, "pneumonia": 0, "cardiomegaly": 0, "edema_severity": 0}
    assert labels["bb-1"] == {"cardiomegaly": 1, "edema_severity": 2}  # an expert overrules the rule
    assert labels["cc-1"] == {"lung_opacity": 1}
    assert labels["dd-1"] == {"edema_severity": 1}  # the consensus overrules both
    assert cases["aa-1"][3].x.shape == (1, 1, 16, 16)


def test_mimic_settings_change_what_they_say(tmp_path):
    root = str(layouts.mimic(tmp_path / "mimic", severity=tmp_path / "severity"))
    plain = mimic.MimicParams(root=root, size=16)

    def labels(name, **changes):
        made = loaded(datasets.mimic_cxr_jpg(replace(plain, **changes)), tmp_path, name)
        return {case: facts[2] for case, facts in everything(made).items()}

    assert not any("edema_severity" in found for found in labels("none").values())
    assert set(labels("graded", keep="edema", severity=str(tmp_path / "severity"))) == {"aa-1", "bb-1", "dd-1"}
    explicit = labels("explicit", negatives="explicit", uncertain="positive")
    assert explicit["bb-1"] == {"cardiomegaly": 1, "lung_opacity": 1, "pneumonia": 0}
    assert explicit["aa-1"] == {}
    assert explicit["cc-1"] == {"lung_opacity": 1, "pneumonia": 1}
    assert set(labels("both", view=("AP", "PA"))) == {"aa-1", "bb-1", "cc-1", "dd-1", "ee-1"}


def test_mimic_says_what_is_wrong_and_keeps_the_rest(tmp_path):
    root = layouts.mimic(tmp_path / "mimic")
    (root / "regex_report_edema_severity.csv").write_text("subject_id,study_id,edema_severity\n10000032,50414267,7\n")
    (root / "files/p10/p10000898/s50771383/cc-1.jpg").unlink()
    dataset = loaded(datasets.mimic_cxr_jpg(mimic.MimicParams(root=str(root), size=16)), tmp_path)
    report = "\n".join(dataset.report())
    assert "regex_report_edema_severity.csv, row 2: column 'edema_severity' holds '7'" in report
    assert "mimic-cxr-2.0.0-metadata.csv.gz, row 5: " in report
    assert "cc-1.jpg cannot be read" in report
    assert set(everything(dataset)) == {"aa-1", "bb-1", "dd-1"}
    assert "edema_severity: 0: 0 (paper 2,908)" in report
    assert "3 images (paper: 166,512" in report


def test_mimic_leaves_out_a_patient_in_two_splits(tmp_path):
    import gzip

    root = layouts.mimic(tmp_path / "mimic")
    split = layouts.MIMIC_SPLIT.replace("bb-1,57375967,10000764,validate", "bb-1,57375967,10000764,train")
    metadata = layouts.MIMIC_METADATA.replace("10000898", "10000764")
    for name, text in (("split", split), ("metadata", metadata)):
        (root / f"mimic-cxr-2.0.0-{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    dataset = loaded(datasets.mimic_cxr_jpg(mimic.MimicParams(root=str(root), size=16)), tmp_path)
    assert set(everything(dataset)) == {"aa-1", "dd-1"}
    said = "\n".join(dataset.report())
    assert re.search(r"row 5: patient '10000764' is in split test, but in train by .*row 4", said)


def test_mimic_fingerprint_follows_the_severities_but_not_their_place(tmp_path):
    here = layouts.mimic(tmp_path / "a")
    there = layouts.mimic(tmp_path / "b", severity=tmp_path / "s")
    first = mimic.describe(mimic.MimicParams(root=str(here))).fingerprint
    assert mimic.describe(mimic.MimicParams(root=str(there), severity=str(tmp_path / "s"))).fingerprint == first
    assert mimic.describe(mimic.MimicParams(root=str(there))).fingerprint != first


# CheXpert


def test_chexpert_reads_paths_labels_and_views(tmp_path):
    root = layouts.chexpert(tmp_path / "CheXpert-v1.0-small")
    params = chexpert.ChexpertParams(root=str(root), size=16, valid=0.0)
    cases = everything(loaded(datasets.chexpert(params), tmp_path))
    assert {facts[1]: facts[0] for facts in cases.values()} == {
        **{f"patient{n:05d}": "train" for n in (1, 2, 3, 4)},
        "patient64541": "test",
    }
    labels = {facts[1][-2:]: facts[2] for facts in cases.values()}
    assert labels["01"]["cardiomegaly"] == 0  # no finding at all
    assert "cardiomegaly" not in labels["02"]  # uncertain
    assert labels["02"]["lung_opacity"] == 1
    assert labels["03"]["cardiomegaly"] == 1
    assert "cardiomegaly" not in labels["04"]  # absent, but other findings are there
    assert not any("lateral" in case for case in cases)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"uncertain": "positive"}, {"01": 0, "02": 1, "03": 1}),
        ({"negatives": "explicit"}, {"03": 1, "04": 0}),
        ({"negatives": "explicit", "blank": "negative", "uncertain": "negative"}, {"01": 0, "02": 0, "03": 1, "04": 0}),
        ({"view": ("PA",)}, {"03": 1}),
    ],
)
def test_chexpert_handles_uncertain_and_blank_as_told(tmp_path, changes, expected):
    root = layouts.chexpert(tmp_path / "CheXpert-v1.0-small")
    params = replace(chexpert.ChexpertParams(root=str(root), size=16, valid=0.0), **changes)
    cases = everything(loaded(datasets.chexpert(params), tmp_path))
    found = {facts[1][-2:]: facts[2]["cardiomegaly"] for facts in cases.values() if "cardiomegaly" in facts[2]}
    assert {k: v for k, v in found.items() if k != "41"} == expected


def test_chexpert_names_the_row_of_a_strange_label(tmp_path):
    root = layouts.chexpert(tmp_path / "CheXpert-v1.0-small")
    table = root / "train.csv"
    table.write_text(table.read_text().replace("Male,41,Frontal,PA,,,1.0", "Male,41,Frontal,PA,,,2.0"))
    dataset = loaded(datasets.chexpert(chexpert.ChexpertParams(root=str(root), size=16)), tmp_path)
    assert "train.csv, row 5: column 'Cardiomegaly' holds '2.0'; expected one of 1, 0, -1" in "\n".join(
        dataset.report()
    )
    with pytest.raises(DataError, match="no finding 'Heart'"):
        chexpert.describe(chexpert.ChexpertParams(findings=("Heart",)))


# COVID-19 Radiography Database


def test_covid_reads_class_folders_masks_and_spreadsheets(tmp_path):
    root = layouts.covid(tmp_path / "COVID-19_Radiography_Dataset")
    (root / "Normal" / "images" / "Normal-3.png").unlink()
    params = covid.CovidParams(root=str(root), size=32)
    dataset = loaded(datasets.covid_radiography(params), tmp_path)
    cases = everything(dataset)
    assert len(cases) == 47
    assert cases["COVID-1"][2] == {"finding": 3, "abnormal": 1, "covid": 1}
    assert cases["Normal-1"][2] == {
        "finding": 0, "abnormal": 0, "covid": 0, "lung_opacity": 0, "viral_pneumonia": 0
    }  # fmt: skip
    drawn = cases["COVID-1"][3].masks["lung"][0, 0]
    assert drawn[8:24, 8:24].all()
    assert drawn.sum() == 256
    report = "\n".join(dataset.report())
    assert "Normal.metadata.xlsx: 12 rows, 11 files" in report
    assert "1 in the spreadsheet but no file: normal-3" in report
    assert "1: 12 (paper 4,945)" in report
    assert covid.describe(params).prompts["finding"][3.0] == "COVID 19"


def test_covid_says_which_class_folder_is_missing(tmp_path):
    root = layouts.covid(tmp_path / "data", 1)
    import shutil

    shutil.rmtree(root / "Lung_Opacity")
    missing = covid.describe(covid.CovidParams(root=str(root))).missing
    assert "has no Lung_Opacity/images" in missing
    assert "classes=[Normal,Viral Pneumonia,COVID]" in missing
    some = covid.CovidParams(root=str(root), classes=("Normal", "COVID"))
    assert set(covid.describe(some).labels) == {"finding", "abnormal", "covid"}
    with pytest.raises(DataError, match="expected Normal and some of"):
        covid.describe(covid.CovidParams(classes=("COVID", "Flu")))


def test_the_genuine_subset(tmp_path, test_data):
    params = covid.CovidParams(root=str(test_data / "covid_radiography"), classes=("Normal", "COVID"), size=64)
    dataset = loaded(datasets.covid_radiography(params), tmp_path)
    cases = everything(dataset)
    values = [facts[2]["covid"] for facts in cases.values()]
    assert (len(values), sum(values)) == (600, 300)
    assert all(0.05 < float(facts[3].x.mean()) < 0.95 for facts in cases.values())


# COVID-19 image data collection


def test_cohen_reads_the_repository(tmp_path):
    params = cohen.CohenParams(root=str(layouts.cohen(tmp_path / "repository")), size=20)
    dataset = loaded(datasets.cohen_cxr(params), tmp_path)
    cases = everything(dataset)
    assert set(cases) == {"a-1.jpeg", "a-2.jpeg", "b.png", "c.png"}  # no CT, no lateral view
    assert cases["a-1.jpeg"][1:3] == ("2", {"covid": 1, "abnormal": 1, "geographic": 6, "opacity": 4})
    assert cases["b.png"][1:3] == ("007", {"covid": 0, "abnormal": 0})
    assert cases["c.png"][2] == {}
    assert cases["a-1.jpeg"][0] == cases["a-2.jpeg"][0]
    assert cases["a-1.jpeg"][3].masks["lung_auto"].any()
    assert not cases["a-2.jpeg"][3].masks["lung_auto"].any()
    assert cases["a-1.jpeg"][3].text == ("fever, cough",)


def test_cohen_may_be_shown_where_the_licences_say_so(tmp_path):
    root = str(layouts.cohen(tmp_path / "repository"))
    free = cohen.CohenParams(root=root, licences=("CC BY 4.0",), size=20)
    assert cohen.describe(free).redistributable
    assert not cohen.describe(cohen.CohenParams(root=root)).redistributable
    assert not cohen.describe(replace(free, licences=("CC BY 4.0", "CC BY-NC-SA"))).redistributable
    assert set(everything(loaded(datasets.cohen_cxr(free), tmp_path))) == {"b.png"}


def test_the_genuine_collection(tmp_path, test_data):
    params = cohen.CohenParams(root=str(test_data / "cohen_cxr"), size=64)
    dataset = loaded(datasets.cohen_cxr(params), tmp_path)
    cases = everything(dataset)
    assert len(cases) == 310
    assert len({facts[1] for facts in cases.values()}) == 174
    assert "left out" not in "\n".join(dataset.report())
    drawn = {name: sum(bool(f[3].masks[name].any()) for f in cases.values()) for name in cohen.MASKS}
    assert drawn == {"lesion": 41, "lung": 41, "lung_auto": 130}
    assert sum(bool(facts[3].text[0]) for facts in cases.values()) == 214
    inside = [
        float((f[3].masks["lesion"] & f[3].masks["lung"]).sum() / f[3].masks["lesion"].sum())
        for f in cases.values()
        if f[3].masks["lesion"].any()
    ]
    assert sorted(inside)[len(inside) // 2] > 0.9  # lesions are drawn inside lungs
    assert sum("geographic" in facts[2] for facts in cases.values()) == 21
