from dataclasses import replace

import pytest
from tiny import TINY, write_suite

from cfbench.errors import SuiteError
from cfbench.registry import load
from cfbench.specs import DatasetInfo
from cfbench.suite import Ask, read_suite


@pytest.fixture(scope="module")
def registry():
    return load(["mlflow"])


def error_of(folder, text, registry, *overrides):
    with pytest.raises(SuiteError) as caught:
        read_suite(write_suite(folder, text), registry, overrides)
    return str(caught.value)


def test_reads_components_with_presets_defaults_and_overrides(tmp_path, registry):
    suite = read_suite(
        write_suite(tmp_path), registry, ["generators.pca.z_dim=5", "cases=7", "generators.x={use: dae, preset: quick}"]
    )
    assert suite.generators["pca"].params.z_dim == 5
    assert suite.cases == 7
    assert suite.generators["x"].params.objective == "v"
    assert suite.attributions["sweep"].ask == Ask("grade")
    assert suite.attributions["flip"].ask == Ask("flip")
    assert suite.tasks["fracture"].exclude == (1.0,)


def test_extends_merges_by_key_replaces_lists_and_removes_by_null(tmp_path, registry):
    write_suite(tmp_path)
    child = write_suite(
        tmp_path,
        "extends: tiny.yaml\nsuite: child\nmetrics: [l1]\nattributions: {truth: null, flip: {C: 0.5}}\nseeds: [0, 1]\n",
        "child.yaml",
    )
    suite = read_suite(child, registry)
    assert suite.name == "child"
    assert list(suite.metrics) == ["l1"]
    assert list(suite.attributions) == ["flip", "sweep", "identity"]
    assert suite.attributions["flip"].component.params.C == 0.5
    assert suite.attributions["flip"].component.params.probe == "logistic"
    assert suite.seeds == (0, 1)


def test_prompts_of_a_task_replace_the_datasets_own(tmp_path, registry):
    changed = "tasks.fracture.prompts={3: crushed bone}"
    task = read_suite(write_suite(tmp_path), registry, [changed]).tasks["fracture"]
    data = DatasetInfo(
        channels=1, space=(8, 8), labels={}, fingerprint="", prompts={"genant": {0.0: "sound", 3.0: "broken"}}
    )
    assert [task.prompt(grade, data) for grade in (0.0, 1.0, 3.0)] == ["sound", "", "crushed bone"]
    assert replace(task, prompts=()).prompt(3.0, data) == "broken"


@pytest.mark.parametrize(("prompts", "words"), [("{7: x}", "not one of the grades"), ("{3: 5}", "prompt in words")])
def test_prompts_that_cannot_be_are_refused(tmp_path, registry, prompts, words):
    assert words in error_of(tmp_path, TINY, registry, f"tasks.fracture.prompts={prompts}")


