"""Answers under noise, from the plan to the number: the steps really run, on a phantom, with PCA and a hyperplane."""

import json
from dataclasses import asdict, replace
from math import pi, sqrt

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from cfbench.errors import UndefinedError
from cfbench.plan import make_plan
from cfbench.protocols import Context, Models
from cfbench.registry import load
from cfbench.specs import NoParams
from cfbench.steps.explain import noised
from cfbench.steps.measure import measure, take
from cfbench.steps.views import build_view
from cfbench.steps.work import Work
from cfbench.store import Store
from cfbench.suite import read_suite
from cfbench.types import Batch, Explanation, Targets, View
from cfbench.worker import make
from cfbench_metrics.params import Noise
from cfbench_metrics.stability import correlation_of_maps, map_stability, stability
from cfbench_sentinels.maps import edge_map as sentinel

torch.set_num_threads(1)

SIGMA = 0.02
SUITE = f"""\
suite: stability
datasets:
  bones: {{use: vertebra-phantom, size: 20, patients: 120}}
tasks:
  fracture: {{label: genant, kind: ordinal, grades: [0, 1, 2, 3], positive: [2, 3], exclude_from_fit: [1]}}
generators:
  pca: {{use: pca, z_dim: 8}}
attributions:
  flip: {{use: hyperplane, probe: logistic}}
  identity: {{use: identity}}
  truth: {{use: truth}}
  edge-map: {{use: edge-map}}
  random-map: {{use: random-map}}
metrics:
  stability: {{use: stability, sigma: {SIGMA}}}
  least: {{use: stability, sigma: 1.0e-6}}
  map-stability: {{use: map-stability, sigma: {SIGMA}}}
cases: 30
gallery: 0
"""


class Bench:
    """A suite whose steps are done in this process, and what they stored."""

    def __init__(self, folder):
        path = folder / "suite.yaml"
        path.write_text(SUITE, encoding="utf-8")
        self.registry, self.store = load(["mlflow"]), Store(folder / "store")
        self.plan = make_plan(read_suite(path, self.registry, ()), lambda _: "")
        for step in self.plan.steps.values():
            make(asdict(step), {"device": "cpu", "threads": 1}, self.registry, self.store, lambda *_: None)

    def step(self, metric, attribution):
        key = next(
            m.key for m in self.plan.measurements if (m.metric, m.cell.attribution) == (metric, attribution) and m.key
        )
        return self.plan.steps[key]

    def work(self, step, out, **inputs):
        context = Context(step.payload["seed"], out)
        return Work(step.payload, {**step.inputs, **inputs}, out, context, self.registry, self.store)

    def result(self, metric, attribution):
        folder = self.store.folder(self.step(metric, attribution).key)
        return json.loads((folder / "result.json").read_text()), pd.read_parquet(folder / "scores.parquet")

    def stored(self, step, role):
        return self.store.folder(step.inputs[role])


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("stability"))


def factual(bench, attribution, out):
    """Return the view's factual images and the same with noise."""
    work = bench.work(bench.step("stability", attribution), out)
    view = build_view(work, "counterfactual")
    return view, noised(view.x, view.ids, SIGMA)


def test_the_identity_gets_the_noise_itself(bench, tmp_path):
    view, other = factual(bench, "identity", tmp_path)
    result, scores = bench.result("stability", "identity")
    expected = (other - view.x).abs().flatten(1).double().mean(1)
    assert scores["score"].to_numpy() == pytest.approx(expected.numpy(), abs=1e-9)
    assert result["value"] == pytest.approx(expected.mean().item(), abs=1e-9)
    inside = (other > 0) & (other < 1)
    unclipped = (other - view.x)[inside].abs().double().mean().item()
    assert unclipped == pytest.approx(SIGMA * sqrt(2 / pi), rel=0.05)  # E|e| of a Gaussian


def test_what_does_not_look_at_the_image_gets_nothing(bench):
    assert bench.result("stability", "truth")[0]["value"] == 0


def test_a_linear_generator_with_a_reflection_is_the_closed_form(bench, tmp_path):
    """G is affine between the cuts at 0 and 1: the shift is that of the noise through encoder, mirror and decoder."""
    view, other = factual(bench, "flip", tmp_path)
    source = bench.plan.steps[bench.step("stability", "flip").inputs["source"]]
    pca = load_file(bench.stored(source, "generator") / "pca.safetensors")
    plane = load_file(bench.stored(source, "attribution") / "plane.safetensors")
    b = json.loads((bench.stored(source, "attribution") / "plane.json").read_text())["b"]
    V, mean, n, mu, spread = (
        each.double().numpy() for each in (pca["V"], pca["mean"], plane["n"], plane["mu"], plane["sigma"])
    )
    mirror = np.eye(len(n)) - 2 * np.outer(n, n) / (n @ n)

    def answer(x):
        u = ((x.flatten(1).double().numpy() - mean) @ V.T - mu) / spread
        return mean + ((u @ mirror - 2 * b * n / (n @ n)) * spread + mu) @ V

    before, after = answer(view.x), answer(other)
    expected = np.abs(np.clip(before, 0, 1) - np.clip(after, 0, 1)).mean(1)
    assert np.abs(before - view.x.flatten(1).numpy()).mean() > 0.01  # it does flip something
    _, scores = bench.result("stability", "flip")
    assert scores["score"].to_numpy() == pytest.approx(expected, abs=1e-6)
    e = (other - view.x).flatten(1).double().numpy()
    linear = e @ V.T @ np.diag(1 / spread) @ mirror @ np.diag(spread) @ V
    uncut = ((before > 0.0) & (before < 1.0) & (after > 0.0) & (after < 1.0)).mean()
    assert uncut > 0.5
    assert (after - before) == pytest.approx(linear, abs=1e-9)  # the shift is A e, whatever the image


