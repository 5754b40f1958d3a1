"""Paired tests, several seeds, Holm, tiers and failures, against loops, closed forms and planted truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_rel

from cfbench.errors import UndefinedError
from cfbench.statistics import (
    coverage,
    difference_of_sets_over_seeds,
    difference_over_seeds,
    holm,
    interval_of_sets_over_seeds,
    interval_over_seeds,
    is_ranked,
    jackknife_interval,
    jackknife_weights,
    paired_difference,
    paired_difference_of_sets,
    paired_differences,
    patient_bootstrap_weights,
    rank_tiers,
    rank_tiers_of_sets,
    tiers,
    with_failures,
)


def cohort(patients, lines, rng):
    return [f"p{i:03}" for i in np.sort(rng.integers(0, patients, lines))]


# --- paired ----------------------------------------------------------------------------------------------------------


def symmetric_p(differences, patients, replicates, seed):
    """Return p by the definition, with patients' sums in plain NumPy."""
    names = sorted(set(patients))
    own = [differences[np.array(patients) == name] for name in names]
    sums, lines = np.array([x.sum() for x in own]), np.array([len(x) for x in own])

    def t_of(times, about, floor):
        n = (times * lines).sum()
        mean = (times * sums).sum() / n
        error = np.sqrt((times * (sums - mean * lines) ** 2).sum()) / n
        return (mean - about) / max(error, floor), mean, error

    t, mean, error = t_of(np.ones(len(names)), 0, 0)
    t *= np.sqrt((len(names) - 1) / len(names))
    first = [patients.index(name) for name in names]
    draws = patient_bootstrap_weights(patients, replicates, seed)[1:, first]
    found = np.array([t_of(times, mean, 0.4 * error)[0] for times in draws])
    drawn = (1 + (abs(found) >= abs(t)).sum()) / (1 + replicates)
    return max(drawn, 2 * student.sf(abs(t), len(names) - 1))


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_paired_p_is_the_one_of_the_definition(shift):
    rng = np.random.default_rng(1)
    patients = cohort(20, 50, rng)
    first, second = rng.normal(shift, 1, 50), rng.normal(0, 1, 50)
    found = paired_difference(first, second, patients, 500, seed=3)
    assert found.p == pytest.approx(symmetric_p(first - second, patients, 500, 3), abs=1e-9)
    assert found.value == pytest.approx((first - second).mean())
    assert found.patients == len(set(patients))


