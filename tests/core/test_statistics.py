"""Intervals against NumPy loops, closed forms, SciPy's t, and a simulation of what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from cfbench import statistics
from cfbench.errors import UndefinedError
from cfbench.statistics import (
    Bounds,
    interval_of_mean,
    jackknife_interval,
    jackknife_weights,
    patient_bootstrap_weights,
    percentile_interval,
)

PATIENTS = ("a", "b", "a", "c", "b", "a", "d")


def test_bootstrap_weights_draw_whole_patients():
    weights = patient_bootstrap_weights(PATIENTS, 200, seed=3)
    assert weights.shape == (201, 7)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] == weights[:, 5]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    first_lines = weights[1:, [0, 1, 3, 6]]
    assert (first_lines.sum(1) == 4).all()  # four patients are drawn each time
    assert first_lines.mean() == pytest.approx(1, abs=1e-12)
    assert first_lines.var() == pytest.approx(1 - 1 / 4, rel=0.15)  # binomial(4, 1/4)


def test_bootstrap_weights_depend_on_the_seed_alone():
    one, same, other = (patient_bootstrap_weights(PATIENTS, 50, seed) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_bootstrap_weights_follow_the_lines_when_these_are_reordered():
    order = np.array([6, 0, 3, 2, 5, 1, 4])
    weights = patient_bootstrap_weights(PATIENTS, 50, seed=1)
    reordered = patient_bootstrap_weights([PATIENTS[i] for i in order], 50, seed=1)
    assert (reordered == weights[:, order]).all()


def test_blocks_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=7)
    weights, bounds = patient_bootstrap_weights(PATIENTS, 50, 1), interval_of_mean(values, PATIENTS, 50, 1)
    monkeypatch.setattr(statistics, "_BLOCK", 12)
    assert (patient_bootstrap_weights(PATIENTS, 50, 1) == weights).all()
    assert interval_of_mean(values, PATIENTS, 50, 1) == bounds


@pytest.mark.parametrize("function", [patient_bootstrap_weights, jackknife_weights])
def test_no_lines_no_weights(function):
    with pytest.raises(UndefinedError, match="no lines"):
        function((), 5, 0)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=30), st.integers(2, 12), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_jackknife_leaves_each_patient_out_exactly_once(patients, groups, seed):
    if len(set(patients)) < 2:
        with pytest.raises(UndefinedError, match="2 patients"):
            jackknife_weights(patients, groups, seed)
        return
    weights = jackknife_weights(patients, groups, seed)
    used = min(groups, len(set(patients)))
    assert weights.shape == (used + 1, len(patients))
    assert (weights[0] == 1).all()
    assert ((1 - weights[1:]).sum(0) == 1).all()
    left_out = [{p for p, w in zip(patients, row, strict=True) if w == 0} for row in weights[1:]]
    kept = [{p for p, w in zip(patients, row, strict=True) if w == 1} for row in weights[1:]]
    assert all(not out & rest for out, rest in zip(left_out, kept, strict=True))
    sizes = [len(out) for out in left_out]
    assert max(sizes) - min(sizes) <= 1


def test_one_group_is_no_jackknife():
    with pytest.raises(UndefinedError, match="2 groups"):
        jackknife_weights(PATIENTS, 1, 0)


def test_percentile_interval_drops_and_counts_nan():
    replicates = np.concatenate([np.arange(1001.0), np.full(3, np.nan)])
    for level, low, high in ((0.95, 25, 975), (0.5, 250, 750)):
        bounds = percentile_interval(replicates, level)
        assert (bounds.low, bounds.high, bounds.dropped) == (pytest.approx(low), pytest.approx(high), 3)
    with pytest.raises(UndefinedError, match="none of 4"):
        percentile_interval(np.full(4, np.nan))


def test_jackknife_of_a_mean_is_the_textbook_t_interval():
    # leaving out one case at a time, the jackknife's variance of a mean is s^2 / n exactly
    values = np.random.default_rng(1).normal(size=12)
    leave_out = np.array([np.delete(values, i).mean() for i in range(12)])
    bounds = jackknife_interval(float(values.mean()), leave_out)
    low, high = student.interval(0.95, 11, values.mean(), values.std(ddof=1) / np.sqrt(12))
    assert (bounds.low, bounds.high) == (pytest.approx(low, rel=1e-5), pytest.approx(high, rel=1e-5))


def test_jackknife_drops_nan_and_needs_two_values():
    assert jackknife_interval(1.0, np.array([1.0, np.nan, 1.0])) == Bounds(1.0, 1.0, 1)
    for value, leave_out in ((1.0, [2.0, np.nan]), (np.nan, [1.0, 2.0])):
        with pytest.raises(UndefinedError, match="2 leave-out values"):
            jackknife_interval(value, np.array(leave_out))


@pytest.mark.parametrize(("freedom", "error"), [(1, 1e-12), (2, 1e-12), (3, 2e-3), (5, 2e-4), (9, 1e-5), (19, 1e-6)])
def test_t_quantiles_are_those_of_scipy(freedom, error):
    assert statistics._t_quantile(0.975, freedom) == pytest.approx(student.ppf(0.975, freedom), rel=error)


def test_interval_of_mean_is_that_of_the_weights():
    rng = np.random.default_rng(2)
    patients = [f"p{i}" for i in rng.integers(0, 9, 40)]
    values = rng.normal(5, 1, 40)
    weights = patient_bootstrap_weights(patients, 300, seed=7)[1:]
    expected = percentile_interval(weights @ values / weights.sum(1))
    bounds = interval_of_mean(values, patients, 300, seed=7)
    assert (bounds.low, bounds.high) == (pytest.approx(expected.low, 1e-12), pytest.approx(expected.high, 1e-12))


def test_interval_of_mean_leaves_nan_out_and_counts_empty_draws():
    values = np.array([1.0, np.nan, 3.0, np.nan])
    bounds = interval_of_mean(values, ("a", "a", "b", "c"), 2000, seed=0)
    assert (bounds.low, bounds.high) == (1.0, 3.0)
    assert bounds.dropped / 2000 == pytest.approx((1 / 3) ** 3, abs=0.02)  # patient c alone
    with pytest.raises(UndefinedError, match="none of 2 lines"):
        interval_of_mean(np.array([np.nan, np.nan]), ("a", "b"))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_interval_of_mean_moves_and_scales_with_the_values(shift, scale):
    values = np.random.default_rng(0).normal(size=20)
    patients = [f"p{i // 2}" for i in range(20)]
    plain = interval_of_mean(values, patients, 100)
    moved = interval_of_mean(values * scale + shift, patients, 100)
    slack = 1e-9 * (abs(shift) + scale)
    assert moved.low == pytest.approx(plain.low * scale + shift, abs=slack)
    assert moved.high == pytest.approx(plain.high * scale + shift, abs=slack)


def test_a_constant_has_an_interval_of_no_width():
    bounds = interval_of_mean(np.full(6, 0.1), [str(i) for i in range(6)], 50)
    assert bounds.low == bounds.high == pytest.approx(0.1, abs=1e-16)


def test_patients_cover_what_images_do_not():
    # 50 patients of 6 images; half of the variance is between patients; the true mean is 0
    rng = np.random.default_rng(11)
    patients = [f"p{i:02}" for i in np.repeat(np.arange(50), 6)]
    images = [f"i{i:03}" for i in range(300)]
    covered = np.zeros(2)
    trials = 300
    for trial in range(trials):
        values = np.repeat(rng.normal(size=50), 6) + rng.normal(size=300)
        for k, unit in enumerate((patients, images)):
            bounds = interval_of_mean(values, unit, 400, seed=trial)
            covered[k] += bounds.low <= 0 <= bounds.high
    by_patient, by_image = covered / trials
    assert 0.90 <= by_patient <= 0.98
    assert by_image < 0.80
