"""PCA against scikit-learn's full decomposition, and as a generator."""

import time

import numpy as np
import pytest
import torch
from sklearn import decomposition
from torch.testing import assert_close

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import Context, LatentGenerator, SamplingGenerator
from cfbench.specs import DatasetInfo
from cfbench.types import Batch, Code
from cfbench_pca.model import PCA, eigenimages
from cfbench_pca.plugin import PCAParams, cfbench_generators


class Cases:
    """Images with a few smooth factors."""

    def __init__(self, n, space=(12, 10), channels=1, seed=0):
        random = torch.Generator().manual_seed(seed)
        low = torch.rand(n, channels, *(4,) * len(space), generator=random)
        mode = {2: "bilinear", 3: "trilinear"}[len(space)]
        self.x = torch.nn.functional.interpolate(low, space, mode=mode)
        self.ids = self.patients = tuple(f"c{i}" for i in range(n))
        self.labels = {}

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        ids = tuple(self.ids[i] for i in index)
        return Batch(ids, ids, None if self.x is None else self.x[list(index)], {})


def info(space=(12, 10), channels=1):
    return DatasetInfo(channels=channels, space=space, labels={}, fingerprint="test")


@pytest.fixture
def context(tmp_path):
    return Context(seed=3, folder=tmp_path)


def fitted(context, cases, z_dim=8, **shape):
    model = PCA(PCAParams(z_dim=z_dim), info(**shape))
    model.fit(cases, cases, context)
    return model


def test_the_spec_names_the_class():
    (spec,) = cfbench_generators()
    assert spec.factory == f"{PCA.__module__}:{PCA.__name__}"
    assert isinstance(PCA(PCAParams(), info()), LatentGenerator)
    assert isinstance(PCA(PCAParams(), info()), SamplingGenerator)


@pytest.mark.parametrize(("n", "p"), [(40, 90), (90, 40)], ids=["few cases", "few pixels"])
def test_directions_and_variances_are_scikit_learns(n, p):
    x = np.random.default_rng(0).normal(size=(n, p)) * np.linspace(1, 3, p)
    reference = decomposition.PCA(10, svd_solver="full").fit(x)
    variance, V = eigenimages(torch.from_numpy(x - x.mean(axis=0)), 10)
    assert_close(variance, torch.from_numpy(reference.explained_variance_), rtol=1e-9, atol=0)
    cosine = (V * torch.from_numpy(reference.components_)).sum(dim=1)
    assert_close(cosine.abs(), torch.ones(10).double(), rtol=1e-9, atol=0)
    assert_close(V @ V.T, torch.eye(10).double(), rtol=0, atol=1e-10)
    assert (V.gather(1, V.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_as_many_components_as_factors_give_the_image_back(context):
    cases = Cases(60)
    model = fitted(context, cases, z_dim=16)
    z = model.encode(cases.x, context)
    assert model.invert(cases.x, z, context) == model.draw(cases.ids, context) == {}
    assert_close(model.decode(Code(z), context), cases.x, rtol=0, atol=1e-5)


def test_fewer_components_reconstruct_as_well_as_scikit_learn_can(context):
    cases = Cases(60)
    model, flat = fitted(context, cases, z_dim=5), cases.x.flatten(1).double().numpy()
    reference = decomposition.PCA(5, svd_solver="full").fit(flat)
    best = torch.from_numpy(reference.inverse_transform(reference.transform(flat))).reshape(cases.x.shape).clamp(0, 1)
    assert_close(model.decode(Code(model.encode(cases.x, context)), context), best.float(), rtol=0, atol=1e-5)


def test_decoding_stays_in_range(context):
    model = fitted(context, Cases(60))
    x = model.decode(Code(torch.full((3, 8), 50.0)), context)
    assert x.min() >= 0
    assert x.max() <= 1


def test_samples_have_the_statistics_of_the_training_codes(context):
    cases = Cases(300)
    model = fitted(context, cases)
    x = model.sample(4000, context)
    train, drawn = model.encode(cases.x, context), model.encode(x, context)
    assert_close(drawn.std(dim=0) / train.std(dim=0), torch.ones(8), rtol=0, atol=0.06)
    assert (drawn.mean(dim=0) / train.std(dim=0)).abs().max() < 0.08
    assert torch.equal(x, model.sample(4000, context))
    other = Context(seed=4, folder=context.folder)
    assert not torch.equal(x[:5], model.sample(5, other))


@pytest.mark.parametrize("shape", [{"channels": 3}, {"space": (6, 8, 7)}], ids=["colour", "volume"])
def test_saved_and_loaded_it_is_the_same(context, tmp_path, shape):
    cases = Cases(50, **shape)
    model = fitted(context, cases, **shape)
    model.save(tmp_path)
    again = PCA(PCAParams(z_dim=8), info(**shape))
    again.load(tmp_path, context)
    z = model.encode(cases.x, context)
    assert torch.equal(again.encode(cases.x, context), z)
    assert again.decode(Code(z), context).shape == cases.x.shape
    assert torch.equal(again.decode(Code(z), context), model.decode(Code(z), context))


def test_fits_repeat_bit_for_bit(context):
    one, two = (fitted(context, Cases(60)).state for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_fit_is_quick(context):
    cases = Cases(1500, space=(48, 48))
    cases.x = cases.x + 0.05 * torch.rand(cases.x.shape, generator=torch.Generator().manual_seed(0))
    start = time.process_time()
    fitted(context, cases, z_dim=32, space=(48, 48))
    assert time.process_time() - start < 3  # about 0.5 s on one quiet core


def test_bad_input_is_refused_with_a_sentence(context):
    with pytest.raises(UndefinedError, match="z_dim 8 needs 9 training cases"):
        fitted(context, Cases(8))
    with pytest.raises(UndefinedError, match="span 16 dimensions only"):
        fitted(context, Cases(60), z_dim=20)
    same = Cases(60)
    same.x = same.x[:1].expand(60, -1, -1, -1)
    with pytest.raises(UndefinedError, match="span 0 dimensions only"):
        fitted(context, same)
    broken = Cases(20)
    broken.x[3, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="NaN"):
        fitted(context, broken)
    broken.x = None
    with pytest.raises(UndefinedError, match="has none"):
        fitted(context, broken)