@given(st.integers(0, 10**6), st.integers(3, 40), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_p_is_small_exactly_where_the_interval_leaves_zero_out(seed, lines, shift):
    rng = np.random.default_rng(seed)
    values = rng.normal(shift, 1, lines)
    found = paired_difference(values, np.zeros(lines), [f"p{i % 17}" for i in range(lines)], 1999)
    outside = found.low > 0 or found.high < 0
    assert outside == (found.p <= 0.05) or found.p == pytest.approx(0.05, abs=0.002)  # a quantile lies between draws


def test_paired_difference_turns_round_with_its_arguments():
    rng = np.random.default_rng(2)
    first, second, patients = rng.normal(0.3, 1, 60), rng.normal(0, 1, 60), cohort(25, 60, rng)
    one, other = paired_difference(first, second, patients, 400), paired_difference(second, first, patients, 400)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.p == other.p


def test_pairing_finds_what_the_patients_spread_hides():
    rng = np.random.default_rng(3)
    patients = [f"p{i}" for i in range(60)]
    hard = 10 * rng.normal(size=60)
    first, second = hard + rng.normal(0.8, 1, 60), hard + rng.normal(0, 1, 60)
    assert paired_difference(first, second, patients).p < 0.01
    assert paired_difference(first, rng.permutation(second), patients).p > 0.1


def test_lines_without_both_values_are_left_out():
    rng = np.random.default_rng(4)
    first, second, patients = rng.normal(size=30), rng.normal(size=30), [f"p{i // 2:02}" for i in range(30)]
    first[3], second[7] = np.nan, np.nan
    kept = [i for i in range(30) if i not in (3, 7)]
    found = paired_difference(first, second, patients, 300)
    assert found == paired_difference(first[kept], second[kept], [patients[i] for i in kept], 300)
    first[:] = np.nan
    with pytest.raises(UndefinedError, match="2 patients"):
        paired_difference(first, second, patients)


@pytest.mark.parametrize(("constant", "p"), [(0.0, 1.0), (0.25, 1 / 1001)])
def test_the_same_difference_everywhere(constant, p):
    found = paired_difference(np.full(20, constant), np.zeros(20), [str(i) for i in range(20)], 1000)
    assert (found.value, found.low, found.high) == (constant, constant, constant)
    assert found.p == pytest.approx(p)


def test_two_patients_prove_nothing():
    found = paired_difference(np.array([1.0, 1.1]), np.zeros(2), ["a", "b"])
    assert found.p == pytest.approx(2 * student.sf(21, 1))  # Student's, not one draw in ten thousand
    assert found.p > 0.02


def test_differences_together_are_those_one_by_one():
    rng = np.random.default_rng(5)
    values, patients = rng.normal(0.1, 1, (70, 4)), cohort(30, 70, rng)
    one_by_one = [paired_difference(c, np.zeros(70), patients, 300) for c in values.T]
    assert paired_differences(values, patients, 300) == one_by_one


# --- paired sets -----------------------------------------------------------------------------------------------------


def medians(values, weights):
    """Return the median of the drawn values under each row of whole-number weights."""
    return np.array([np.median(np.repeat(values, row.astype(int))) for row in weights])


def test_a_mean_taken_as_a_set_is_the_paired_t_test():
    rng = np.random.default_rng(21)
    first, second, patients = rng.normal(0.2, 1, 80), rng.normal(0, 1, 80), [str(i) for i in range(80)]
    weights = patient_bootstrap_weights(patients, 20_000, 0)
    found = paired_difference_of_sets(weights @ first / 80, weights @ second / 80, 80)
    t, p = ttest_rel(first, second)
    low, high = student.interval(0.95, 79, (first - second).mean(), (first - second).mean() / t)
    assert found.p == pytest.approx(p, rel=0.1)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_jackknifed_sets_have_the_interval_of_the_jackknife():
    rng = np.random.default_rng(22)
    first, second, patients = rng.normal(0.2, 1, 60), rng.normal(0, 1, 60), [str(i) for i in range(60)]
    weights = jackknife_weights(patients, 20, 0)
    rows = [(weights @ x / weights.sum(1)) for x in (first, second)]
    found = paired_difference_of_sets(*rows, 60, interval="jackknife")
    bounds = jackknife_interval(found.value, rows[0][1:] - rows[1][1:])
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert (found.low > 0 or found.high < 0) == (found.p <= 0.05)


def test_sets_need_a_value_and_draws_of_both():
    some = np.array([1.0, 2.0, 3.0])
    for first, patients in (([np.nan, 1.0, 2.0], 9), ([1.0, np.nan, 2.0], 9), ([1.0, 2.0, 3.0], 1)):
        with pytest.raises(UndefinedError, match="2 patients and 2 draws"):
            paired_difference_of_sets(np.array(first), some, patients)


def test_tiers_of_sets_find_planted_groups():
    rng = np.random.default_rng(23)
    patients = [str(i) for i in range(150)]
    weights, hard = patient_bootstrap_weights(patients, 1000, 0), rng.normal(size=150)
    rows = {
        name: medians(level + hard + 0.3 * rng.normal(size=150), weights)
        for name, level in (("a", 0.0), ("b", 0.0), ("c", 1.0), ("sentinel", -5.0))
    }
    found = rank_tiers_of_sets(rows, 150, "lower", excluded=["sentinel"])
    assert [set(tier) for tier in found] == [{"a", "b"}, {"c"}]


# --- Holm ------------------------------------------------------------------------------------------------------------


def test_holm_on_numbers_worked_out_by_hand():
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.5, 0.6])).tolist() == [1.0, 1.0]
    adjusted = holm(np.array([0.02, np.nan, 0.01]))
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(adjusted[1])
    assert holm(np.empty(0)).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    order, rejected = np.argsort(p_values, kind="stable"), set()
    for step, i in enumerate(order):
        if p_values[i] * (len(p_values) - step) > alpha:
            break
        rejected.add(int(i))
    assert {i for i, p in enumerate(holm(np.array(p_values))) if p <= alpha} == rejected


# --- seeds -----------------------------------------------------------------------------------------------------------


def additive(seeds, patients, rng, between=1.0):
    """Return scores that are the sum of an effect of the seed and one of the patient, one line each."""
    a, b = between * rng.normal(size=(seeds, 1)), rng.normal(size=patients)
    return a + b, a.ravel(), b


