import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TINY, cfbench, write_suite

from cfbench.errors import DataError
from cfbench.execute.stale import forget, stale_plugins
from cfbench.plan import make_plan
from cfbench.registry import load
from cfbench.store import Store
from cfbench.suite import read_suite


@pytest.fixture(scope="module")
def registry():
    return load(["mlflow"])


def plan_of(folder, registry, *overrides, text=TINY, unavailable=lambda _: ""):
    return make_plan(read_suite(write_suite(folder, text), registry, overrides), unavailable)


def kinds(plan):
    return sorted(step.kind for step in plan.steps.values())


def test_shared_work_is_one_step(tmp_path, registry):
    plan = plan_of(tmp_path, registry)
    for kind in ("fit_generator", "fit_judge", "fit_attribution", "invert", "predict"):
        assert kinds(plan).count(kind) == 1, kind
    assert kinds(plan).count("encode") == 2
    assert kinds(plan).count("explain") == 4


def test_a_second_seed_doubles_what_depends_on_it_and_no_judge(tmp_path, registry):
    plan = plan_of(tmp_path, registry, "seeds=[0, 1]")
    assert kinds(plan).count("fit_generator") == 2
    assert kinds(plan).count("fit_judge") == 1


def test_inputs_come_before_what_stands_on_them(tmp_path, registry):
    plan = plan_of(tmp_path, registry)
    seen = set()
    for key, step in plan.steps.items():
        assert set(step.inputs.values()) <= seen
        seen.add(key)


def test_keys_change_with_what_matters_and_only_with_that(tmp_path, registry):
    def key(kind, *overrides):
        return next(s.key for s in plan_of(tmp_path, registry, *overrides).steps.values() if s.kind == kind)

    assert key("fit_generator") != key("fit_generator", "generators.pca.z_dim=7")
    assert key("fit_generator") != key("fit_generator", "datasets.bones.size=24")
    assert key("fit_generator") != key("fit_generator", "judge_share=0.5")
    assert key("fit_generator") == key("fit_generator", "cases=10", "tasks.fracture.positive=[3]", "metrics=[l1]")
    assert key("fit_attribution") != key("fit_attribution", "tasks.fracture.positive=[3]")


def test_a_plan_is_the_same_in_another_process(tmp_path, registry):
    code = (
        "import sys; from pathlib import Path; from cfbench.registry import load\n"
        "from cfbench.suite import read_suite\n"
        "from cfbench.plan import make_plan\n"
        "plan = make_plan(read_suite(Path(sys.argv[1]), load(['mlflow'])), lambda _: '')\nprint('\\n'.join(plan.steps))"
    )
    path = write_suite(tmp_path)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(plan_of(tmp_path, registry).steps)


def reasons(plan):
    return {m.reason for m in plan.measurements if m.status == "skipped"}


def test_what_cannot_be_had_is_a_sentence(tmp_path, registry):
    plan = plan_of(tmp_path, registry)
    assert any("at least 161 px" in reason for reason in reasons(plan))
    plan = plan_of(tmp_path, registry, "judges=null")
    assert any("needs a judge" in reason for reason in reasons(plan))
    plan = plan_of(tmp_path, registry, "metrics=[lpips-resized]", unavailable=lambda a: f"no {a.name} here")
    assert any("no alexnet" in reason for reason in reasons(plan))
    assert not plan.wanted or all(plan.steps[key].kind in ("gallery", "assess") for key in plan.wanted)
    plan = plan_of(tmp_path, registry, "cross.exclude=[{generator: pca, attribution: sweep}]")
    assert "left out by the suite (cross.exclude)" in reasons(plan)


def test_a_library_that_is_not_installed_is_a_sentence(tmp_path, registry, monkeypatch):
    text = TINY.replace("pca: {use: pca, z_dim: 12}", "words: {use: text-ldm, preset: quick}")
    assert "fit_generator" in kinds(plan_of(tmp_path, registry, text=text))
    monkeypatch.setitem(sys.modules, "diffusers", None)  # what an import finds where the extra is missing
    plan = plan_of(tmp_path, registry, text=text)
    assert "words needs diffusers, not installed here: pip install 'cfbench[ldm]'" in reasons(plan)
    assert "fit_generator" not in kinds(plan)


def test_grades_that_a_task_does_not_name_are_not_taken_for_negatives(tmp_path, registry):
    changes = ("tasks.fracture.grades=[0, 3]", "tasks.fracture.positive=[3]", "tasks.fracture.exclude_from_fit=[]")
    plan = plan_of(tmp_path, registry, *changes)
    assert any("also takes the values [1.0, 2.0]" in reason for reason in reasons(plan))
    assert all(m.cell.attribution is None for m in plan.measurements if m.key)


