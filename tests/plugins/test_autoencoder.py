"""The autoencoder and the variational autoencoder: the bound, what they learn, resuming, sizes, what they refuse."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Laplace, Normal, kl_divergence

from cfbench.errors import DataError, NotFiniteError
from cfbench.protocols import Context, LatentGenerator, SamplingGenerator
from cfbench.specs import DatasetInfo
from cfbench.types import Batch, Code
from cfbench_autoencoder.elbo import FLOOR, kl, negative_log_likelihood, reparametrised, scale
from cfbench_autoencoder.model import AE
from cfbench_autoencoder.plugin import AutoencoderParams, VaeParams, cfbench_generators
from cfbench_autoencoder.vae import VAE
from cfbench_nets import training

SMALL = {
    "channels": 4,
    "channel_mult": (1, 2),
    "res_blocks": 1,
    "groups": 2,
    "z_dim": 3,
    "steps": 6,
    "batch": 4,
    "lr": 1e-2,
    "rate": "one-cycle",
    "ema": 0.9,
    "flip": False,
}
KINDS = {"autoencoder": (AE, AutoencoderParams), "vae": (VAE, VaeParams)}


class Blobs:
    """Bright blurred balls of random place and grey value, which are the labels, on a dark ground with noise."""

    def __init__(self, n, *shape, seed=0):
        self.ids = self.patients = tuple(f"case {i}" for i in range(n))
        random = torch.Generator().manual_seed(seed)
        dims, side, sides = len(shape) - 1, shape[-1], torch.tensor(shape[1:])
        place = torch.rand(n, dims, generator=random) * sides / 2 + sides / 4
        grey = torch.rand(n, generator=random) * 0.6 + 0.2
        axes = torch.meshgrid(*[torch.arange(side) + 0.5 for side in shape[1:]], indexing="ij")
        far = sum((axis - p.reshape(n, *(1,) * dims)) ** 2 for axis, p in zip(axes, place.T, strict=True))
        ball = grey.reshape(n, *(1,) * dims) * torch.exp(-far / (side / 5) ** 2 / 2)
        self.x = ball[:, None].expand(n, *shape) + 0.1 + 0.02 * torch.randn(n, *shape, generator=random)
        self.x = self.x.clamp(0, 1)
        self.labels = {"grey": grey, "row": place[:, 0]}

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        ids = tuple(self.ids[i] for i in index)
        return Batch(ids, ids, self.x[list(index)], {})


def info(channels, *space):
    return DatasetInfo(channels=channels, space=space, labels={}, fingerprint="blobs")


def context(folder, **other):
    folder.mkdir(exist_ok=True, parents=True)
    return Context(seed=1, folder=folder, **other)


def built(kind, *shape, **changes):
    model, params = KINDS[kind]
    return model(params(**{**SMALL, **changes}), info(*shape))


def fitted(kind, folder, *shape, **changes):
    model, cases = built(kind, *shape, **changes), Blobs(12, *shape)
    model.fit(cases, cases, context(folder))
    return model, cases


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- the bound ---


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 10**6))
def test_the_divergence_is_that_of_torch_distributions(n, d, seed):
    mu, log_var = normal(n, d, seed=seed), normal(n, d, seed=seed + 1)
    q = Independent(Normal(mu, (0.5 * log_var).exp()), 1)
    p = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    torch.testing.assert_close(kl(mu, log_var), kl_divergence(q, p), rtol=1e-10, atol=1e-12)
    assert float(kl(torch.zeros(1, d), torch.zeros(1, d))) == 0


@pytest.mark.parametrize(("loss", "family"), [("mse", Normal), ("l1", Laplace)])
def test_the_likelihood_is_that_of_torch_distributions(loss, family):
    x, mean, s = normal(4, 2, 3, 3, seed=0), normal(4, 2, 3, 3, seed=1), torch.tensor(0.3, dtype=torch.float64)
    wanted = -Independent(family(mean, s), 3).log_prob(x)
    torch.testing.assert_close(negative_log_likelihood(x, mean, s, loss), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_the_scale_is_the_most_likely_one_and_never_below_a_grey_level(loss):
    x, mean = normal(4, 1, 6, 6, seed=0), normal(4, 1, 6, 6, seed=1)
    best = scale(x, mean, loss)
    likely = negative_log_likelihood(x, mean, best, loss).sum()
    assert all(likely < negative_log_likelihood(x, mean, best * f, loss).sum() for f in (0.9, 0.99, 1.01, 1.1))
    assert float(scale(x, x, loss)) == pytest.approx(FLOOR)


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_the_gradient_of_the_objective_is_that_of_the_elbo(tmp_path, loss):
    vae = built("vae", 1, 8, 8, loss=loss, beta=2.0)
    network = vae._build(context(tmp_path))
    x = Blobs(5, 1, 8, 8).x
    value = vae.objective(network, x, torch.Generator().manual_seed(7))
    found = torch.autograd.grad(value, tuple(network.parameters()))

    mu, log_var = network.encode(x).chunk(2, dim=1)
    q = Normal(mu, (0.5 * log_var).exp())
    z = q.mean + q.stddev * torch.randn(mu.shape, generator=torch.Generator().manual_seed(7))
    back = network.decode(z)
    # The noise at its own optimum, as a function of the weights: its derivative must not matter.
    error = x - back
    p = Normal(back, error.square().mean().sqrt()) if loss == "mse" else Laplace(back, error.abs().mean())
    prior = kl_divergence(q, Normal(torch.zeros(3), torch.ones(3))).sum(dim=1)
    elbo = p.log_prob(x).flatten(1).sum(dim=1) - 2.0 * prior
    wanted = torch.autograd.grad(-elbo.mean() / 64, tuple(network.parameters()))
    torch.testing.assert_close(value, -elbo.mean() / 64, rtol=1e-5, atol=1e-6)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("loss", "power"), [("mse", 2), ("l1", 1)])
def test_the_autoencoder_minimises_the_mean_error_of_a_pixel(tmp_path, loss, power):
    model, x = built("autoencoder", 1, 7, 7, loss=loss), Blobs(5, 1, 7, 7).x
    network = model._build(context(tmp_path))
    back = network.decode(network.encode(x))
    wanted = ((back - x).abs() ** power).mean()
    torch.testing.assert_close(model.objective(network, x, torch.Generator()), wanted)


def test_draws_from_the_posterior_have_its_mean_and_spread():
    mu, log_var = torch.tensor([[1.0, -2.0]]).expand(50_000, 2), torch.tensor([[0.5, -1.0]]).expand(50_000, 2)
    z = reparametrised(mu, log_var, torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(dim=0), mu[0], rtol=0, atol=0.02)
    torch.testing.assert_close(z.var(dim=0).log(), log_var[0], rtol=0, atol=0.03)


# --- learning ---


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A trained VAE, its training images and others."""
    return trained("vae", tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="module", params=["autoencoder", "vae"])
