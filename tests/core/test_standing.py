"""Who may be ranked: circular judges, sentinels, too few answers, barred metrics; and how rows are compared."""

import json
from statistics import fmean

import pytest
from tiny import TINY, cfbench, write_suite

from cfbench.records import read_records
from cfbench.steps.lineage import Lineage, circular, overlap

PLUGIN = '''
"""A classifier that never learns, a method that explains it, and what somebody found out about a metric."""
from cfbench.hookspecs import hookimpl
from cfbench.specs import AttributionSpec, JudgeSpec, Verdict


@hookimpl
def cfbench_judges():
    return [JudgeSpec(name="fixed", factory="fixed_impl:Fixed", summary="bright is positive")]


@hookimpl
def cfbench_attributions():
    return [AttributionSpec(name="brighten", factory="fixed_impl:Brighten", summary="adds light",
                            needs=frozenset({"images", "explained"}), fits=False,
                            provides=frozenset({"counterfactual"})),
            AttributionSpec(name="clumsy", factory="fixed_impl:Clumsy", summary="falls over", fits=False,
                            needs=frozenset({"images"}), provides=frozenset({"counterfactual"}))]


@hookimpl
def cfbench_verdicts():
    return [Verdict(metric="l1", version=1, barred="l1 likes what changes nothing"),
            Verdict(metric="ssim", version=99, barred="of another version")]
'''
IMPLEMENTATION = """
import torch
from safetensors.torch import save_file

from cfbench.types import Explanation, Judged


class Fixed:
    def __init__(self, params, data, task):
        self.task = task

    def fit(self, train, valid, context):
        pass

    def save(self, folder):
        save_file({"w": torch.ones(3)}, folder / "fixed.safetensors")

    def load(self, folder, context):
        pass

    def judge(self, x, context):
        p = 0.3 * x.flatten(1).mean(1, keepdim=True)
        k = len(self.task.grades)
        proba = torch.cat([(1 - p) / (k - 1)] * (k - 1) + [p], 1)
        return Judged(proba, p, proba @ torch.tensor(self.task.grades))


class Brighten:
    def __init__(self, params, data, task):
        pass

    def explain(self, models, batch, code, targets, context):
        assert models.classifier is not None
        dim = torch.rand(1, generator=torch.Generator().manual_seed(context.seed)).item()
        return Explanation((batch.x + 0.05 * dim).clamp(0, 1), ("ok",) * len(batch))


class Clumsy:
    def __init__(self, params, data, task):
        pass

    def explain(self, models, batch, code, targets, context):
        raise RuntimeError("fell over")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("standing")
    info = folder / "site" / "fixed-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fixed\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[cfbench]\nfixed = fixed_plugin\n")
    (folder / "site" / "fixed_plugin.py").write_text(PLUGIN)
    (folder / "site" / "fixed_impl.py").write_text(IMPLEMENTATION)
    text = TINY.replace("cnn: {use: cnn, steps: 30}", "fixed: {use: fixed}")
    skip = ("metrics:", "generators:", "  pca:", "  flip:", "  sweep:", "gallery:")
    lines = [line for line in text.splitlines() if not line.startswith(skip)]
    lines.insert(lines.index("attributions:") + 1, "  brighten: {use: brighten}\n  clumsy: {use: clumsy}")
    suite = write_suite(
        folder,
        "\n".join(
            [*lines, "explains: {use: fixed}", "metrics: [flip, l1, ssim, truth-error]", "gallery: 0", "seeds: [0, 1]"]
        ),
    )
    home = {"CFBENCH_HOME": str(folder / "home"), "PYTHONPATH": str(folder / "site")}
    done = cfbench("-p", "no:mlflow", "run", suite, "--device", "cpu", cwd=folder, **home)
    assert done.returncode == 1, done.stdout + done.stderr
    (records,) = folder.glob("runs/*/*/records.jsonl")
    ranks = json.loads((records.parent / "ranks.json").read_text())
    by_seed = sorted(read_records(records), key=lambda r: -r.cell.seed)  # the first seed's comes last, and stays
    values = {}
    for record in by_seed:
        values.setdefault((record.cell.attribution, record.metric), []).append(record.value)
    means = {name: fmean(found) for name, found in values.items() if None not in found}
    return {(r.cell.attribution, r.metric): r for r in by_seed}, ranks, means


def test_a_judge_with_the_weights_of_what_it_judges_is_circular(run):
    records, _, _ = run
    assert any("circular" in why for why in records["brighten", "flip"].unranked)
    assert not any("circular" in why for why in records["truth", "flip"].unranked)


def test_a_metric_that_failed_its_own_test_is_shown_and_not_ranked(run):
    records, _, _ = run
    assert records["brighten", "l1"].unranked == ("l1 likes what changes nothing",)
    assert records["brighten", "ssim"].unranked == ()


def test_sentinels_have_no_tier_and_others_do(run):
    _, ranks, _ = run
    (group,) = [g for g in ranks if g["metric"] == "truth-error"]
    assert set(group["tiers"]) == {"brighten"}
    assert "sentinel" in group["reasons"]["identity"]


def test_pairs_are_the_differences_of_the_values_over_the_same_lines(run):
    _, ranks, means = run
    (group,) = [g for g in ranks if g["metric"] == "truth-error"]
    assert len(group["pairs"]) == 3
    for pair in group["pairs"]:
        expected = means[pair["a"], "truth-error"] - means[pair["b"], "truth-error"]
        assert pair["difference"] == pytest.approx(expected, abs=1e-12)
        assert pair["low"] <= pair["difference"] <= pair["high"]
        assert (pair["p"] <= 0.05) == (not pair["low"] <= 0 <= pair["high"])


def test_how_little_changes_is_ranked_only_where_targets_are_met(run):
    _, ranks, _ = run
    (group,) = [g for g in ranks if g["metric"] == "ssim"]
    assert "brighten" not in group["tiers"]
    assert "flip" in group["reasons"]["brighten"]


def of(name, learnt, patients, weights=()):
    return Lineage(name, learnt, frozenset(patients), frozenset(weights))


def test_labels_of_shared_patients_make_a_judge_circular_and_images_do_not():
    judge = of("cnn", "labels", {"a", "b"}, {"w"})
    assert "1 patients" in circular(of("the explained cnn", "labels", {"b", "c"}), judge)
    assert circular(of("generator dae", "images", {"b", "c"}), judge) == ""
    assert "1 patients in common" in overlap(of("generator dae", "images", {"b", "c"}), judge)
    assert "weights" in circular(of("generator dae", "images", {"c"}, {"w"}), judge)
    assert circular(of("attribution x", "labels", {"c"}), judge) == overlap(of("x", "labels", {"c"}), judge) == ""


def test_a_row_that_fails_does_not_keep_the_others_from_being_compared(run):
    records, ranks, _ = run
    assert "fell over" in records["clumsy", "l1"].reason
    (group,) = [g for g in ranks if g["metric"] == "truth-error"]
    assert group["reasons"]["clumsy"] == "it has no number for every seed"
    assert {name for pair in group["pairs"] for name in (pair["a"], pair["b"])} == {"brighten", "identity", "truth"}


def test_a_row_of_several_seeds_has_the_interval_of_their_mean(run):
    _, ranks, means = run
    (group,) = [g for g in ranks if g["metric"] == "l1"]
    low, high = group["intervals"]["brighten"]
    assert 0 <= low < means["brighten", "l1"] < high
