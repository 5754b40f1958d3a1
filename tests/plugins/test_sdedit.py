"""SDEdit against closed forms: a generator whose denoiser is exact says what every edit must be."""

import logging
from dataclasses import replace

import pytest
import torch
from gaussian_editor import GaussianEditor, gain
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from cfbench.errors import UndefinedError
from cfbench.protocols import Attribution, Context, EditingGenerator, Models
from cfbench.specs import DatasetInfo, Task
from cfbench.types import Batch, Prediction, Targets
from cfbench_metrics.auprc import average_precision
from cfbench_pca.model import PCA
from cfbench_pca.plugin import PCAParams
from cfbench_sdedit.attribution import SDEdit
from cfbench_sdedit.maps import difference, over_draws, part_of, shown
from cfbench_sdedit.plugin import SDEditParams, cfbench_attributions

torch.set_num_threads(1)

SIDE = 12
INFO = DatasetInfo(
    channels=1,
    space=(SIDE, SIDE),
    labels={"g": (0.0, 1.0, 2.0)},
    fingerprint="test",
    masks=("organ", "lesion"),
    prompts={"g": {0.0: "healthy", 1.0: "sick"}},
)
TASK = Task(name="t", label="g", kind="ordinal", grades=(0, 1, 2), positive=(1, 2))
#: Brighter by .2 inside the lesion, so that nothing is ever clipped.
LESION = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
LESION[:, 2:6, 7:11] = True
VARIANCE = 0.02
HEALTHY = torch.full((1, SIDE, SIDE), 0.4, dtype=torch.float64)
SICK = HEALTHY + 0.2 * LESION
MEANS = {"healthy": HEALTHY, "sick": SICK, "": (HEALTHY + SICK) / 2, "odd": 1 - HEALTHY, "broken": HEALTHY * torch.nan}
PLAIN = {"guidance": 1.0, "steps": 400}


def coarse(means, by):
    return {prompt: torch.nn.functional.avg_pool2d(mean, by) for prompt, mean in means.items()}