def learned(request, tmp_path_factory):
    if request.param == "vae":
        return request.getfixturevalue("vae")
    return trained(request.param, tmp_path_factory.mktemp(request.param), loss="l1")


def trained(kind, folder, **changes):
    model = built(kind, 1, 8, 8, steps=220, batch=16, z_dim=4, ema=0.95, **changes)
    train, test = Blobs(96, 1, 8, 8), Blobs(48, 1, 8, 8, seed=9)
    model.fit(train, train, context(folder))
    return model, train, test


def test_a_reconstruction_of_other_images_beats_the_mean_image(learned, tmp_path):
    model, train, test = learned
    here = context(tmp_path)
    back = model.decode(Code(model.encode(test.x, here)), here)
    mean_image = train.x.mean(dim=0, keepdim=True)
    assert float((back - test.x).square().mean()) < 0.25 * float((mean_image - test.x).square().mean())


def test_a_linear_probe_finds_planted_factors_in_the_codes(learned, tmp_path):
    model, train, test = learned
    z, z_test = (model.encode(cases.x, context(tmp_path)) for cases in (train, test))
    for factor in ("grey", "row"):
        w = torch.linalg.lstsq(with_one(z), train.labels[factor][:, None]).solution
        told = (with_one(z_test) @ w)[:, 0]
        assert float(torch.corrcoef(torch.stack([told, test.labels[factor]]))[0, 1]) > 0.8, factor