@pytest.mark.parametrize(("seeds", "between"), [(3, 0.1), (5, 1.0), (12, 0.3)])
def test_error_over_seeds_is_the_sum_of_both_variances(seeds, between):
    values, a, b = additive(seeds, 80, np.random.default_rng(6), between)
    bounds = interval_over_seeds(values, [str(i) for i in range(80)], 20_000)
    of_seeds, of_patients = a.var(ddof=1) / seeds, b.var(ddof=1) / 80
    freedom = (of_seeds + of_patients) ** 2 / (of_seeds**2 / (seeds - 1) + of_patients**2 / 79)
    half = student.ppf(0.975, freedom) * np.sqrt(of_seeds + of_patients)
    assert (bounds.high + bounds.low) / 2 == pytest.approx(values.mean(), abs=1e-9)
    assert (bounds.high - bounds.low) / 2 == pytest.approx(half, rel=0.04)


def test_seeds_that_agree_leave_the_patients_error_alone():
    rng = np.random.default_rng(7)
    values, patients = rng.normal(size=90), cohort(40, 90, rng)
    bounds = interval_over_seeds(np.tile(values, (4, 1)), patients, 10_000)
    sums = np.bincount(np.unique(patients, return_inverse=True)[1], weights=values - values.mean())
    n = len(sums)
    half = student.ppf(0.975, n - 1) * np.sqrt(n / (n - 1) * (sums**2).sum()) / 90
    assert (bounds.high - bounds.low) / 2 == pytest.approx(half, rel=0.06)


def test_difference_over_seeds_sees_seeds_that_disagree():
    rng = np.random.default_rng(8)
    patients = [str(i) for i in range(200)]
    better = 0.4 + 0.5 * rng.normal(size=(4, 200))
    same = 0.5 * rng.normal(size=(4, 200))
    found = difference_over_seeds(better, same, patients, 4000)
    assert found.p < 0.001
    assert found.low > 0.3
    lucky = same + np.array([[1.6], [0.0], [-0.3], [0.3]])  # one seed of four makes the difference
    assert lucky.mean() == pytest.approx(better.mean(), abs=0.05)
    assert difference_over_seeds(lucky, same, patients, 4000).p > 0.2
    turned = difference_over_seeds(same, better, patients, 4000)
    assert (turned.low, turned.high, turned.p) == pytest.approx((-found.high, -found.low, found.p))


def test_over_seeds_values_may_be_missing_but_not_all():
    rng = np.random.default_rng(9)
    values, _, _ = additive(3, 20, rng)
    values[0, :5] = np.nan
    patients = [str(i) for i in range(20)]
    bounds = interval_over_seeds(values, patients, 500)
    assert bounds.low < np.nanmean(values) < bounds.high
    for few, who in ((values[:1], patients), (values, ["one"] * 20), (np.full((3, 20), np.nan), patients)):
        with pytest.raises(UndefinedError, match="2 seeds and 2 patients"):
            interval_over_seeds(few, who, 100)
    same = np.full((3, 20), 0.3)
    assert difference_over_seeds(same, same, patients, 100).p == 1
    assert difference_over_seeds(same, np.zeros((3, 20)), patients, 100).p == 0


# --- tiers -----------------------------------------------------------------------------------------------------------


def test_sets_over_seeds_that_are_means_agree_with_means_over_seeds():
    rng = np.random.default_rng(21)
    patients = [str(i) for i in range(200)]
    values, _, _ = additive(5, 200, rng)
    weights = patient_bootstrap_weights(patients, 4000, 3)
    drawn = values @ weights.T / weights.sum(1)
    of_sets, of_means = interval_of_sets_over_seeds(drawn, 200), interval_over_seeds(values, patients)
    assert (of_sets.low + of_sets.high) / 2 == pytest.approx(values.mean())
    assert of_sets.high - of_sets.low == pytest.approx(of_means.high - of_means.low, rel=0.1)


def test_seeds_that_agree_leave_a_sets_own_error_alone():
    rng = np.random.default_rng(22)
    rows = np.concatenate([[0.5], rng.normal(0.5, 0.1, 2000)])
    one, shift = interval_of_sets_over_seeds(np.stack([rows, rows]), 80), np.array([[0.0], [0.4]])
    assert (one.high - one.low) / 2 == pytest.approx(student.ppf(0.975, 79) * 0.1 * np.sqrt(80 / 79), rel=0.05)
    apart = interval_of_sets_over_seeds(np.stack([rows, rows]) + shift, 80)
    assert apart.high - apart.low > 5 * (one.high - one.low)


