"""Distances between sets: closed forms, direct loops, agreement of routes; Inception with a local weight file."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_fid import inception as published
from scipy.linalg import sqrtm
from torch import Tensor

from cfbench.errors import ChecksumError, DataError, NotFiniteError, UndefinedError
from cfbench.protocols import Context
from cfbench.specs import NoParams
from cfbench.statistics import jackknife_interval, jackknife_weights, patient_bootstrap_weights
from cfbench.types import Judged, Reference, View
from cfbench_metrics import kernel, weights
from cfbench_metrics.dealing import keys_of
from cfbench_metrics.distribution import fid, kid
from cfbench_metrics.floor import fid_floor, real_floor
from cfbench_metrics.frechet import frechet_distances, nuclear_norm, root_trace
from cfbench_metrics.inception import inception_features
from cfbench_metrics.judge_distance import fd_judge, kid_judge
from cfbench_metrics.kernel import kernel_distances
from cfbench_metrics.params import FloorSize

torch.set_num_threads(1)


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def ones(*shape):
    return torch.ones(shape, dtype=torch.float64)


def with_moments(n, mean, variance, seed=0):
    """Return n samples whose sample mean is exactly `mean` and whose unbiased covariance exactly diag(variance)."""
    raw = normal(n, len(mean), seed=seed)
    basis = torch.linalg.qr(raw - raw.mean(0))[0] * (n - 1) ** 0.5
    return torch.tensor(mean).double() + basis * torch.tensor(variance).double().sqrt()


def oracle_frechet(x, y):
    """Return the distance from NumPy's moments and the eigenvalues of the product of the two covariances."""
    x, y = x.numpy(), y.numpy()
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(s1 @ s2).real.clip(0)).sum()
    return np.square(x.mean(0) - y.mean(0)).sum() + np.trace(s1) + np.trace(s2) - 2 * roots


@pytest.mark.parametrize("n", [6, 40])  # 6 cases go the low-rank way, 40 the other
def test_frechet_of_diagonal_gaussians_is_its_closed_form(n):
    a, b = (1.0, 4.0, 0.25), (9.0, 1.0, 0.25)
    x, y = with_moments(n, (0.0, 1.0, 2.0), a), with_moments(n, (1.0, 1.0, 0.0), b, seed=1)
    expected = (1 + 0 + 4) + sum((s**0.5 - t**0.5) ** 2 for s, t in zip(a, b, strict=True))
    assert frechet_distances(x, y, ones(1, n), ones(1, n)).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(12, 9, 40), (60, 80, 8), (7, 200, 20)])
def test_frechet_equals_the_definition(n, m, d):
    x, y = normal(n, d), 1.5 * normal(m, d, seed=1) + 0.3
    found = frechet_distances(x.float(), y.float(), ones(1, n), ones(1, m))
    assert found.dtype == torch.float64
    # eigenvalues of a product of deficient matrices are good to half the digits only, in the oracle
    assert found.item() == pytest.approx(oracle_frechet(x.float().double(), y.float().double()), rel=1e-5)


@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(3, 30), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_both_routes_agree(seed, n, m, d):
    a, b = normal(n, d, seed=seed), normal(m, d, seed=seed + 1)
    assert nuclear_norm(a, b).item() == pytest.approx(root_trace(a.T @ a, b.T @ b).item(), rel=1e-6)


@pytest.mark.parametrize("distances", [frechet_distances, kernel_distances])
def test_weights_are_as_good_as_repeated_or_missing_lines(distances):
    x, y = normal(30, 5), normal(25, 5, seed=1) + 0.2
    w = torch.from_numpy(jackknife_weights([f"p{i // 3}" for i in range(30)], 5, 0))
    v = torch.from_numpy(jackknife_weights([f"q{i}" for i in range(25)], 5, 0))
    expected = [
        distances(x[a > 0], y[b > 0], ones(1, int(a.sum())), ones(1, int(b.sum()))).item()
        for a, b in zip(w, v, strict=True)
    ]
    assert distances(x, y, w, v).numpy() == pytest.approx(expected, rel=1e-9)


