"""Metrics that ask the explained classifier about composites: closed forms for one that takes the mean of pixels."""

from dataclasses import replace

import pytest
import torch

from cfbench.errors import UndefinedError
from cfbench.protocols import Context
from cfbench.specs import Task
from cfbench.types import Judged, View
from cfbench_metrics.composites import area_under_course, places
from cfbench_metrics.cout import cout
from cfbench_metrics.deletion import deletion, insertion
from cfbench_metrics.params import BlurredCourse, Course

TASK = Task(name="sick", label="sick", kind="binary", grades=(0, 1), positive=(1,))
N, SIDE = 6, 8


def mean_of_pixels(x):
    """Probability of the positive class: the mean of the image."""
    p = x.flatten(1).double().mean(1)
    return Judged(torch.stack([1 - p, p], 1), torch.zeros(len(p), 1), p)


def view(x, x_out=None, heat=None, target=1.0, classify=mean_of_pixels):
    names = tuple(f"c{i}" for i in range(len(x)))
    return View(
        "counterfactual" if heat is None else "map",
        TASK,
        names,
        names,
        ("ok",) * len(x),
        x=x,
        x_out=x_out,
        heat=heat,
        target=torch.full((len(x),), target),
        explained=mean_of_pixels(x),
        explained_out=None if x_out is None else mean_of_pixels(x_out),
        classify=classify,
    )


@pytest.fixture
def context(tmp_path):
    return Context(seed=0, folder=tmp_path)


def test_places_are_a_permutation_with_the_most_evidence_first():
    evidence = torch.rand(N, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    place = places(evidence, 0)
    pixels = SIDE * SIDE
    assert torch.equal(place.flatten(1).sort(1).values, (torch.arange(pixels) / pixels).expand(N, -1))
    by_place = evidence.flatten(1).gather(1, place.flatten(1).argsort(1))
    assert torch.equal(by_place, evidence.flatten(1).sort(1, descending=True).values)


def test_ties_are_broken_by_the_seed_and_not_by_position():
    flat = torch.zeros(1, 1, 32, 32)
    place = places(flat, 0)
    assert torch.equal(place, places(flat, 0))
    assert not torch.equal(place, places(flat, 1))
    upper, lower = place[..., :16, :].mean(), place[..., 16:, :].mean()
    assert abs(upper - lower) < 0.1  # read in order, the halves would lie 0.5 apart


def test_the_course_of_a_linear_classifier_is_a_straight_line():
    x, end = torch.zeros(N, 1, SIDE, SIDE), torch.ones(N, 1, SIDE, SIDE)
    place = places(torch.rand(N, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)), 0)
    area = area_under_course(mean_of_pixels, x, end, place, 16)
    assert torch.allclose(area, torch.full((N, 2), 0.5, dtype=torch.float64))


def test_only_composites_that_differ_are_classified():
    """Of three images, one does not change, one changes in its first quarter of places, and one everywhere."""
    asked = 0

    def classify(x):
        nonlocal asked
        asked += len(x)
        return mean_of_pixels(x)

    x = torch.zeros(3, 1, SIDE, SIDE)
    place = (torch.arange(SIDE * SIDE) / SIDE**2).reshape(1, 1, SIDE, SIDE).expand(3, -1, -1, -1)
    end = (place < torch.tensor([0.0, 0.25, 1.0]).reshape(3, 1, 1, 1)).float()
    area = area_under_course(classify, x, end, place, 16)
    assert asked == 3 + 0 + 4 + 16
    rise = torch.tensor([0.0, 0.25 * 0.25 / 2 + 0.75 * 0.25, 0.5], dtype=torch.float64)
    assert torch.allclose(area, torch.stack([1 - rise, rise], 1))


@pytest.mark.parametrize("steps", [4, 50])
def test_cout_of_a_change_of_half_the_pixels(context, steps):
    """Half of the pixels go from 0 to 1, first of all: belief rises to 1/2 along the first half of the way, and stays.

    AUPC of the target is 1/4 * 1/2 + 1/2 * 1/2 = 3/8, so COUT is 2 * 3/8 - 1.
    """
    x, x_out = torch.zeros(N, 1, SIDE, SIDE), torch.zeros(N, 1, SIDE, SIDE)
    x_out[..., : SIDE // 2] = 1
    found = cout(Course(steps=steps)).score(view(x, x_out), context)
    assert found == pytest.approx([2 * 3 / 8 - 1] * N, abs=0.01)


def test_cout_prefers_few_strong_pixels_that_flip(context):
    def corner(x):
        """The upper left pixel decides."""
        p = x[:, 0, 0, 0].double()
        return Judged(torch.stack([1 - p, p], 1), torch.zeros(len(p), 1), p)

    x = torch.zeros(N, 1, SIDE, SIDE)
    strong, smeared = x.clone(), x + 0.4
    strong[..., 0, 0] = 1
    smeared[..., 0, 0] = 0.3  # changed least of all
    few = cout(Course()).score(view(x, strong, classify=corner), context)
    many = cout(Course()).score(view(x, smeared, classify=corner), context)
    assert few.min() > 0.95
    assert many.max() < -0.9


def test_cout_looks_only_at_cases_that_the_classifier_gets_right(context):
    x = torch.stack([torch.full((1, SIDE, SIDE), v) for v in (0.1, 0.9)])  # the second is seen as positive already
    found = cout(Course()).score(view(x, 1 - x), context)
    assert torch.isfinite(found[0])
    assert torch.isnan(found[1])


def bright_spot():
    x = torch.zeros(N, 1, 16, 16)
    x[:, :, 4:8, 4:8] = 1
    return x


def spot_classifier(x):
    p = x[:, 0, 4:8, 4:8].flatten(1).double().mean(1)
    return Judged(torch.stack([1 - p, p], 1), torch.zeros(len(p), 1), p)


def test_a_map_of_what_decides_beats_its_opposite_in_deletion_and_insertion(context):
    x = bright_spot()
    good, bad = view(x, heat=x, classify=spot_classifier), view(x, heat=-x, classify=spot_classifier)
    assert deletion(BlurredCourse()).score(good, context).max() < deletion(BlurredCourse()).score(bad, context).min()
    assert insertion(BlurredCourse()).score(good, context).min() > insertion(BlurredCourse()).score(bad, context).max()


def test_deletion_and_insertion_of_opposite_maps_are_the_same_course_backwards(context):
    x = bright_spot()
    heat = torch.rand(x.shape, generator=torch.Generator().manual_seed(2))
    forwards = deletion(BlurredCourse(steps=16)).score(view(x, heat=heat, classify=spot_classifier), context)
    backwards = insertion(BlurredCourse(steps=16)).score(view(x, heat=-heat, classify=spot_classifier), context)
    assert torch.allclose(forwards, backwards)


def test_a_flat_map_orders_nothing(context):
    x = bright_spot()
    found = deletion(BlurredCourse()).score(view(x, heat=torch.zeros_like(x), classify=spot_classifier), context)
    assert torch.isnan(found).all()


def test_without_a_classifier_there_is_a_sentence(context):
    x = bright_spot()
    with pytest.raises(UndefinedError, match="explains"):
        insertion(BlurredCourse()).score(replace(view(x, heat=x), classify=None), context)


@pytest.mark.parametrize(("kind", "values"), [(Course, {"steps": 0}), (BlurredCourse, {"sigma": 0.0})])
def test_settings_that_cannot_be_are_refused(kind, values):
    with pytest.raises(ValueError, match=next(iter(values))):
        kind(**values)