def test_differences_of_sets_over_seeds_pair_the_draws_and_the_seeds():
    rng = np.random.default_rng(23)
    common = np.concatenate([[0.0], rng.normal(0, 0.3, 500)])
    first = np.stack([common, common + 1, common + 2])  # seeds differ much, alike in both methods
    found = difference_of_sets_over_seeds(first + 0.1, first, 60)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.p < 1e-6
    assert difference_of_sets_over_seeds(first, first[::-1], 60).p > 0.9


@pytest.mark.parametrize(("seeds", "patients"), [(1, 50), (3, 1)])
def test_sets_over_seeds_need_two_of_each(seeds, patients):
    with pytest.raises(UndefinedError, match="2 seeds"):
        interval_of_sets_over_seeds(np.random.default_rng(0).normal(size=(seeds, 20)), patients)


def planted(rng, levels, lines=200):
    """Return methods at these levels on lines whose difficulty they share."""
    hard = rng.normal(size=lines)
    return {name: level + hard + 0.3 * rng.normal(size=lines) for name, level in levels.items()}


LEVELS = {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.5, "e": 0.0, "sentinel": 3.0}


def test_planted_groups_become_tiers_whatever_the_order_of_methods():
    rng = np.random.default_rng(10)
    scores, patients = planted(rng, LEVELS), cohort(80, 200, rng)
    found = rank_tiers(scores, patients, "higher", excluded=("sentinel", "not there"))
    assert [set(tier) for tier in found] == [{"a", "b"}, {"c", "d"}, {"e"}]
    assert all(list(t) == sorted(t, key=lambda name: -scores[name].mean()) for t in found)
    turned = dict(reversed(scores.items()))
    assert rank_tiers(turned, patients, "higher", excluded={"sentinel"}) == found
    assert rank_tiers(scores, patients, "higher")[0] == ("sentinel",)


def test_lower_is_the_mirror_of_higher():
    rng = np.random.default_rng(11)
    scores, patients = planted(rng, LEVELS), cohort(80, 200, rng)
    mirrored = {name: -values for name, values in scores.items()}
    assert rank_tiers(mirrored, patients, "lower") == rank_tiers(scores, patients, "higher")


def test_methods_that_tie_are_ordered_by_name_and_share_a_tier():
    values = np.random.default_rng(12).normal(size=40)
    patients = [str(i) for i in range(40)]
    assert rank_tiers({"z": values, "a": values, "m": values}, patients, "higher") == (("a", "m", "z"),)
    assert rank_tiers({"only": values}, patients, "higher") == (("only",),)
    assert rank_tiers({}, patients, "higher") == ()


def test_as_many_draws_are_made_as_the_correction_needs():
    rng = np.random.default_rng(13)  # 66 pairs: no p-value of 100 draws could pass the correction
    scores = planted(rng, {f"m{i:02}": float(i == 0) for i in range(12)}, 60)
    found = rank_tiers(scores, [str(i) for i in range(60)], "higher", replicates=100)
    assert found[0] == ("m00",)


def test_a_method_without_scores_is_named():
    with pytest.raises(UndefinedError, match="empty: there is no value"):
        rank_tiers({"full": np.ones(3), "empty": np.full(3, np.nan)}, ["a", "b", "c"], "higher")


def test_a_scattered_method_may_share_the_tier_of_the_best():
    worse = {("best", "second"), ("best", "third"), ("second", "third")}
    assert tiers(["best", "second", "scattered", "third"], worse) == (("best", "scattered"), ("second",), ("third",))


# --- failures --------------------------------------------------------------------------------------------------------


def test_failed_lines_are_the_worst():
    scores, status = np.array([0.5, np.nan, 0.7]), ("ok", "no counterfactual found", "ok")
    assert with_failures(scores, status, 1.0).tolist() == [0.5, 1.0, 0.7]
    assert with_failures(scores, status, None) is scores


def test_below_95_percent_there_is_no_rank():
    for answered, ranked in ((100, True), (95, True), (94, False), (0, False)):
        status = ["ok"] * answered + ["diverged"] * (100 - answered)
        assert coverage(status) == answered / 100
        assert is_ranked(status) == ranked
    assert not is_ranked([])


def test_refusing_the_hard_cases_does_not_pay():
    rng = np.random.default_rng(14)
    honest, patients = rng.uniform(0, 1, 100), [str(i) for i in range(100)]
    hardest = honest > 0.95
    sly = with_failures(honest, ["no" if one else "ok" for one in hardest], 1.0)
    assert sly.mean() >= honest.mean()  # lower is better
    found = rank_tiers({"honest": honest, "sly": sly}, patients, "lower")
    assert found[0][0] == "honest"