def test_maps_are_correlated_with_those_under_noise(bench, tmp_path):
    work = bench.work(bench.step("map-stability", "edge-map"), tmp_path)
    view = build_view(work, "map")
    other = noised(view.x, view.ids, SIGMA)
    pairs = zip(view.heat, edges(work, view.x), edges(work, other), strict=True)
    expected = []
    for stored, before, after in pairs:
        assert torch.equal(stored, before)
        expected.append(np.corrcoef(before.flatten().double(), after.flatten().double())[0, 1])
    assert bench.result("map-stability", "edge-map")[1]["score"].to_numpy() == pytest.approx(expected, abs=1e-9)
    assert 0.5 < np.mean(expected) < 0.9999
    assert bench.result("map-stability", "random-map")[0]["value"] == pytest.approx(1, abs=1e-12)


def edges(work, x):
    """What the sentinel `edge-map` answers, asked by hand."""
    answers = sentinel(NoParams(), work.info, work.known_task)
    batch = Batch(tuple(map(str, range(len(x)))), ("p",) * len(x), x, {})
    return answers.explain(Models(), batch, None, Targets("flip", torch.zeros(len(x))), work.context).heat


def test_maps_without_contrast(tmp_path):
    draw = torch.rand((3, 1, 5, 5), generator=torch.Generator().manual_seed(1))
    flat = torch.full((3, 1, 5, 5), 0.1)
    assert correlation_of_maps(draw, -draw).tolist() == pytest.approx([-1] * 3)
    assert correlation_of_maps(draw, flat).tolist() == [0] * 3
    assert correlation_of_maps(flat, draw).isnan().all()
    assert correlation_of_maps(draw, 7 * draw + 2).tolist() == pytest.approx([1] * 3)
    ok = ("ok",) * 3
    view = View("map", None, ok, ok, ok, heat=draw, perturbed=Explanation(None, ok))
    with pytest.raises(UndefinedError, match="no maps under noise"):
        map_stability(Noise()).score(view, Context(0, tmp_path))


def test_noise_that_vanishes_moves_nothing(bench):
    for method in ("identity", "flip", "truth"):
        assert bench.result("least", method)[0]["value"] < 2e-6


def test_a_line_without_an_answer_under_noise_is_failed(bench, tmp_path):
    step = bench.step("stability", "identity")
    lost = "perturbed-" + "0" * 40
    with bench.store.writing(lost, {"inputs": {}}) as folder:
        for name in ("tensors.safetensors", "lines.json"):
            (folder / name).write_bytes((bench.stored(step, "perturbed") / name).read_bytes())
        lines = json.loads((folder / "lines.json").read_text())
        lines["status"][2] = "nothing to decode"
        (folder / "lines.json").write_text(json.dumps(lines))
    work = bench.work(step, tmp_path, perturbed=lost)
    view = build_view(work, "counterfactual")
    assert view.status[:4] == ("ok", "ok", "under noise: nothing to decode", "ok")
    measure(work)
    scores = pd.read_parquet(tmp_path / "scores.parquet")["score"]
    assert scores[2] == 1
    assert (scores.drop(2) < SIGMA).all()
    assert json.loads((tmp_path / "result.json").read_text())["coverage"] == pytest.approx(1 - 1 / len(view))


def test_noise_is_each_cases_own():
    x = torch.full((3, 1, 40, 40), 0.5)
    found = noised(x, ("a", "b", "a"), 0.1)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert torch.equal(noised(x[1:2], ("b",), 0.1)[0], found[1])
    assert (found - 0.5).std().item() == pytest.approx(0.1, rel=0.05)
    cut = noised(torch.zeros(1, 1, 40, 40), ("a",), 0.1)
    assert cut.min() == 0
    assert torch.equal(cut > 0, found[:1] > 0.5)
    before = torch.get_rng_state()
    noised(x, ("a", "b", "c"), 0.1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_number_is_the_mean_difference_and_needs_both_answers(tmp_path):
    x, y = torch.rand((2, 4, 1, 6, 6), generator=torch.Generator().manual_seed(0))
    names = tuple("abcd")
    ok = ("ok",) * 4
    view = View("counterfactual", None, names, names, ok, x=x, x_out=x, perturbed=Explanation(y, ok))
    context, metric = Context(0, tmp_path), stability(Noise())
    expected = np.abs(x.numpy().astype(float) - y.numpy()).mean((1, 2, 3))
    assert metric.score(view, context).numpy() == pytest.approx(expected, abs=1e-7)
    some = take(view, [3, 1])
    assert metric.score(some, context).numpy() == pytest.approx(expected[[3, 1]], abs=1e-7)
    with pytest.raises(UndefinedError, match="no answers under noise"):
        metric.score(replace(view, perturbed=None), context)


@pytest.mark.parametrize("sigma", [0, -1, 0.6, float("nan")])
def test_impossible_noise_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be above 0"):
        Noise(sigma=sigma)