def with_one(z):
    return torch.cat([z, torch.ones(len(z), 1)], dim=1)


def test_beta_trades_the_reconstruction_for_codes_like_the_prior(vae, tmp_path):
    strict, train, _ = trained("vae", tmp_path, beta=1000.0)
    spread, error = [], []
    for model in (vae[0], strict):
        here = context(tmp_path)
        z = model.encode(train.x, here)
        spread.append(float(z.var(dim=0).sum()))
        error.append(float((model.decode(Code(z), here) - train.x).square().mean()))
    assert spread[1] < 0.05
    assert spread[0] > 0.5
    assert error[0] < 0.5 * error[1]


def test_samples_are_images_of_the_kind_it_learned(vae, tmp_path):
    model, train, _ = vae
    here = context(tmp_path)
    x = model.sample(80, here)
    assert x.shape == (80, 1, 8, 8)
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    assert torch.equal(x, model.sample(80, here))
    assert not torch.equal(x, model.sample(80, replace(here, seed=2)))
    # As bright as the training images on average, and as varied.
    assert float(x.mean()) == pytest.approx(float(train.x.mean()), abs=0.04)
    assert float(x.mean(dim=(1, 2, 3)).std() / train.x.mean(dim=(1, 2, 3)).std()) == pytest.approx(1, abs=0.4)
    # Blobs and no mixtures of them: nearer to a training image than training images are to the mean image.
    nearest = torch.cdist(x.flatten(1), train.x.flatten(1)).min(dim=1).values
    from_mean = (train.x - train.x.mean(dim=0)).flatten(1).norm(dim=1)
    assert float(nearest.median()) < float(from_mean.median())