def test_a_target_off_the_scale_is_a_sentence(tmp_path, registry):
    plan = plan_of(tmp_path, registry, "attributions.flip.target=7")
    assert any("targets [7.0] are all outside the grades" in reason for reason in reasons(plan))


def test_excluding_a_generator_takes_its_own_rows_too(tmp_path, registry):
    plan = plan_of(tmp_path, registry, "cross.exclude=[{dataset: bones, generator: pca}]")
    assert not {"fit_generator", "reconstruct"} & set(kinds(plan))


def test_what_stands_on_changed_code_is_stale_even_before_it_is_made(tmp_path, registry):
    plan, store = plan_of(tmp_path, registry), Store(tmp_path / "store")
    fit = next(step for step in plan.steps.values() if step.kind == "fit_generator")
    with store.writing(fit.key, {"sources": {"pca": "another digest"}}) as folder:
        (folder / "x").write_text("x")
    stale = stale_plugins(plan, store, registry)
    marked = {m.cell.attribution for m in plan.measurements if m.key in stale}
    assert marked == {None, "flip", "sweep"}
    assert {m.cell.attribution for m in plan.measurements if m.key and m.key not in stale} == {"identity", "truth"}


def test_forgetting_takes_checkpoints_and_dependants_along(tmp_path, registry):
    plan, store = plan_of(tmp_path, registry), Store(tmp_path / "store")
    for step in plan.steps.values():
        with store.writing(step.key, {}) as folder:
            (folder / "x").write_text("x")
    fit = next(step for step in plan.steps.values() if step.kind == "fit_generator")
    (store.scratch(fit.key, "code") / "checkpoint").write_text("half")
    assert forget(plan, store, ["pca"]) > 10
    assert not (store.scratch(fit.key, "code") / "checkpoint").exists()
    kept = {step.kind for step in plan.steps.values() if store.has(step.key)}
    assert "fit_judge" in kept
    assert not {"fit_generator", "encode", "invert", "reconstruct", "fit_attribution"} & kept


def test_a_dataset_without_truth_or_label_skips_with_sentences(tmp_path, registry):
    text = TINY.replace("{use: vertebra-phantom, size: 20, patients: 160}", "{use: retinamnist}")
    plan = plan_of(tmp_path, registry, text=text)
    assert any("no label 'genant' (it has grade)" in reason for reason in reasons(plan))
    plan = plan_of(tmp_path, registry, "tasks.fracture.label=grade", text=text)
    assert any("also takes the values [4.0]" in reason for reason in reasons(plan))
    plan = plan_of(tmp_path, registry, "tasks.fracture.label=grade", "tasks.fracture.grades=[0,1,2,3,4]", text=text)
    assert any("exact counterfactuals" in reason for reason in reasons(plan))


def test_missing_data_files_are_faults_not_skips(tmp_path, registry):
    text = TINY.replace("{use: vertebra-phantom, size: 20, patients: 160}", "{use: retinamnist}")
    plan = plan_of(tmp_path, registry, "tasks.fracture.label=grade", text=text, unavailable=lambda _: "not there")
    assert {m.status for m in plan.measurements} == {"failed"}
    assert {m.reason for m in plan.measurements} == {"not there"}


def test_judges_without_a_suite_judge_take_no_patients(tmp_path, registry):
    plan = plan_of(tmp_path, registry, "judges=null")
    step = next(s for s in plan.steps.values() if s.kind == "fit_generator")
    assert step.payload["judge_share"] == 0


def test_a_metric_that_nothing_can_use_is_remarked(tmp_path, registry):
    plan = plan_of(tmp_path, registry, "attributions.sweep=null")
    assert any("grade-error" in remark for remark in plan.remarks)


def test_impossible_parameters_name_the_dataset(tmp_path, registry):
    with pytest.raises(DataError, match=r"datasets\.bones.*size must be"):
        plan_of(tmp_path, registry, "datasets.bones.size=4")


