"""Whether patients are recognised, and whether counterfactuals teach: loops, scikit-learn, planted truth."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import Context
from cfbench.specs import NoParams, Task
from cfbench.statistics import jackknife_weights
from cfbench.types import Judged, View
from cfbench_metrics.augmentation import AugmentationUtility, Lines, gain
from cfbench_metrics.probe import COMPONENTS, logistic, principal, say
from cfbench_metrics.reidentification import Reidentification, coarse, recall_at_1

torch.set_num_threads(1)

SICK = Task(name="sick", label="sick", kind="binary", grades=(0, 1), positive=(1,))


def ones(*shape):
    return torch.ones(shape, dtype=torch.float64)


def view_of(x, x_out=None, *, patients=None, status=None, **columns):
    names = tuple(f"c{i}" for i in range(len(x)))
    return View("counterfactual", SICK, names, tuple(patients or names), status or ("ok",) * len(x),
                x=x, x_out=x_out, **columns)  # fmt: skip


def loop_recall(queries, gallery, asked, owners, w, v):
    total = 0.0
    for query, patient, weight in zip(queries, asked, w, strict=True):
        there = [
            (float(np.dot(query, image)), owner) for image, owner, on in zip(gallery, owners, v, strict=True) if on
        ]
        best = max(score for score, _ in there)
        hits = [owner == patient for score, owner in there if score >= best - 1e-9]
        total += weight * sum(hits) / len(hits)
    return total / w.sum()


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_recall_is_that_of_a_loop_with_ties_and_weights(seed, n, m):
    rng = np.random.default_rng(seed)
    queries, gallery = rng.integers(0, 2, (n, 3)).astype(float), rng.integers(0, 2, (m, 3)).astype(float)
    asked, owners = rng.integers(0, 3, n), rng.integers(0, 3, m)
    w, v = rng.integers(0, 3, n).astype(float), rng.integers(0, 2, m).astype(float)
    w[0], v[0] = 1, 1
    same = torch.from_numpy((asked[:, None] == owners).astype(float))
    found = recall_at_1(*map(torch.from_numpy, (queries, gallery)), same, *(torch.from_numpy(a)[None] for a in (w, v)))
    assert found.item() == pytest.approx(loop_recall(queries, gallery, asked, owners, w, v), abs=1e-12)


def test_coarse_products_are_correlations_of_averaged_images():
    x = torch.rand((2, 1, 32, 48), generator=torch.Generator().manual_seed(0))
    found = coarse(x)
    small = torch.nn.functional.adaptive_avg_pool2d(x.double(), (11, 16)).flatten(1).numpy()
    assert found.shape == (2, 11 * 16)
    assert (found[0] @ found[1]).item() == pytest.approx(np.corrcoef(small)[0, 1], abs=1e-12)
    assert coarse(0.5 * x + 0.2).numpy() == pytest.approx(found.numpy(), abs=1e-6)  # blind to window and level
    assert coarse(torch.rand(2, 1, 8, 20, 32)).shape == (2, 4 * 10 * 16)
    assert coarse(torch.full((1, 1, 20, 20), 0.7)).abs().max() < 1e-9
    with pytest.raises(NotFiniteError):
        coarse(torch.full((1, 1, 4, 4), torch.nan))


def images(n, seed=0):
    return torch.rand((n, 1, 20, 20), generator=torch.Generator().manual_seed(seed))


def reidentify(x, x_out, tmp_path, patients=None, rows=None, **columns):
    metric, context, n = Reidentification(NoParams()), Context(0, tmp_path), len(x)
    reference = metric.reference(view_of(x, patients=patients), context)
    rows = ones(1, n) if rows is None else rows
    return metric.compute(view_of(x, x_out, patients=patients, **columns), reference, rows, rows, context)


def test_the_identity_is_recognised_and_somebody_else_is_not(tmp_path):
    x = images(30)
    assert reidentify(x, x, tmp_path).item() == 1
    assert reidentify(x, x.roll(1, 0), tmp_path).item() == 0
    assert reidentify(x, images(30, seed=1), tmp_path).item() < 0.3
    assert reidentify(x, torch.full_like(x, 0.5), tmp_path).item() == pytest.approx(1 / 30)  # chance
    mixed = torch.cat([x[:15], x[15:].roll(1, 0)])
    assert reidentify(x, mixed, tmp_path).item() == pytest.approx(0.5)


def test_another_image_of_the_patient_counts(tmp_path):
    x = images(10)
    patients = [f"p{i // 2}" for i in range(10)]
    swapped = x.reshape(5, 2, 1, 20, 20).flip(1).reshape(10, 1, 20, 20)
    assert reidentify(x, swapped, tmp_path, patients).item() == 1
    assert reidentify(x, swapped, tmp_path).item() == 0


def test_patients_who_are_left_out_leave_the_gallery_too(tmp_path):
    x = images(12)
    rows = torch.from_numpy(jackknife_weights([str(i) for i in range(12)], 4, 0))
    found = reidentify(x, x, tmp_path, rows=rows)
    assert found.shape == (len(rows),)
    assert (found == 1).all()


def test_recall_says_why_there_is_none(tmp_path):
    x = images(4)
    with pytest.raises(UndefinedError, match="needs two of them, got 1"):
        reidentify(x, x, tmp_path, patients=["p"] * 4)
    with pytest.raises(UndefinedError, match="no case was answered"):
        reidentify(x, x, tmp_path, status=("failed",) * 4)
    with pytest.raises(UndefinedError, match="lacks images"):
        reidentify(x, None, tmp_path)


def separable(n, d, seed, shift=1.0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return torch.from_numpy(rng.normal(size=(n, d)) + shift * y[:, None] * (np.arange(d) == 0)), torch.from_numpy(y)


@given(st.integers(0, 1000), st.integers(12, 40), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_the_probe_is_scikit_learns(seed, n, d):
    x, y = separable(n, d, seed)
    w = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, (2, n)).astype(float))
    w[:, :4] = 1
    found = logistic(x, y.double(), w)
    for row, coefficients in zip(w, found, strict=True):
        reference = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8).fit(x, y, sample_weight=row)
        expected = [*reference.coef_[0], reference.intercept_[0]]
        assert coefficients.numpy() == pytest.approx(expected, abs=1e-6)


def test_the_probe_survives_what_can_be_separated_and_one_class():
    x, y = separable(20, 3, 0, shift=1000)
    assert logistic(x, y.double(), ones(1, 20)).isfinite().all()
    assert logistic(x, ones(20), ones(1, 20)).isfinite().all()


def test_components_are_scikit_learns_up_to_sign():
    x, _ = separable(80, 50, 0)
    x[:, 3] = 7.0  # tells nothing
    other, _ = separable(10, 50, 1)
    scaler = StandardScaler().fit(x)
    pca = PCA(COMPONENTS, svd_solver="full").fit(scaler.transform(x))
    expected = pca.transform(scaler.transform(torch.where(torch.arange(50) == 3, 7.0, other)))
    found = principal(other, x)
    assert found.shape == (10, COMPONENTS)
    assert found.abs().numpy() == pytest.approx(np.abs(expected), abs=1e-8)


def sklearn_gain(real, y, half, made, asked, made_half, learn):
    known, tested = half == learn, half != learn
    scaler = StandardScaler().fit(real[known])
    pca = PCA(min(COMPONENTS, real.shape[1]), svd_solver="full").fit(scaler.transform(real[known]))
    see = lambda x: pca.transform(scaler.transform(x))  # noqa: E731
    new = made_half == learn
    plain = LogisticRegression(solver="newton-cholesky", tol=1e-8).fit(see(real[known]), y[known])
    both, labels = np.concatenate([see(real[known]), see(made[new])]), np.concatenate([y[known], asked[new]])
    taught = LogisticRegression(solver="newton-cholesky", tol=1e-8).fit(both, labels)
    before, after = (roc_auc_score(y[tested], m.decision_function(see(real[tested]))) for m in (plain, taught))
    return after - before


@pytest.mark.parametrize("learn", [0, 1])
def test_the_gain_is_that_of_scikit_learn(learn):
    x, y = separable(60, 6, 0)
    made, other = separable(40, 6, 1)
    half, made_half = torch.arange(60) // 2 % 2, torch.arange(40) // 2 % 2
    found = gain(Lines(x, y, half, ones(1, 60)), Lines(made, 1 - other, made_half, ones(1, 40)), learn)
    columns = (each.numpy() for each in (x, y, half, made, 1 - other, made_half))
    assert found.item() == pytest.approx(sklearn_gain(*columns, learn), abs=1e-9)


def judged(features):
    return {"a": Judged(proba=ones(len(features), 2) / 2, features=features, grade=ones(len(features)))}


def utility(x, y, made, tmp_path, rows=None, status=None):
    context, metric, n = Context(0, tmp_path), AugmentationUtility(NoParams()), len(x)
    blank = torch.zeros(n, 1, 2, 2)
    reference = metric.reference(view_of(blank, grade=y.double(), judged=judged(x)), context)
    view = view_of(blank, blank, target=1.0 - y.double(), judged_out=judged(made), status=status)
    rows = ones(1, n) if rows is None else rows
    return metric.compute(view, reference, rows, rows, context)


def test_the_truth_teaches_and_the_identity_harms(tmp_path):
    x, y = separable(60, 40, 0, shift=1.5)
    truth = x.clone()
    truth[:, 0] += torch.where(y == 1, -1.5, 1.5)
    taught, harmed = (utility(x, y, made, tmp_path).item() for made in (truth, x))
    assert taught > 0 > harmed
    assert harmed < -0.05


def test_rows_and_failed_lines_are_left_out(tmp_path):
    x, y = separable(60, 5, 0)
    made, _ = separable(60, 5, 1)
    rows = torch.from_numpy(jackknife_weights([f"c{i}" for i in range(60)], 5, 0))
    found = utility(x, y, made, tmp_path, rows=rows)
    assert found.shape == (len(rows),)
    assert found.isfinite().all()
    broken = made.clone()
    broken[7] = torch.nan
    status = tuple("failed" if i == 7 else "ok" for i in range(60))
    assert utility(x, y, broken, tmp_path, status=status).isfinite().all()
    with pytest.raises(NotFiniteError):
        utility(x, y, broken, tmp_path)


def test_one_class_or_too_few_teach_nothing(tmp_path):
    x, y = separable(60, 5, 0)
    with pytest.raises(UndefinedError, match="5 real cases of each class in each half, got 0"):
        utility(x, torch.zeros(60, dtype=torch.long), x, tmp_path)
    with pytest.raises(UndefinedError, match="no case was answered"):
        utility(x, y, x, tmp_path, status=("failed",) * 60)


def test_scores_above_zero_are_positive():
    x, y = separable(40, 2, 0, shift=6)
    assert ((say(logistic(x, y.double(), ones(1, 40)), x)[0] > 0) == (y == 1)).all()