def batch_of(x, prefix="c"):
    ids = tuple(f"{prefix}{i}" for i in range(len(x)))
    organ = torch.zeros(len(x), 1, SIDE, SIDE, dtype=torch.bool)
    organ[..., : SIDE // 2] = True
    lesion = LESION.expand(len(x), -1, -1, -1)
    return Batch(ids, ids, x, {}, masks={"organ": organ, "lesion": lesion})


def images(mean, n=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    return mean + VARIANCE**0.5 * torch.randn(n, 1, SIDE, SIDE, generator=random, dtype=torch.float64)


def explain(tmp_path, x, target, generator=None, task=TASK, seed=0, batch=None, kind="flip", **params):
    attribution = SDEdit(SDEditParams(**params), INFO, task)
    value = torch.tensor(target if isinstance(target, list) else [target] * len(x))
    models = Models(generator or GaussianEditor(MEANS, VARIANCE))
    context = Context(seed=seed, folder=tmp_path)
    return attribution.explain(models, batch or batch_of(x), None, Targets(kind, value.float()), context)


def test_it_is_an_attribution_that_learns_nothing_and_thinks_nothing(tmp_path):
    attribution = SDEdit(SDEditParams(), INFO, TASK)
    assert isinstance(attribution, Attribution)
    assert isinstance(GaussianEditor(MEANS, VARIANCE), EditingGenerator)
    context = Context(seed=0, folder=tmp_path)
    assert attribution.predict(Models(), batch_of(images(SICK)), None, context) == Prediction()
    attribution.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_defaults_are_the_tables_and_presets_the_figure_and_the_ablations():
    (spec,) = cfbench_attributions()
    assert spec.needs == {"editing"}
    assert spec.provides == {"counterfactual", "heat"}
    assert not spec.fits
    plain = spec.params()
    assert (plain.strength, plain.guidance, plain.steps) == (0.55, 4.0, 75)
    figure = spec.params(**spec.presets["figure"])
    assert (figure.strength, figure.guidance, figure.steps) == (0.85, 7.5, 75)
    assert [spec.params(**spec.presets[p]).text for p in ("no-text", "no-image-prior", "neither")] == [
        False,
        True,
        False,
    ]
    assert [spec.params(**spec.presets[p]).strength for p in ("no-image-prior", "neither")] == [1, 1]
    assert spec.params(**spec.presets["meng2022"]).repeats == 3


@pytest.mark.parametrize("strength", [0.2, 0.55, 0.85])
def test_the_mean_and_the_spread_of_the_draws_are_those_of_the_edited_gaussian(tmp_path, strength):
    x, n = images(SICK), 200
    settings = {**PLAIN, "strength": strength, "samples": n, "part": "signed"}
    r, a, s = gain(strength, VARIANCE)
    mean = explain(tmp_path, x, 0, **settings).heat
    edited = HEALTHY + r * a * (x - HEALTHY)
    noise = r * s
    # Each pixel is the mean of n draws, and there are 432 of them: none is further off than 4.5 standard errors.
    assert_close(mean, x - edited, rtol=0, atol=4.5 * noise / n**0.5 + 5e-3)
    spread = explain(tmp_path, x, 0, draws="spread", **settings).heat
    assert spread.mean().item() == pytest.approx(noise, rel=0.03)
    assert spread.std().item() == pytest.approx(noise / (2 * (n - 1)) ** 0.5, rel=0.25)


def test_without_noise_of_its_own_an_edit_is_the_closed_form_as_steps_grow(tmp_path):
    x = images(SICK, n=2)
    quiet, loud = images(HEALTHY, n=2, seed=1), {**PLAIN, "strength": 0.55}
    r, a, _ = gain(0.55, VARIANCE)
    errors = []
    for steps in (50, 200, 800):
        # The same ids get the same noise, so the difference of two edits has none.
        one, other = (explain(tmp_path, i, 0, **{**loud, "steps": steps}).x_cf for i in (x, quiet))
        errors.append(float(((one - other) - r * a * (x - quiet)).abs().max()))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 2e-3


def test_repeats_forget_the_image_more_each_time(tmp_path):
    x, y = images(SICK, n=2), images(HEALTHY, n=2, seed=1)
    r, a, _ = gain(0.3, VARIANCE)
    for repeats in (1, 2, 3):
        settings = {**PLAIN, "strength": 0.3, "repeats": repeats}
        one, other = (explain(tmp_path, i, 0, **settings).x_cf for i in (x, y))
        assert_close(one - other, (r * a) ** repeats * (x - y), rtol=0, atol=1e-2 * repeats * (r * a) ** repeats)


@pytest.mark.parametrize(("guidance", "weight"), [(0.01, 1), (1.0, 1), (2.0, 2), (4.0, 4)])
def test_guidance_goes_beyond_the_words_and_at_or_below_one_there_is_none(tmp_path, guidance, weight):
    x = images(HEALTHY, n=2)
    settings = {"strength": 0.7, "steps": 400, "guidance": guidance}
    sick, plain = (explain(tmp_path, x, 1, text=text, **settings).x_cf for text in (True, False))
    r, a, _ = gain(0.7, VARIANCE)
    moved = (1 - r * a) * weight * (SICK - MEANS[""])
    assert_close(sick - plain, moved.expand_as(x), rtol=0, atol=1e-3)


def test_that_there_is_no_guidance_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        SDEdit(SDEditParams(guidance=0.4), INFO, TASK)
        assert "guidance 0.4 is at most 1, which is no guidance" in caplog.text
        caplog.clear()
        SDEdit(SDEditParams(), INFO, TASK)
    assert not caplog.text


def test_from_pure_noise_the_image_has_no_say(tmp_path):
    settings = {**PLAIN, "strength": 1.0}
    one, other = (explain(tmp_path, images(SICK, seed=seed), 0, **settings).x_cf for seed in (1, 2))
    assert_close(one, other, rtol=0, atol=1e-3)


def test_without_text_the_target_has_no_say(tmp_path):
    x = images(SICK)
    healthy, sick = (explain(tmp_path, x, target, text=False).x_cf for target in (0, 1))
    assert torch.equal(healthy, sick)
    assert not torch.equal(healthy, explain(tmp_path, x, 0).x_cf)


def test_at_strength_0_only_the_autoencoder_changes_anything_and_the_residual_takes_it_away(tmp_path):
    x, lossy = images(SICK), GaussianEditor(coarse(MEANS, 2), VARIANCE, coarse=2)
    answer = explain(tmp_path, x, 0, lossy, strength=0.0, part="signed")
    assert_close(answer.x_cf, lossy.rebuilt(x))
    assert_close(answer.heat, x - lossy.rebuilt(x))
    assert answer.heat.abs().max() > 0.1
    assert torch.equal(explain(tmp_path, x, 0, lossy, strength=0.0, residual=True).heat, torch.zeros_like(x))
    edited = explain(tmp_path, x, 0, lossy, part="signed", residual=True)
    assert_close(edited.heat, lossy.rebuilt(x) - edited.x_cf)


@pytest.mark.parametrize(("target", "x"), [(0.0, SICK), (1.0, HEALTHY)])
def test_the_map_is_abnormal_minus_normal_whichever_is_asked_for(tmp_path, target, x):
    heat = explain(tmp_path, x[None], target, part="signed", strength=0.85, samples=20).heat[0]
    assert heat[LESION].mean() > 0.1
    assert abs(heat[~LESION].mean()) < 0.02
    dark = {**MEANS, "sick": HEALTHY - 0.2 * LESION, "": HEALTHY - 0.1 * LESION}
    x = (dark["sick"] if target == 0 else HEALTHY)[None]
    heat = explain(tmp_path, x, target, GaussianEditor(dark, VARIANCE), part="signed", strength=0.85, samples=20).heat[
        0
    ]
    assert heat[LESION].mean() < -0.1


def test_a_line_that_asks_for_a_positive_grade_gets_the_other_sign(tmp_path):
    x = torch.stack([SICK, HEALTHY])
    answer = explain(tmp_path, x, [0, 1], part="signed")
    assert_close(answer.heat[0], (x - answer.x_cf)[0])
    assert_close(answer.heat[1], (answer.x_cf - x)[1])


def test_the_map_finds_the_planted_lesion_better_than_noise_and_more_draws_find_it_better(tmp_path):
    x = images(SICK, n=4)

    def found(**params):
        heat = explain(tmp_path, x, 0, strength=0.7, part="positive", **params).heat
        return sum(float(average_precision(line.flatten(), LESION.flatten())) for line in heat) / len(x)

    chance = float(LESION.double().mean())
    one, many = found(), found(samples=12)
    assert chance + 0.2 < one < many


def test_draws_differ_and_the_first_is_the_counterfactual(tmp_path):
    x = images(SICK)
    one, four = (explain(tmp_path, x, 0, samples=n) for n in (1, 4))
    assert torch.equal(one.x_cf, four.x_cf)
    assert not torch.equal(one.heat, four.heat)
    assert explain(tmp_path, x, 0, samples=2, draws="spread").heat.min() > 0
    assert not torch.equal(one.x_cf, explain(tmp_path, x, 0, seed=1).x_cf)


def test_the_noise_is_the_cases_own_in_any_batch_and_on_any_day(tmp_path):
    x = images(SICK, n=3)
    every = explain(tmp_path, x, 0)
    alone = explain(tmp_path, x[2:], 0, batch=Batch(("c2",), ("c2",), x[2:], {}))
    assert torch.equal(alone.x_cf[0], every.x_cf[2])
    assert torch.equal(explain(tmp_path, x, 0).heat, every.heat)


def test_nothing_changes_outside_the_mask_and_the_map_ends_at_the_organ(tmp_path):
    x = images(SICK)
    organ, free = batch_of(x).masks["organ"], explain(tmp_path, x, 0)
    bound = explain(tmp_path, x, 0, within="organ")
    assert torch.equal(bound.x_cf[~organ], x[~organ])
    assert torch.equal(bound.x_cf[organ], free.x_cf[organ])
    assert (bound.heat[~organ] == 0).all()
    masked = explain(tmp_path, x, 0, organ="organ")
    assert torch.equal(masked.x_cf, free.x_cf)
    assert (masked.heat[~organ] == 0).all()
    assert torch.equal(masked.heat[organ], free.heat[organ])


def test_the_residual_respects_the_mask_too(tmp_path):
    x, lossy = images(SICK), GaussianEditor(coarse(MEANS, 2), VARIANCE, coarse=2)
    answer = explain(tmp_path, x, 0, lossy, strength=0.0, within="organ", residual=True)
    assert torch.equal(answer.heat, torch.zeros_like(x))
    assert not torch.equal(answer.x_cf, x)


def test_words_come_from_the_attribution_then_the_suite_then_the_dataset(tmp_path):
    x = images(SICK)
    odd = replace(TASK, prompts=("odd", "", ""))
    plain, suite, own = (
        explain(tmp_path, x, 0),
        explain(tmp_path, x, 0, task=odd),
        explain(tmp_path, x, 1, prompt="odd"),
    )
    assert not torch.equal(plain.x_cf, suite.x_cf)
    assert torch.equal(suite.x_cf, own.x_cf)
    assert torch.equal(explain(tmp_path, x, 1, task=odd).x_cf, explain(tmp_path, x, 1).x_cf)


def test_a_grade_without_words_is_a_status_and_a_task_without_any_is_undefined(tmp_path):
    answer = explain(tmp_path, images(SICK), [0.0, 2.0, 1.0], kind="grade")
    assert answer.status == ("ok", "there are no words for grade 2 of g", "ok")
    assert (answer.x_cf[1] == 0).all()
    assert (answer.heat[1] == 0).all()
    assert torch.equal(answer.x_cf[2], explain(tmp_path, images(SICK), 1).x_cf[2])
    assert explain(tmp_path, images(SICK), 2.0).status == ("there are no words for grade 2 of g",) * 3
    with pytest.raises(UndefinedError, match=r"no words for grade 0 of h: give the task `prompts: \{0: ...\}`"):
        explain(tmp_path, images(SICK), 0, task=replace(TASK, label="h"))


def test_an_edit_that_is_not_finite_is_a_status_of_its_line(tmp_path):
    task = replace(TASK, prompts=("", "broken", ""))
    answer = explain(tmp_path, images(SICK, n=2), [0, 1], task=task)
    assert answer.status == ("ok", "the generator edited the image to values that are not finite")
    assert answer.x_cf.isfinite().all()
    assert answer.heat.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "offset"}, "not 'offset'"),
        ({"organ": "lungs"}, r"needs the mask 'lungs', which these cases lack \(they have: lesion, organ\)"),
        ({"within": "lungs"}, "needs the mask 'lungs'"),
        ({"generator": PCA(PCAParams(), INFO)}, "a generator that edits"),
        ({"batch": Batch(("a",), ("a",), None, {})}, "the dataset has none"),
    ],
)
def test_what_is_missing_is_said(tmp_path, change, message):
    with pytest.raises(UndefinedError, match=message):
        explain(tmp_path, images(SICK, n=1), 0, **change)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strength": 1.2}, "strength must be 0 to 1, got 1.2"),
        ({"strength": float("nan")}, "strength must be 0 to 1"),
        ({"guidance": -1}, "guidance must be 0 or more"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"draws": "spread"}, "at least two samples"),
        ({"text": False, "prompt": "odd"}, "text is off"),
        ({"threshold": 1.0}, "threshold must be 0 to 1"),
    ],
)
def test_impossible_settings_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        SDEditParams(**params)


