"""The papers' suites on sets of volumes, planned with generated folders and without; and `cfbench data check`."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from plugins.volumes_made import discs, head, save, save_scan, save_tables, save_task01

from cfbench.cli.main import cli
from cfbench.plan import make_plan
from cfbench.registry import load
from cfbench.suite import read_suite

SUITES = Path(__file__).parents[2] / "suites" / "papers"


@pytest.fixture(scope="module")
def registry():
    return load(["mlflow"])


def make_verse(root: Path) -> Path:
    for number, split in enumerate(("training", "training", "validation", "test")):
        save_scan(root / f"dataset-verse19{split}", f"sub-verse{number:03d}", (20, 21), seed=number)
    rows = "".join(f"{number},0,{number % 4}\n" for number in range(4))
    (root / "fracture_grades.csv").write_text("verse_ID,L1_fx-g,L2_fx-g\n" + rows)
    return root


def make_spider(root: Path) -> Path:
    names = {f"{number}_t2": "training" if number < 5 else "validation" for number in range(1, 8)}
    for seed, name in enumerate(names):
        image, mask = discs(1, seed)
        save(root / f"images/{name}.mha", image, (3.3, 0.6, 0.6))
        save(root / f"masks/{name}.mha", mask, (3.3, 0.6, 0.6))
    rows = [{"Patient": number, "IVD label": 1, "Pfirrman grade": number % 5 + 1} for number in range(1, 8)]
    save_tables(root, rows, names)
    return root


@pytest.mark.parametrize(
    ("dataset", "make"), [("verse", make_verse), ("spider", make_spider), ("brats", lambda root: save_task01(root, 10))]
)
def test_a_papers_suite_plans_with_the_files_and_without(tmp_path, registry, dataset, make) -> None:
    path = SUITES / f"atad2024-{dataset}.yaml"
    without = make_plan(read_suite(path, registry), lambda _: "")
    ours = [m for m in without.measurements if m.status != "published"]
    assert ours
    assert all(m.status == "failed" and "`root` is empty" in m.reason for m in ours)
    root = make(tmp_path / "data")
    plan = make_plan(read_suite(path, registry, [f"datasets.{dataset}.root={root}"]), lambda _: "")
    assert [step.kind for step in plan.steps.values()].count("prepare") == 1
    assert {m.cell.task for m in plan.measurements if m.key} >= set(plan.suite.tasks)
    assert not [m for m in plan.measurements if m.status == "failed"]
    assert [m for m in plan.measurements if m.status == "published"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verse", "size=48", "spacing=2.0"], ["8 cases", "grade 0:5 1:1 2:1 3:1", "published / here"]),
        (["spider", "valid=0.3"], ["pfirrmann", "source files: sha256"]),
        (["brats", "split=monai", "valid=0.3"], ["edema", "source files: sha256"]),
    ],
)
def test_data_check_counts_what_is_there(tmp_path, words, said) -> None:
    makers = {"verse": make_verse, "spider": make_spider, "brats": lambda root: save_task01(root, 10)}
    root = makers[words[0]](tmp_path / "data")
    if words[0] == "verse":
        words = [*words, "split=patients", "valid=0.0", "test=0.0"]
    done = CliRunner().invoke(cli, ["-p", "no:mlflow", "data", "check", *words, f"root={root}"])
    assert done.exit_code == 0, done.output
    assert "all well" in done.output
    for text in said:
        assert text in done.output, done.output


def test_a_folder_of_volumes_runs_through_the_verbs(tmp_path) -> None:
    for number in range(12):
        save(tmp_path / f"data/{number:02d}.nii.gz", head((20, 24, 18), number), (8, 8, 8))
    rows = "".join(f"{number:02d}.nii.gz,{number % 2}\n" for number in range(12))
    (tmp_path / "data/cases.csv").write_text("file,label\n" + rows)
    settings = [f"root={tmp_path / 'data'}", "size=[16,18,16]", "spacing=[9.0]", "valid=0.2", "test=0.3"]
    done = CliRunner().invoke(cli, ["-p", "no:mlflow", "data", "check", "volume-folder", *settings])
    assert done.exit_code == 0, done.output
    assert "1 x 16x18x16" in done.output
    assert "patients unknown" in done.output
    assert "label 0:" in done.output
