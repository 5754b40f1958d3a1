"""The papers' suites, and those on real images: every one plans with a folder in its set's layout and without."""

from pathlib import Path

import pytest
from plugins.volumes_made import make_adni, make_spider, make_verse, save_task01

from cfbench.leaderboard.published import papers, traps_of
from cfbench.plan import make_plan
from cfbench.registry import load
from cfbench.suite import read_suite
from plugins import layouts

SUITES = Path(__file__).parents[2] / "suites"


def make_covid(root: Path) -> Path:
    return layouts.covid(root, 2)


#: Suite to its datasets in folders of their owner's, and who makes such a folder.
FOLDERS = {
    "papers/atad2024-brats": (["brats"], lambda root: save_task01(root, 10)),
    "papers/atad2024-mimic": (["mimic"], layouts.mimic),
    "papers/atad2024-spider": (["spider"], make_spider),
    "papers/atad2024-verse": (["verse"], make_verse),
    "papers/keicher2023-verse": (["verse", "cervical"], make_verse),
    "papers/liu2025-adni": (["adni"], make_adni),
    "papers/siddiqui2025-chexpert": (["chexpert"], layouts.chexpert),
    "papers/siddiqui2025-covid": (["radiography"], make_covid),
    "cxr-cohen": (["cohen"], layouts.cohen),
    "cxr-covid": (["covid"], make_covid),
    "idrid": (["idrid"], layouts.idrid),
}
#: Suites on files that cfbench fetches, and on phantoms: `tests/core/test_plan.py` plans them all.
OTHERS = {
    *(f"papers/siddiqui2025-{name}" for name in ("ablation", "grid", "healthy", "induction", "localised", "zero-shot")),
    "papers/atad2024-retinamnist",
    "papers/atad2024-retinamnist-latents",
}


@pytest.fixture(scope="module")
def registry():
    return load(["mlflow"])


@pytest.fixture(scope="module")
def published(registry):
    return [row for path in SUITES.rglob("*.yaml") for row in read_suite(path, registry).published]


def plan_of(suite: str, registry, *overrides: str):
    return make_plan(read_suite(SUITES / f"{suite}.yaml", registry, overrides), lambda _: "")


def test_no_suite_is_forgotten_here() -> None:
    there = {path.relative_to(SUITES).with_suffix("").as_posix() for path in SUITES.rglob("*.yaml")}
    assert {*FOLDERS, *OTHERS} >= {name for name in there if name.startswith("papers/")}
    assert set(FOLDERS) <= there


@pytest.mark.parametrize("suite", FOLDERS)
def test_a_suite_on_an_owners_folder_plans_with_it_and_without(tmp_path, registry, suite) -> None:
    datasets, make = FOLDERS[suite]
    without = plan_of(suite, registry)
    ours = [m for m in without.measurements if m.status != "published"]
    assert ours
    assert not without.steps
    assert all(m.status == "failed" and "`root` is empty" in m.reason for m in ours)
    root = make(tmp_path / "data")
    plan = plan_of(suite, registry, *(f"datasets.{dataset}.root={root}" for dataset in datasets))
    assert [step.kind for step in plan.steps.values()].count("prepare") == len(datasets)
    assert {m.cell.task for m in plan.measurements if m.key} >= set(plan.suite.tasks)
    assert not [m for m in plan.measurements if m.status == "failed"]
    for skipped in (m for m in plan.measurements if m.status == "skipped"):
        assert len(skipped.reason.split()) > 4, "impossible pairings are sentences"
    assert bool(plan.suite.published) == suite.startswith("papers/")


def test_what_works_on_slices_alone_says_so_of_volumes(tmp_path, registry) -> None:
    plan = plan_of("papers/liu2025-adni", registry, f"datasets.adni.root={make_adni(tmp_path / 'data')}")
    reasons = {m.cell.generator: m.reason for m in plan.measurements if m.status == "skipped"}
    assert reasons["text-ldm"] == "text-ldm works on 2D images; these are 3D"
    assert any(m.cell.generator == "dae" and m.key for m in plan.measurements)


@pytest.mark.parametrize("table", [table for paper in papers() for table in paper.tables], ids=lambda t: t.source)
def test_every_table_of_the_papers_has_a_suite_that_knows_its_traps(published, table) -> None:
    assert [row for row in published if traps_of(row.source) == table.traps and row.source.startswith(table.source)]
