"""Datasets that are read once, by a step of their own, into the store."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import cfbench, write_suite

from cfbench.errors import PluginError
from cfbench.plan import make_plan, prepare_step
from cfbench.protocols import Context
from cfbench.registry import load
from cfbench.steps.prepare import prepare
from cfbench.steps.work import Work
from cfbench.store import Store
from cfbench.suite import read_suite

SUITE = """\
suite: own
datasets:
  mine: {{use: image-folder, root: {root}, size: 16, test: 0.3}}
tasks:
  bright: {{label: class, kind: binary, grades: [0, 1], positive: [1]}}
generators:
  pca: {{use: pca, z_dim: 4}}
attributions:
  flip: {{use: hyperplane, probe: logistic}}
metrics: [auc, l1]
gallery: 2
allow: {{mine: {{near-duplicates: toy images, identical-images: toy images}}}}
"""


@pytest.fixture(scope="module")
def registry():
    return load(["mlflow"])


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for value, name in ((60, "dark"), (140, "light")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(40):
            pixels = rng.normal(value, 25, (20, 20)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i:03d}.png")
    return tmp_path / "data"


def plan_of(tmp_path, registry, root, *overrides):
    return make_plan(read_suite(write_suite(tmp_path, SUITE.format(root=root)), registry, overrides), lambda _: "")


def test_every_step_stands_on_the_prepared_files(tmp_path, registry, root):
    plan = plan_of(tmp_path, registry, root)
    (first,) = [step for step in plan.steps.values() if step.kind == "prepare"]
    assert not first.waits_for
    others = [step for step in plan.steps.values() if step is not first]
    assert others
    assert all(step.inputs["prepared"] == first.key for step in others)
    assert first.key == prepare_step(plan.suite.datasets["mine"], plan.info["mine"]).key
    audit = plan.audits["mine"]
    assert all(audit in step.after for step in others if step.kind == "fit_generator")


def test_the_key_follows_the_files_and_what_is_made_of_them(tmp_path, registry, root):
    def key(*overrides):
        return next(s.key for s in plan_of(tmp_path, registry, root, *overrides).steps.values() if s.kind == "prepare")

    first = key()
    assert key("generators.pca.z_dim=5") == first
    assert key("datasets.mine.size=12") != first
    (root / "dark" / "new.png").write_bytes(b"x")
    assert key() != first


def test_datasets_that_prepare_nothing_are_planned_as_before(tmp_path, registry):
    from tiny import TINY

    plan = make_plan(read_suite(write_suite(tmp_path, TINY), registry), lambda _: "")
    assert not any(step.kind == "prepare" or "prepared" in step.inputs for step in plan.steps.values())


def test_a_folder_that_is_not_there_is_a_sentence_in_the_plan(tmp_path, registry):
    plan = plan_of(tmp_path, registry, "''")
    assert not plan.steps
    assert {m.status for m in plan.measurements} == {"failed"}
    assert all("`root` is empty: set it to the folder" in m.reason for m in plan.measurements)


def test_a_run_prepares_once_and_copies_no_image_into_its_folder(tmp_path, root):
    home = {"CFBENCH_HOME": str(tmp_path / "home")}
    suite = write_suite(tmp_path, SUITE.format(root=root))
    (root / "dark" / "cut.png").write_bytes((root / "dark" / "000.png").read_bytes()[:60])
    done = cfbench("-p", "no:mlflow", "run", suite, "--device", "cpu", cwd=tmp_path, **home)
    assert done.returncode == 0, done.stdout + done.stderr
    made = list((tmp_path / "home" / "store" / "prepare").glob("*/*/prepared.json"))
    assert len(made) == 1
    assert len(json.loads(made[0].read_text())["left"]) == 1
    again = cfbench("data", "check", "image-folder", f"root={root}", "size=16", "test=0.3", cwd=tmp_path, **home)
    assert again.returncode == 0, again.stderr
    assert "left out: 1 cases" in again.stdout
    assert "cut.png" in again.stdout
    assert list((tmp_path / "home" / "store" / "prepare").glob("*/*/prepared.json")) == made  # found, not made again
    (index,) = tmp_path.glob("runs/*/*/gallery/index.json")
    cells = json.loads(index.read_text())["cells"]
    assert cells
    assert not any(cell["public"] for cell in cells)
    for written in tmp_path.glob("runs/**/*"):
        assert written.name not in {"images.raw", "cases.parquet"}


def test_a_dataset_without_the_methods_is_told_so(tmp_path, registry):
    from tiny import TINY

    bones = read_suite(write_suite(tmp_path, TINY), registry).datasets["bones"]
    work = Work({"dataset": bones.to_json()}, {}, tmp_path, Context(0, tmp_path), registry, Store(tmp_path / "store"))
    with pytest.raises(PluginError, match="vertebra-phantom says that it prepares"):
        prepare(work)


SUITES = Path(__file__).parents[2] / "suites"


@pytest.mark.parametrize(
    ("suite", "dataset"),
    [("papers/atad2024-mimic", "mimic"), ("idrid", "idrid"), ("papers/siddiqui2025-covid", "radiography")],
)
def test_a_suite_on_real_data_plans_with_the_files_and_without(tmp_path, registry, suite, dataset):
    layouts = pytest.importorskip("plugins.layouts")
    make = {"mimic": layouts.mimic, "idrid": layouts.idrid, "radiography": lambda root: layouts.covid(root, 2)}[dataset]
    path = SUITES / f"{suite}.yaml"
    without = make_plan(read_suite(path, registry), lambda _: "")
    ours = [m for m in without.measurements if m.status != "published"]
    assert ours
    assert all(m.status == "failed" and "`root` is empty" in m.reason for m in ours)
    root = make(tmp_path / "data")
    plan = make_plan(read_suite(path, registry, [f"datasets.{dataset}.root={root}"]), lambda _: "")
    assert [step.kind for step in plan.steps.values()].count("prepare") == 1
    planned = {m.cell.task for m in plan.measurements if m.key}
    assert planned >= set(plan.suite.tasks)
    assert not [m for m in plan.measurements if m.status == "failed"]