def test_planning_imports_nothing_heavy(tmp_path):
    path = write_suite(tmp_path)
    code = (
        "import sys\nfrom cfbench.cli.main import cli\n"
        f"cli.main(['plan', {str(path)!r}], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'pandas', 'mlflow', 'sklearn', 'requests', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "numbers will be there" in done.stdout


def test_the_suites_of_this_project_plan_without_a_finding():
    for path in sorted((Path(__file__).parents[2] / "suites").rglob("*.yaml")):
        done = cfbench("plan", path, "--steps", cwd=path.parent)
        assert done.returncode == 0, done.stderr


def test_several_tasks_share_one_latent_space(tmp_path, registry):
    one = plan_of(tmp_path, registry)
    task = "{label: genant, kind: binary, grades: [0, 1, 2, 3], positive: [3]}"
    two = plan_of(tmp_path, registry, f"tasks.collapse={task}")
    for kind in ("fit_generator", "encode", "invert", "reconstruct"):
        keys = {step.key for step in two.steps.values() if step.kind == kind}
        assert keys == {step.key for step in one.steps.values() if step.kind == kind}
    assert sum(s.kind == "fit_attribution" for s in two.steps.values()) == 2


def test_a_random_rest_needs_no_inversion(tmp_path, registry):
    plan = plan_of(tmp_path, registry, "attributions.sweep=null", "attributions.flip.rest=random", "gallery=0")
    explained = next(step for step in plan.steps.values() if step.kind == "explain" and "generator" in step.inputs)
    assert "invert" not in explained.inputs
    assert explained.payload["rest"] == "random"


def test_codes_without_images_are_probed_and_the_rest_is_a_sentence(tmp_path, registry):
    text = TINY.replace("{use: vertebra-phantom, size: 20, patients: 160}", "{use: published-latents}")
    plan = plan_of(tmp_path, registry, "tasks.fracture.label=grade", "tasks.fracture.grades=[0,1,2,3,4]", text=text)
    assert {step.kind for step in plan.steps.values()} <= {"fit_attribution", "predict", "measure", "rank"}
    assert any(m.metric == "auc" and m.key and m.cell.generator is None for m in plan.measurements)
    assert any("nothing decodes them" in reason for reason in reasons(plan))


def test_what_explains_a_classifier_needs_one(tmp_path, registry):
    adversarial = "attributions.adversarial={use: adversarial}"
    assert any("the suite names none" in reason for reason in reasons(plan_of(tmp_path, registry, adversarial)))
    plan = plan_of(tmp_path, registry, adversarial, "explains={use: cnn}")
    assert any(step.kind == "fit_explained" for step in plan.steps.values())


def test_answers_under_noise_are_made_only_for_who_asks(tmp_path, registry):
    plain = plan_of(tmp_path, registry, "metrics=[l1]")
    assert "perturbed" not in kinds(plain)
    plan = plan_of(tmp_path, registry, "metrics={l1: {use: l1}, s: {use: stability}, t: {use: stability, sigma: 0.1}}")
    assert kinds(plan).count("perturbed") == 2 * 3  # two noises; the sweep is no flip
    assert set(plain.steps) - set(plan.steps) == set()
    (one, *_) = (step for step in plan.steps.values() if step.kind == "perturbed" and "generator" in step.inputs)
    assert set(one.inputs) == {"attribution", "generator"}
    explained = next(step for step in plan.steps.values() if step.kind == "explain" and "generator" in step.inputs)
    assert one.payload["seed"] == explained.payload["seed"]
    assert {step.payload["sigma"] for step in plan.steps.values() if step.kind == "perturbed"} == {0.01, 0.1}
    random = plan_of(tmp_path, registry, "metrics=[stability]", "attributions.flip.rest=random")
    assert {step.payload["rest"] for step in random.steps.values() if step.kind == "perturbed"} == {
        "random",
        "inverted",
    }


def test_weights_that_a_suite_names_and_lacks_are_a_sentence(tmp_path, registry, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    plan = plan_of(tmp_path, registry, "metrics=[fd-dinov2, kid-dinov2]", "gallery=0")
    assert not plan.steps
    assert any(r.startswith("fd-dinov2: DINOv2 needs facebook/dinov2-small at commit") for r in reasons(plan))
    assert any("hf download facebook/dinov2-small --revision" in r for r in reasons(plan))
    plan = plan_of(tmp_path, registry, "metrics={d: {use: kid-dinov2, preset: rad-dino, download: true}}", "gallery=0")
    assert "reference" in kinds(plan)
    monkeypatch.setitem(sys.modules, "transformers", None)
    plan = plan_of(tmp_path, registry, "metrics=[fd-dinov2]", "gallery=0")
    assert "fd-dinov2 needs transformers, not installed here: pip install 'cfbench[ldm]'" in reasons(plan)


def test_a_method_with_images_and_maps_shows_both(registry):
    plan = make_plan(read_suite(Path(__file__).parents[2] / "suites" / "smoke.yaml", registry, ()), lambda _: "")
    shown = {cell.attribution: plan.steps[key].payload["view"] for cell, key in plan.galleries.items()}
    assert shown["edit"] == "counterfactual"
    assert shown["grad-cam"] == "map"