MAPS = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4).map(lambda v: torch.tensor(v).reshape(1, 1, 2, 2))


@given(MAPS)
def test_absolute_is_positive_plus_negative_and_signed_is_their_difference(signed):
    positive, negative = part_of(signed, "positive"), part_of(signed, "negative")
    assert torch.equal(part_of(signed, "absolute"), positive + negative)
    assert torch.equal(part_of(signed, "signed"), positive - negative)
    assert (positive >= 0).all()
    assert (negative >= 0).all()


@given(MAPS, st.floats(0, 0.9))
def test_a_threshold_keeps_what_is_above_it_either_way(signed, threshold):
    kept = shown(signed, None, threshold)
    assert ((kept == signed) | (kept == 0)).all()
    assert torch.equal(kept != 0, (signed.abs() > threshold))


@settings(max_examples=20)
@given(st.integers(0, 999), st.booleans())
def test_channels_are_averaged_and_volumes_are_as_good(seed, abnormal):
    random = torch.Generator().manual_seed(seed)
    x, y = torch.rand(2, 2, 3, 3, 4, 5, generator=random)
    sign = 1 if abnormal else -1
    heat = difference(y, x, torch.tensor([abnormal, abnormal]))
    assert_close(heat, sign * (y - x).mean(1, keepdim=True))
    assert_close(over_draws(torch.stack([heat, 3 * heat]), "mean"), 2 * heat)
    assert_close(over_draws(torch.stack([heat, 3 * heat]), "spread"), (2**0.5 * heat).abs())
