"""The plane, the calibration and the probe against closed forms and scikit-learn, in float64."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch.testing import assert_close

from cfbench.errors import UndefinedError
from cfbench_hyperplane import probe as probe_module
from cfbench_hyperplane.calibration import Line, least_squares, two_means
from cfbench_hyperplane.plane import Plane, oriented
from cfbench_hyperplane.plugin import HyperplaneParams
from cfbench_hyperplane.probe import fit_plane


@st.composite
def planes_and_points(draw):
    d, b = draw(st.integers(1, 64)), draw(st.integers(1, 8))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = 10.0 ** draw(st.integers(-3, 3))
    n, w = random.normal(size=d) * scale, random.normal(size=(b, d))
    mu, sigma = np.zeros(d), np.ones(d)
    if draw(st.booleans()):
        mu, sigma = random.normal(size=d), 10.0 ** random.uniform(-2, 1, size=d)
    return Plane(
        *(torch.from_numpy(a) if i != 1 else a for i, a in enumerate((n, scale * draw(st.floats(-3, 3)), mu, sigma)))
    ), torch.from_numpy(w)


def scored(plane, w):
    return (w - plane.mu) / plane.sigma


@settings(max_examples=200, deadline=None)
@given(planes_and_points())
def test_reflection_is_a_mirror(case):
    plane, w = case
    mirrored, d = plane.reflect(w), plane.distance(w)
    size = 1 + scored(plane, w).norm(dim=1) + abs(plane.b) / float(plane.n.norm())
    unit = plane.n / plane.n.norm()
    move = scored(plane, mirrored) - scored(plane, w)

    def near(a, b):
        assert ((a - b).abs() <= 1e-12 * size).all()

    near(plane.distance(mirrored), -d)
    near(plane.decision(mirrored) / plane.n.norm(), -plane.decision(w) / plane.n.norm())
    near(move.norm(dim=1), 2 * d.abs())
    near((move - (move @ unit)[:, None] * unit).norm(dim=1), torch.zeros_like(d))
    near((scored(plane, plane.reflect(mirrored)) - scored(plane, w)).norm(dim=1), torch.zeros_like(d))


@settings(max_examples=100, deadline=None)
@given(planes_and_points(), st.floats(-5, 5))
def test_shift_moves_the_distance_by_exactly_what_is_asked(case, delta):
    plane, w = case
    shifted = plane.shift(w, torch.full((len(w),), delta, dtype=torch.float64))
    assert_close(plane.distance(shifted), plane.distance(w) + delta, rtol=1e-10, atol=1e-10)


@settings(max_examples=100, deadline=None)
@given(planes_and_points())
def test_the_raw_plane_decides_alike(case):
    plane, w = case
    size = float(plane.n.norm()) * (1 + scored(plane, w).norm(dim=1)) + abs(plane.b)
    assert ((plane.raw().decision(w) - plane.decision(w)).abs() <= 1e-11 * size).all()


def test_raw_and_zscored_reflection_land_on_different_points_with_the_same_sign():
    plane = Plane(
        torch.tensor([1.0, 1.0]).double(), 0.5, torch.tensor([1.0, 0.0]).double(), torch.tensor([1.0, 4.0]).double()
    )
    w = torch.tensor([[3.0, 2.0]]).double()
    assert not torch.allclose(plane.reflect(w), plane.raw().reflect(w))
    assert_close(plane.decision(plane.reflect(w)), plane.decision(plane.raw().reflect(w)))


def test_a_plane_that_points_away_from_the_positives_is_turned_round():
    w = torch.tensor([[0.0], [1.0], [4.0], [5.0]]).double()
    positive = torch.tensor([False, False, True, True])
    wrong = Plane(torch.tensor([-2.0]).double(), 5.0, torch.zeros(1).double(), torch.ones(1).double())
    right = oriented(wrong, w, positive)
    assert_close(right.decision(w), -wrong.decision(w))
    assert oriented(right, w, positive) is right


def test_two_means_is_the_line_through_the_extreme_grades():
    d = torch.tensor([-3.0, -1.0, 0.7, 4.0, 6.0]).double()
    grade = torch.tensor([0.0, 0.0, 2.0, 3.0, 3.0]).double()
    line = two_means(d, grade)
    assert line.slope == pytest.approx(3 / 7, rel=1e-15)
    assert_close(line.grade(torch.tensor([-2.0, 5.0]).double()), torch.tensor([0.0, 3.0]).double())


def test_least_squares_is_scikit_learns():
    random = np.random.default_rng(0)
    d, grade = random.normal(2, 3, 500), random.integers(0, 4, 500).astype(float)
    line, reference = (
        least_squares(torch.from_numpy(d), torch.from_numpy(grade)),
        LinearRegression().fit(d[:, None], grade),
    )
    assert line.slope == pytest.approx(reference.coef_[0], rel=1e-10)
    assert line.offset == pytest.approx(reference.intercept_, rel=1e-10)


@given(st.floats(0.01, 100), st.booleans(), st.floats(-100, 100), st.floats(-10, 10))
def test_a_calibration_inverts(slope, falling, offset, grade):
    line = Line(-slope if falling else slope, offset)
    g = torch.tensor([grade], dtype=torch.float64)
    assert_close(line.grade(line.distance(g)), g, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fit", [two_means, least_squares])
@pytest.mark.parametrize(("d", "grade"), [([1.0, 1.0, 1.0], [0.0, 1.0, 2.0]), ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])])
def test_a_calibration_without_slope_is_undefined(fit, d, grade):
    with pytest.raises(UndefinedError, match="distances that change with the grade"):
        fit(torch.tensor(d).double(), torch.tensor(grade).double())


def latents(n=120, d=6, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, d)) * 10.0 ** np.linspace(-1, 1, d) + 3
    noisy = z[:, 0] * 8 + z[:, 1] + random.normal(size=n)
    return torch.from_numpy(z), torch.from_numpy(noisy > np.quantile(noisy, 0.7))


def reference_model(probe, C, weight):
    if probe == "svm":
        return SVC(kernel="linear", C=C, class_weight=weight)
    return LogisticRegression(C=C, class_weight=weight, tol=1e-6, max_iter=10_000)


@pytest.mark.parametrize("probe", ["svm", "logistic"])
@pytest.mark.parametrize("space", ["raw", "zscore"])
@pytest.mark.parametrize(("C", "weight"), [(1.0, None), (0.01, "balanced")])
def test_the_decision_function_is_scikit_learns(probe, space, C, weight):
    z, positive = latents()
    fitted = fit_plane(z, positive, HyperplaneParams(probe=probe, C=C, space=space, class_weight=weight or "none"))
    u = StandardScaler().fit_transform(z) if space == "zscore" else z.numpy()
    reference = reference_model(probe, C, weight).fit(u, positive)
    f = reference.decision_function(u)
    assert_close(fitted.decision(z), torch.from_numpy(f), rtol=1e-5, atol=1e-5)
    assert_close(fitted.raw().decision(z), torch.from_numpy(f), rtol=1e-5, atol=1e-5)
    assert_close(fitted.distance(z), torch.from_numpy(f / np.linalg.norm(reference.coef_)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("space", ["raw", "zscore"])
@pytest.mark.parametrize("probe", ["svm", "logistic"])
def test_constant_dimensions_neither_decide_nor_move(space, probe):
    z, positive = latents()
    rounding = 7 + 1e-7 * torch.randn(len(z), 1, generator=torch.Generator().manual_seed(0)).double()
    wide = torch.cat([z, torch.full_like(rounding, -2.0), rounding], dim=1)
    params = HyperplaneParams(probe=probe, space=space)
    plane, narrow = fit_plane(wide, positive, params), fit_plane(z, positive, params)
    assert_close(plane.decision(wide), narrow.decision(z))
    assert torch.equal(plane.reflect(wide)[:, -2:], wide[:, -2:])
    odd = wide.clone()
    odd[:, -2:] = 1e6
    assert_close(plane.distance(odd), plane.distance(wide))


def test_fits_repeat_bit_for_bit():
    z, positive = latents()
    for probe in ("svm", "logistic"):
        one, two = (fit_plane(z, positive, HyperplaneParams(probe=probe)) for _ in range(2))
        assert torch.equal(one.n, two.n)
        assert one.b == two.b


def test_an_unconverged_probe_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(probe_module, "LOGISTIC_ITERATIONS", 2)
    z, positive = latents()
    with caplog.at_level(logging.WARNING):
        fit_plane(z, positive, HyperplaneParams(probe="logistic"))
    assert "failed to converge" in caplog.text


def test_what_cannot_be_fitted_says_why():
    z, positive = latents()
    with pytest.raises(UndefinedError, match="both classes; all 120 training cases are negative"):
        fit_plane(z, torch.zeros_like(positive), HyperplaneParams())
    with pytest.raises(UndefinedError, match="are positive"):
        fit_plane(z, torch.ones_like(positive), HyperplaneParams())
    with pytest.raises(UndefinedError, match="collapsed"):
        fit_plane(torch.ones_like(z), positive, HyperplaneParams())