def test_frechet_weights_are_those_of_numpys_covariance():
    x, y = normal(20, 4), normal(30, 4, seed=1)
    v = torch.rand(30, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.1
    mean, cov = np.average(y, axis=0, weights=v), np.cov(y.numpy().T, aweights=v.numpy())
    own = np.cov(x.numpy().T)
    gap = np.square(x.numpy().mean(0) - mean).sum()
    expected = gap + np.trace(own + cov - 2 * np.real(sqrtm(own @ cov)))
    assert frechet_distances(x, y, ones(1, 20), v[None]).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("distances", [frechet_distances, kernel_distances])
@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_distances_are_symmetric_and_indifferent_to_order(distances, seed):
    x, y = normal(9, 4, seed=seed), normal(11, 4, seed=seed + 1)
    forth, back = distances(x, y, ones(1, 9), ones(1, 11)), distances(y, x, ones(1, 11), ones(1, 9))
    shuffled = distances(x.flip(0), y, ones(1, 9), ones(1, 11))
    assert forth.item() == pytest.approx(back.item(), abs=1e-8)
    assert forth.item() == pytest.approx(shuffled.item(), abs=1e-8)


def test_frechet_of_a_set_with_itself_is_zero_and_of_constants_their_distance():
    x = normal(50, 6)
    assert frechet_distances(x, x, ones(1, 50), ones(1, 50)).item() == pytest.approx(0, abs=1e-9)
    flat = torch.full((4, 3), 2.0)
    found = frechet_distances(flat, torch.zeros(5, 3), ones(1, 4), ones(1, 5)).item()
    assert found == pytest.approx(12)


def test_frechet_of_few_cases_with_a_large_common_offset():
    # as Inception's features: all near .4, fewer cases than dimensions
    x, y = (normal(40, 128) * 0.01 + 0.4).float(), (normal(40, 128, seed=1) * 0.01 + 0.4).float()
    found = frechet_distances(x, y, ones(1, 40), ones(1, 40)).item()
    assert found == pytest.approx(oracle_frechet(x.double(), y.double()), rel=1e-5)


def loop_kid(x, y):
    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kernel_distance_equals_a_double_loop():
    x, y = normal(13, 6), normal(11, 6, seed=1) + 0.3
    found = kernel_distances(x, y, ones(1, 13), ones(1, 11)).item()
    assert found == pytest.approx(loop_kid(x, y), rel=1e-10)


def test_kernel_distance_in_blocks_is_the_same(monkeypatch):
    x, y = normal(40, 5), normal(30, 5, seed=1)
    w, v = torch.from_numpy(patient_bootstrap_weights([str(i) for i in range(40)], 4, 0)), ones(5, 30)
    whole = kernel_distances(x, y, w, v)
    monkeypatch.setattr(kernel, "_BLOCK", 7)
    assert kernel_distances(x, y, w, v).numpy() == pytest.approx(whole.numpy(), rel=1e-10, abs=1e-12)


def test_kernel_distance_is_unbiased_where_the_frechet_distance_is_not():
    small = [(normal(20, 8, seed=i), normal(20, 8, seed=1000 + i)) for i in range(300)]
    kids = torch.cat([kernel_distances(x, y, ones(1, 20), ones(1, 20)) for x, y in small])
    fds = torch.cat([frechet_distances(x, y, ones(1, 20), ones(1, 20)) for x, y in small])
    assert kids.mean().abs() < 3 * kids.std() / 300**0.5
    assert (kids < 0).any()
    assert fds.mean() > 20 * fds.std() / 300**0.5


@pytest.mark.parametrize("distances", [frechet_distances, kernel_distances])
def test_a_draw_of_one_case_has_no_distance(distances):
    x = normal(3, 2)
    w = torch.tensor([[1.0, 1, 1], [1, 0, 0]], dtype=torch.float64)
    found = distances(x, x, w, ones(2, 3))
    assert found[0].isfinite()
    assert found[1].isnan()


def test_jackknife_covers_a_known_kernel_distance():
    # two Gaussians in one dimension, 40 patients of 2 cases each
    shift, trials, covered = 0.7, 120, 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        x = torch.from_numpy(rng.normal(size=(80, 1)))
        y = torch.from_numpy(rng.normal(size=(80, 1))) + shift
        rows = torch.from_numpy(jackknife_weights([f"p{i // 2}" for i in range(80)], 20, trial))
        values = kernel_distances(x, y, rows, rows).numpy()
        bounds = jackknife_interval(float(values[0]), values[1:])
        covered += bounds.low <= true_distance(shift) <= bounds.high
    assert 0.88 <= covered / trials <= 0.99


def true_distance(shift):
    """Return MMD^2 of N(0, 1) and N(shift, 1) for k = (ab + 1)^3: squared differences of moments, 3, 3 and 1 times."""
    return 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2


def view_of(x_out=None, *, status=None, x=None, judged=None, judged_out=None, n=None):
    n = n or len(x_out if x_out is not None else x)
    names = tuple(f"c{i}" for i in range(n))
    return View(
        "counterfactual", None, names, names, status or ("ok",) * n,
        x=x, x_out=x_out, judged=judged or {}, judged_out=judged_out or {},
    )  # fmt: skip


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """A file of the right architecture; only the published one may be used outside tests."""
    home = tmp_path_factory.mktemp("torch")
    file = home / "hub" / "checkpoints" / weights.INCEPTION.name
    file.parent.mkdir(parents=True)
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        kept = {}

        def capture(self, state):
            kept.update(self.state_dict())

        patch.setattr(published, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(published.torchvision.models.Inception3, "load_state_dict", capture)
        published.fid_inception_v3()
        for name, value in kept.items():
            if name.endswith("conv.weight"):  # the default's activations fade away over so many layers
                torch.nn.init.kaiming_normal_(value)
    torch.save(kept, file)
    return file


@pytest.fixture
def local_weights(inception_file, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(inception_file.parents[2]))
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "INCEPTION", replace(weights.INCEPTION, checksum=f"sha256:{digest}"))
    return inception_file


def images(n, seed=0):
    return torch.rand((n, 1, 24, 24), generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("local_weights")
def test_features_are_those_of_pytorch_fid(tmp_path):
    x = images(3)
    before = torch.get_rng_state()
    found = inception_features(x, Context(seed=0, folder=tmp_path))
    assert torch.equal(torch.get_rng_state(), before)
    # its own loader, which takes the file below TORCH_HOME as it is
    expected = published.InceptionV3().eval()(x.repeat(1, 3, 1, 1))[0].flatten(1)
    assert found.shape == (3, 2048)
    assert found.numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-4 * expected.abs().max().item())
    assert found.std(0).max() > 0.01 * found.abs().max()


@pytest.mark.usefixtures("local_weights")
def test_fid_and_kid_end_to_end(tmp_path):
    context = Context(seed=0, folder=tmp_path)
    real, made = images(4), images(5, seed=1)
    made[1] = torch.nan  # an answer that failed
    view = view_of(made, status=("ok", "failed", "ok", "ok", "ok"))
    rows = torch.from_numpy(jackknife_weights([str(i) for i in range(5)], 5, 0))
    kept = [0, 2, 3, 4]
    metric = fid(NoParams())
    reference = metric.reference(view_of(x=real), context)
    assert reference.tensors["features"].shape == (4, 2048)
    found = metric.compute(view, reference, rows, ones(6, 4), context)
    made_features = inception_features(made[kept], context)
    expected = frechet_distances(made_features, reference.tensors["features"], rows[:, kept], ones(6, 4))
    assert torch.equal(found, expected)
    assert (found > 0).all()
    again = kid(NoParams()).compute(view, reference, rows[:1], ones(1, 4), context)
    assert again.item() == pytest.approx(loop_kid(made_features.double(), reference.tensors["features"].double()))


@pytest.mark.usefixtures("local_weights")
def test_fid_refuses_unequal_sets_and_has_a_floor(tmp_path):
    context = Context(seed=0, folder=tmp_path)
    real = images(8)
    reference = fid(NoParams()).reference(view_of(x=real), context)
    with pytest.raises(UndefinedError, match="equal size only, got 2 answered and 8 real"):
        fid(NoParams()).compute(view_of(images(2)), reference, ones(1, 2), ones(1, 8), context)
    floor = fid_floor(FloorSize())
    found = floor.compute(view_of(n=8), floor.reference(view_of(x=real), context), ones(1, 8), ones(1, 8), context)
    keys = keys_of(view_of(x=real).patients)
    expected = real_floor(reference.tensors["features"], keys, ones(1, 8), "all")
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert found.item() > 0
    with pytest.raises(UndefinedError, match="no images"):
        floor.reference(view_of(n=2), context)


def test_inception_refuses_any_other_file(inception_file, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(inception_file.parents[2]))  # and the published checksum stays
    with pytest.raises(ChecksumError, match="6726825d"):
        fid(NoParams()).reference(view_of(x=images(2)), Context(seed=0, folder=tmp_path))


def test_inception_is_never_downloaded(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("something tries to download")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(DataError, match="pt_inception"):
        fid(NoParams()).reference(view_of(x=images(2)), Context(seed=0, folder=tmp_path))


@pytest.mark.parametrize("factory", [fid, kid])
def test_sets_say_what_they_lack(factory, tmp_path):
    context = Context(seed=0, folder=tmp_path)
    with pytest.raises(UndefinedError, match="no images"):
        factory(NoParams()).reference(view_of(n=2), context)
    with pytest.raises(UndefinedError, match="lacks images"):
        factory(NoParams()).compute(view_of(n=2), Reference({}), ones(1, 2), ones(1, 0), context)


def judged(features: Tensor):
    return Judged(proba=torch.ones(len(features), 1), features=features, grade=torch.zeros(len(features)))


@pytest.mark.parametrize(("factory", "distances"), [(fd_judge, frechet_distances), (kid_judge, kernel_distances)])
def test_judge_distances_are_means_over_judges_of_the_answered_lines(factory, distances, tmp_path):
    context = Context(seed=0, folder=tmp_path)
    real = {"a": judged(normal(20, 4).float()), "b": judged(normal(20, 6, seed=1).float())}
    made = {"a": judged(normal(21, 4, seed=2).float()), "b": judged(normal(21, 6, seed=3).float() + 1)}
    made["a"].features[7] = torch.nan
    kept = [i for i in range(21) if i != 7]
    status = tuple("ok" if i in kept else "failed" for i in range(21))
    metric = factory(NoParams())
    reference = metric.reference(view_of(n=20, judged=real), context)
    rows, others = torch.from_numpy(jackknife_weights([str(i) for i in range(21)], 7, 0)), ones(8, 20)
    found = metric.compute(view_of(n=21, status=status, judged_out=made), reference, rows, others, context)
    each = [distances(made[k].features[kept], real[k].features, rows[:, kept], others) for k in ("a", "b")]
    assert found.numpy() == pytest.approx(((each[0] + each[1]) / 2).numpy(), rel=1e-12)


def test_judge_distances_say_why_there_is_no_number(tmp_path):
    context = Context(seed=0, folder=tmp_path)
    metric = fd_judge(NoParams())
    ten = {"a": judged(normal(10, 6))}
    reference = Reference({"a": normal(10, 6)})
    with pytest.raises(UndefinedError, match="12 cases are needed on each side for the 6 features of judge a"):
        metric.compute(view_of(n=10, judged_out=ten), reference, ones(1, 10), ones(1, 10), context)
    with pytest.raises(UndefinedError, match="not been judged by a"):
        metric.compute(view_of(n=10, judged_out=ten), Reference({}), ones(1, 10), ones(1, 0), context)
    with pytest.raises(UndefinedError, match="has not been judged"):
        metric.reference(view_of(n=10), context)
    failed = view_of(n=10, judged_out=ten, status=("failed",) * 10)
    with pytest.raises(UndefinedError, match="equal size only, got 0 answered and 10 real"):
        metric.compute(failed, reference, ones(1, 10), ones(1, 10), context)
    broken = {"a": judged(torch.full((10, 6), torch.nan))}
    with pytest.raises(NotFiniteError, match="features of the answered images"):
        metric.compute(view_of(n=10, judged_out=broken), reference, ones(1, 10), ones(1, 10), context)
