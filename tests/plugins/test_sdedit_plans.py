"""Which pairings of edits and generators are impossible, and that planning says so in a sentence."""

import pytest

from cfbench.plan import make_plan, rules
from cfbench.registry import load
from cfbench.suite import read_suite

SUITE = """\
suite: edits
datasets:
  chest: {use: chest-phantom, size: 32, patients: 60}
tasks:
  opacity: {label: opacity, kind: ordinal, grades: [0, 1, 2, 3], positive: [1, 2, 3]}
  side: {label: side, grades: [0, 1], positive: [1]}
generators:
  dae: {use: dae, preset: quick}
  pca: {use: pca}
  text-ldm: {use: text-ldm, preset: quick}
attributions:
  edit: {use: sdedit, organ: lungs}
  plane: {use: hyperplane}
metrics: [l1, auprc, auc]
"""


@pytest.fixture(scope="module")
def registry():
    return load(["mlflow"])


@pytest.fixture
def read(tmp_path, registry):
    def suite(*overrides):
        path = tmp_path / "edits.yaml"
        path.write_text(SUITE, encoding="utf-8")
        return read_suite(path, registry, overrides)

    return suite


def reasons(plan, generator, attribution):
    cells = [m for m in plan.measurements if (m.cell.generator, m.cell.attribution) == (generator, attribution)]
    assert cells
    return {m.reason for m in cells if m.status == "skipped"}, [m for m in cells if m.key]


@pytest.mark.parametrize("generator", ["dae", "pca"])
def test_a_generator_that_does_not_edit_is_a_sentence(read, generator):
    skipped, planned = reasons(make_plan(read(), lambda _: ""), generator, "edit")
    assert skipped == {f"edit needs editing by prompt, which {generator} does not provide"}
    assert not planned


def test_text_ldm_is_edited_and_its_latents_are_probed(read):
    plan = make_plan(read(), lambda _: "")
    for attribution, views in (("edit", {"counterfactual", "map"}), ("plane", {"probe", "counterfactual"})):
        skipped, planned = reasons(plan, "text-ldm", attribution)
        assert not skipped
        assert {m.view for m in planned} == views


def test_a_walk_is_nothing_that_words_can_ask_for(read):
    skipped, planned = reasons(
        make_plan(read("attributions.edit.target=walk", "metrics=[auprc]"), lambda _: ""), "text-ldm", "edit"
    )
    assert skipped == {"edit cannot be asked for a offset (it answers flip, grade)"}
    assert not planned


def why(read, *overrides, task="opacity"):
    suite = read(*overrides)
    chest = suite.datasets["chest"]
    return rules.why_not_params(suite.attributions["edit"], suite.tasks[task], chest.spec.describe(chest.params))


def test_words_and_masks_that_are_not_there_are_sentences(read):
    assert not why(read)
    assert not why(read, task="side")
    found = why(read, "attributions.edit.organ=liver")
    assert found == "edit needs the mask 'liver' (organ), which the dataset lacks (it has: lesion, lungs, heart)"
    mute = ("tasks.opacity.label=cardiothoracic_ratio",)
    assert why(read, *mute).startswith("edit has no words for grade 0 of cardiothoracic_ratio: give the task `prompts:")
    assert not why(read, *mute, "attributions.edit.prompt=wide heart")
    assert not why(read, *mute, "attributions.edit.text=false")
    assert not why(read, *mute, "tasks.opacity.prompts={0: a, 1: b}")
    # A flip asks for grade 0 or 1, a sweep for all four.
    sweep = (*mute, "tasks.opacity.prompts={0: a, 1: b}", "attributions.edit.target=sweep")
    assert "grade 2" in why(read, *sweep)
    assert not why(read, "attributions.edit.target=[-1, 0, 3, 5]")
    assert "grade 1.5" in why(read, "attributions.edit.target=1.5")


def test_parameters_without_an_opinion_are_fine(read):
    suite = read()
    chest = suite.datasets["chest"]
    info = chest.spec.describe(chest.params)
    assert not rules.why_not_params(suite.attributions["plane"], suite.tasks["opacity"], info)
