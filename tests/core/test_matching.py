"""Real images in the proportions of the targets, against planted classes."""

import numpy as np
import pytest
import torch

from cfbench.errors import UndefinedError
from cfbench.steps.matching import effective_number, matched_to_targets
from cfbench_metrics.frechet import frechet_distances
from cfbench_metrics.kernel import kernel_distances

SCALE = (0.0, 1.0, 2.0)


def planted(grades, seed):
    """Return features of images whose mean is their grade's."""
    draws = np.random.default_rng(seed)
    return torch.from_numpy(draws.normal(size=(len(grades), 4)) + 3 * np.asarray(grades)[:, None])


def test_every_grade_is_as_frequent_as_among_the_targets_in_every_draw():
    draws = np.random.default_rng(0)
    grade, target = draws.integers(0, 3, 90).astype(float), draws.choice(SCALE, 70, p=(0.7, 0.25, 0.05))
    weights, reference = draws.integers(0, 3, (5, 70)).astype(float), draws.integers(1, 3, (5, 90)).astype(float)
    matched = matched_to_targets(grade, target, weights, reference, SCALE)
    for value in SCALE:
        np.testing.assert_allclose(matched[:, grade == value].sum(1), weights[:, target == value].sum(1))
    within = matched[0, grade == 1] / reference[0, grade == 1]
    assert np.ptp(within) < 1e-12, "cases of one grade keep their ratios"


@pytest.mark.parametrize("distance", [frechet_distances, kernel_distances])
def test_perfect_answers_beat_no_change_only_against_matched_cases(distance):
    """Mostly ill cases, all asked to be healthy or nearly so: the mixtures differ, the classes do not."""
    grade = np.repeat(SCALE, (60, 120, 120))
    target = np.where(grade == 0, 1.0, 0.0)
    real, perfect, unchanged = planted(grade, 1), planted(target, 2), planted(grade, 1)
    ones = np.ones((1, 300))
    w, plain = torch.from_numpy(ones), torch.from_numpy(ones)
    v = torch.from_numpy(matched_to_targets(grade, target, ones, ones, SCALE))
    assert distance(perfect, real, w, plain) > 10 * distance(unchanged, real, w, plain).abs()
    assert distance(perfect, real, w, v) < distance(unchanged, real, w, v) / 20


def test_equal_proportions_change_nothing():
    grade = np.repeat(SCALE, 10)
    ones = np.ones((2, 30))
    np.testing.assert_allclose(matched_to_targets(grade, grade[::-1].copy(), ones, ones, SCALE), ones)
    assert effective_number(ones[0]) == 30


def test_values_between_grades_go_to_the_nearest_and_unknown_grades_count_nothing():
    grade, target = np.array([0.0, 0.0, 2.0, np.nan]), np.array([0.2, 1.9, 1.8])
    matched = matched_to_targets(grade, target, np.ones((1, 3)), np.ones((1, 4)), SCALE)
    np.testing.assert_allclose(matched, [[0.5, 0.5, 2.0, 0.0]])
    assert effective_number(matched[0]) == pytest.approx(9 / 4.5)


def test_a_grade_that_no_real_case_has_is_said():
    with pytest.raises(UndefinedError, match="2 lines were asked for grade 1, and no real case of them has it"):
        matched_to_targets(np.zeros(4), np.ones(2), np.ones((1, 2)), np.ones((1, 4)), SCALE)


def test_a_draw_without_a_grade_leaves_it_out():
    reference = np.array([[1.0, 1.0], [1.0, 0.0]])
    matched = matched_to_targets(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones((2, 2)), reference, SCALE)
    np.testing.assert_allclose(matched, [[1.0, 1.0], [1.0, 0.0]])