# --- a generator like the others ---


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 9), (3, 7, 10), (1, 5, 5, 5), (1, 5, 8, 6)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_size_and_dimension_goes_there_and_back(tmp_path, kind, shape):
    model, cases = fitted(kind, tmp_path, *shape, steps=2)
    assert isinstance(model, LatentGenerator)
    assert isinstance(model, SamplingGenerator) == (kind == "vae")
    here = context(tmp_path)
    z = model.encode(cases.x[:5], here)
    rest = model.invert(cases.x[:5], z, here)
    back = model.decode(Code(z, rest), here)
    assert z.shape == (5, 3)
    assert rest == model.draw(cases.ids[:5], here) == {}
    assert back.shape == cases.x[:5].shape
    assert float(back.min()) >= 0
    assert float(back.max()) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_fit_resumes_bit_for_bit(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    whole, cases = fitted(kind, tmp_path / "whole", 1, 8, 8, flip=True)
    cut = built(kind, 1, 8, 8, flip=True)

    def kill(done, _total, _what):
        if done == 4:
            raise KeyError("killed")

    with pytest.raises(KeyError):
        cut.fit(cases, cases, context(tmp_path / "cut", progress=kill))
    resumed, seen = built(kind, 1, 8, 8, flip=True), []
    resumed.fit(cases, cases, context(tmp_path / "cut", progress=lambda done, _total, _what: seen.append(done)))
    assert seen == [5, 6]
    assert same(whole.network, resumed.network)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_weights_give_the_same_bits(tmp_path, kind):
    model, cases = fitted(kind, tmp_path / "fit", 1, 8, 8)
    store, here = tmp_path / "store", context(tmp_path / "c")
    store.mkdir()
    model.save(store)
    assert sorted(path.suffix for path in store.iterdir()) == [".json", ".safetensors"]
    again = built(kind, 1, 8, 8)
    again.load(store, here)
    z = model.encode(cases.x, here)
    assert torch.equal(again.encode(cases.x, here), z)
    assert torch.equal(again.decode(Code(z), here), model.decode(Code(z), here))
    if isinstance(model, VAE):
        assert torch.equal(again.sample(4, here), model.sample(4, here))


def test_weights_of_another_kind_are_refused(tmp_path):
    model, _ = fitted("autoencoder", tmp_path / "fit", 1, 8, 8, steps=1)
    model.save(tmp_path)
    for other, words in [
        (built("vae", 1, 8, 8), "kind is autoencoder, not vae"),
        (built("autoencoder", 3, 8, 8), "channels is 1, not 3"),
        (built("autoencoder", 1, 8, 8, z_dim=4), r"encoder.out.weight is \(3, 128\) instead of \(4, 128\)"),
    ]:
        with pytest.raises(DataError, match=words):
            other.load(tmp_path, context(tmp_path / "c"))


def test_a_code_of_the_vae_is_the_mean_and_results_do_not_depend_on_the_company(tmp_path):
    vae, cases = fitted("vae", tmp_path, 1, 8, 8)
    here = context(tmp_path)
    z = vae.encode(cases.x, here)
    with torch.inference_mode():
        torch.testing.assert_close(z, vae.network.encode(cases.x)[:, :3])
    torch.testing.assert_close(vae.encode(cases.x[3:5], here), z[3:5], rtol=1e-4, atol=1e-5)
    many = torch.cat([cases.x] * 6)
    assert len(many) > 64
    torch.testing.assert_close(vae.encode(many, here)[-12:], z, rtol=1e-4, atol=1e-5)


def test_the_seed_and_mirroring_are_part_of_the_training(tmp_path):
    plain, cases = fitted("autoencoder", tmp_path / "a", 1, 8, 8)
    repeated, _ = fitted("autoencoder", tmp_path / "b", 1, 8, 8)
    mirrored, _ = fitted("autoencoder", tmp_path / "c", 1, 8, 8, flip=True)
    other = built("autoencoder", 1, 8, 8)
    other.fit(cases, cases, replace(context(tmp_path / "d"), seed=2))
    assert same(plain.network, repeated.network)
    assert not same(plain.network, mirrored.network)
    assert not same(plain.network, other.network)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_trains_in_float32_weights(tmp_path, kind):
    model, cases = fitted(kind, tmp_path, 1, 8, 8, precision="bfloat16")
    exact, _ = fitted(kind, tmp_path / "exact", 1, 8, 8)
    assert all(weight.dtype == torch.float32 for weight in model.network.parameters())
    assert not same(model.network, exact.network)
    assert model.encode(cases.x, context(tmp_path)).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_requests_say_what_to_do(tmp_path, kind):
    with pytest.raises(DataError, match="fit"):
        built(kind, 1, 8, 8).encode(torch.rand(1, 1, 8, 8), context(tmp_path))
    cases = Blobs(4, 1, 8, 8)
    cases.x[2, 0, 0, 0] = float("nan")
    with pytest.raises(NotFiniteError, match=r"step 0 of 6.*images"):
        built(kind, 1, 8, 8).fit(cases, cases, context(tmp_path))


def test_the_offers_are_complete():
    offers = {spec.name: spec for spec in cfbench_generators()}
    assert offers["autoencoder"].provides == {"latent"}
    assert offers["vae"].provides == {"latent", "sampling"}
    for name, spec in offers.items():
        json.dumps(asdict(spec.params()))
        for values in spec.presets.values():
            assert KINDS[name][0](spec.params(**values), info(1, 28, 28)).params.steps <= 1500