def test_a_component_whose_use_changes_starts_afresh(tmp_path, registry):
    suite = read_suite(write_suite(tmp_path), registry, ["attributions.flip={use: blur}"])
    assert suite.attributions["flip"].component.spec.name == "blur"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("cases: 40", "casses: 40", 16, ["casses", "unknown key", "did you mean 'cases'"]),
        ("use: pca,", "use: pcb,", 7, ["generators.pca.use", "did you mean 'pca'"]),
        ("z_dim: 12", "z_dmi: 12", 7, ["generators.pca.z_dmi", "did you mean 'z_dim'"]),
        ("z_dim: 12", "z_dim: many", 7, ["generators.pca.z_dim", "expected int", "'many'"]),
        ("z_dim: 12", "preset: fast", 7, ["has no preset 'fast'"]),
        ("probe: logistic}", "probe: forest}", 9, ["probe", "forest", "svm"]),
        ("truth-error,", "truth-eror,", 15, ["truth-eror", "did you mean 'truth-error'"]),
        ("target: sweep", "target: all", 10, ["target", "flip, sweep, walk, a grade"]),
        ("kind: ordinal", "kind: nominal", 5, ["binary or ordinal"]),
        ("positive: [2, 3]", "positive: [2, 5]", 5, ["grade 5 is not one of the grades"]),
        ("positive: [2, 3]", "positive: [0, 1, 2, 3]", 5, ["both classes"]),
        ("cases: 40", "cases: -1", 16, ["an integer from 0"]),
        ("cases: 40", "cases: yes please", 16, ["expected an integer", "'yes please'"]),
        ("suite: tiny", "suite: ../../tiny", 1, ["suite's name"]),
        ("use: pca,", "use: [pca],", 7, ["expected the name of a generator"]),
        ("z_dim: 12", "preset: [quick]", 7, ["expected the name of a preset"]),
        ("target: sweep", "target: .nan", 10, ["flip, sweep, walk, a grade"]),
        ("grades: [0, 1, 2, 3]", "grades: [0, 1, 2, 3, 3]", 5, ["there twice"]),
        ("cases: 40", "seeds: [0, 0]", 16, ["there twice"]),
        ("cases: 40", "cross: {exclude: [{generator: [pca]}]}", 16, ["expected the name of a generator"]),
        ("cases: 40", "cases: 40\ncases: 41", 17, ["there twice"]),
        ("cases: 40", "cases: [40", 17, ["not valid YAML"]),
        ("cases: 40", "cross: {exclude: [{generator: dea}]}", 16, ["no generator 'dea'"]),
        ("cases: 40", "cases: ${nothing.there}", None, ["nothing"]),
        ("cases: 40", "cases: ${oc.env:HOME}", None, ["oc.env"]),
        ("cases: 40", "cases: !!python/object/apply:os.system [touch pwned]", None, ["not valid YAML"]),
    ],
)
def test_every_mistake_is_named_with_file_and_line(tmp_path, registry, old, new, line, words):
    assert old in TINY
    message = error_of(tmp_path, TINY.replace(old, new, 1), registry)
    if line:
        assert f"tiny.yaml:{line}:" in message
    for word in words:
        assert word in message
    assert not list(tmp_path.glob("**/pwned"))


def test_all_mistakes_are_told_at_once(tmp_path, registry):
    text = TINY.replace("z_dim: 12", "z_dim: many").replace("cases: 40", "casses: 40").replace("size: 20", "size: big")
    message = error_of(tmp_path, text, registry)
    assert len(message.splitlines()) == 3


def test_a_wrong_override_is_named(tmp_path, registry):
    assert "command line" in error_of(tmp_path, TINY, registry, "generators.pca.zdim=3")
    assert "not valid YAML" in error_of(tmp_path, TINY, registry, "suite=${")
    assert "key.key=value" in error_of(tmp_path, TINY, registry, "generators.pca")


def test_files_that_are_no_suite(tmp_path, registry):
    for text in ("", "- a\n", "just words", "a: &a [x]\nb: {<<: *a}"):
        assert "tiny.yaml" in error_of(tmp_path, text, registry)
    bomb = "a: &a [1,2,3,4,5,6,7,8,9]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    assert "no suite" in error_of(tmp_path, bomb, registry)
    deep = "a: " + "[" * 3000 + "]" * 3000
    assert "tiny.yaml" in error_of(tmp_path, deep, registry)
    (tmp_path / "latin.yaml").write_bytes(b"suite: caf\xe9")
    with pytest.raises(SuiteError, match="UTF-8"):
        read_suite(tmp_path / "latin.yaml", registry)
    with pytest.raises(SuiteError, match="cannot be read"):
        read_suite(tmp_path / "none.yaml", registry)


def test_extends_in_a_circle_or_of_nothing(tmp_path, registry):
    write_suite(tmp_path, "extends: b.yaml\n", "a.yaml")
    write_suite(tmp_path, "extends: a.yaml\n", "b.yaml")
    with pytest.raises(SuiteError, match="extends itself"):
        read_suite(tmp_path / "a.yaml", registry)
    assert "there is no file" in error_of(tmp_path, "extends: nowhere.yaml\n", registry)


def test_the_run_folder_does_not_depend_on_metrics_but_on_all_else(tmp_path, registry):
    path = write_suite(tmp_path)
    whole = read_suite(path, registry).sha256
    assert read_suite(path, registry, ["metrics=[l1]"]).sha256 == whole
    assert read_suite(path, registry, ["cases=41"]).sha256 != whole
