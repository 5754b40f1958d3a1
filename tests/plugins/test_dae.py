"""The diffusion autoencoder as a generator: resuming, codes, sizes, what it refuses."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from cfbench.errors import DataError, NotFiniteError, SuiteError
from cfbench.protocols import Context, LatentGenerator
from cfbench.specs import DatasetInfo
from cfbench.types import Batch, Code
from cfbench_dae.model import DAE, denoising_loss
from cfbench_dae.network import Autoencoder
from cfbench_dae.plugin import DaeParams, cfbench_generators
from cfbench_nets import training
from cfbench_nets.betas import alpha_bar

TINY = DaeParams(
    channels=4,
    channel_mult=(1, 2),
    encoder_mult=(1, 2, 2),
    res_blocks=1,
    attention_resolutions=(4,),
    groups=2,
    z_dim=3,
    time_dim=4,
    objective="v",
    schedule="cosine",
    steps=6,
    batch=4,
    lr=1e-2,
    rate="one-cycle",
    ema=0.9,
    encode_steps=20,
    decode_steps=10,
    encode_to="last",
)


class Blobs:
    """Bright squares of random size on a dark ground."""

    def __init__(self, n, *shape):
        self.ids = self.patients = tuple(f"case {i}" for i in range(n))
        self.labels = {}
        random = torch.Generator().manual_seed(0)
        self.x = torch.zeros(n, *shape)
        for i, edge in enumerate(torch.randint(1, shape[-1] - 1, (n,), generator=random)):
            self.x[(i, ..., *(slice(1, 1 + edge),) * (len(shape) - 1))] = 0.9

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


def fitted(folder, *shape, **changes):
    dae, cases = DAE(replace(TINY, **changes), info(*shape)), Blobs(12, *shape)
    dae.fit(cases, cases, context(folder))
    return dae, cases


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def shaken(dae):
    """Give a tiny network random weights, so that nothing about it is zero."""
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in dae.network.parameters():
            weight.add_(torch.randn(weight.shape, generator=random), alpha=0.1)
    return dae


# A size that halves evenly, one that must be padded, colours, a volume.
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 10, 10), (3, 7, 7), (1, 6, 6, 6)])
def test_every_size_and_dimension_goes_there_and_back(tmp_path, shape):
    dae, cases = fitted(tmp_path, *shape, steps=2, encode_steps=50, decode_steps=50)
    assert isinstance(dae, LatentGenerator)
    x, here = cases.x[:5], context(tmp_path)
    z = dae.encode(x, here)
    rest = dae.invert(x, z, here)
    back = dae.decode(Code(z, rest), here)
    assert z.shape == (5, 3)
    assert rest["x_T"].dtype == torch.float32
    assert set(rest["x_T"].shape[2:]) == {-(-shape[-1] // 2) * 2}
    assert back.shape == x.shape
    assert float(back.min()) >= 0
    assert float(back.max()) <= 1
    # Inversion undoes decoding whatever the weights are.
    assert float((back - x).abs().mean()) < 0.05
    drawn = dae.draw(cases.ids[:5], here)
    assert drawn["x_T"].shape == rest["x_T"].shape


def test_a_killed_fit_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    whole, cases = fitted(tmp_path / "whole", 1, 8, 8)
    cut = DAE(TINY, info(1, 8, 8))

    def kill(done, _total, _what):
        if done == 4:
            raise KeyError("killed")

    with pytest.raises(KeyError):
        cut.fit(cases, cases, context(tmp_path / "cut", progress=kill))
    resumed = DAE(TINY, info(1, 8, 8))
    seen = []
    resumed.fit(cases, cases, context(tmp_path / "cut", progress=lambda done, _total, _what: seen.append(done)))
    assert seen == [5, 6]
    assert same(whole.network, resumed.network)


def test_it_learns_what_x_t_does_not_hold(tmp_path):
    before, cases = fitted(tmp_path / "a", 1, 8, 8, steps=1)
    after, _ = fitted(tmp_path / "b", 1, 8, 8, steps=150)
    errors = []
    for dae in (before, after):
        here = context(tmp_path / "c")
        z = dae.encode(cases.x, here)
        errors.append(float((dae.decode(Code(z, dae.draw(cases.ids, here)), here) - cases.x).abs().mean()))
    assert errors[1] < 0.5 * errors[0]


def test_saved_weights_decode_the_same(tmp_path):
    dae, cases = fitted(tmp_path / "fit", 1, 8, 8)
    store, here = tmp_path / "store", context(tmp_path / "c")
    store.mkdir()
    dae.save(store)
    assert sorted(path.suffix for path in store.iterdir()) == [".json", ".safetensors"]
    again = DAE(TINY, info(1, 8, 8))
    again.load(store, here)
    assert torch.equal(again.encode(cases.x, here), dae.encode(cases.x, here))
    code = Code(dae.encode(cases.x, here), dae.draw(cases.ids, here))
    assert torch.equal(again.decode(code, here), dae.decode(code, here))


@pytest.mark.parametrize(
    ("changes", "shape", "words"),
    [
        ({"objective": "epsilon"}, (1, 8, 8), "objective is v, not epsilon"),
        ({"T": 500}, (1, 8, 8), "T is 1000, not 500"),
        ({}, (3, 8, 8), "channels is 1, not 3"),
        ({"z_dim": 4}, (1, 8, 8), r"encoder.out.weight is \(3, 8\) instead of \(4, 8\)"),
    ],
)
def test_weights_of_another_kind_are_refused(tmp_path, changes, shape, words):
    dae, _ = fitted(tmp_path / "fit", 1, 8, 8, steps=1)
    dae.save(tmp_path)
    with pytest.raises(DataError, match=words):
        DAE(replace(TINY, **changes), info(*shape)).load(tmp_path, context(tmp_path / "c"))


def test_a_drawn_x_t_depends_on_seed_and_case_alone(tmp_path):
    dae, here = DAE(TINY, info(1, 8, 8)), context(tmp_path)
    three, one = dae.draw(["a", "b", "c"], here)["x_T"], dae.draw(["b"], here)["x_T"]
    assert torch.equal(three[1:2], one)
    assert not torch.equal(three[0], three[1])
    assert not torch.equal(dae.draw(["b"], replace(here, seed=2))["x_T"], one)
    many = dae.draw([f"case {i}" for i in range(200)], here)["x_T"]
    assert float(many.mean()) == pytest.approx(0, abs=0.04)
    assert float(many.std()) == pytest.approx(1, abs=0.04)


def test_results_do_not_depend_on_the_company(tmp_path):
    dae, cases = fitted(tmp_path, 1, 8, 8)
    shaken(dae)
    here = context(tmp_path)
    z = dae.encode(cases.x, here)
    torch.testing.assert_close(dae.encode(cases.x[3:5], here), z[3:5], rtol=1e-4, atol=1e-5)
    many = torch.cat([cases.x] * 6)
    assert len(many) > 64
    torch.testing.assert_close(dae.encode(many, here)[-12:], z, rtol=1e-4, atol=1e-5)


def test_the_code_steers_and_the_published_jump_changes_x_t(tmp_path):
    dae, cases = fitted(tmp_path, 1, 8, 8)
    shaken(dae)
    here, x = context(tmp_path), cases.x[:4]
    z = dae.encode(x, here)
    rest = dae.invert(x, z, here)
    assert (dae.decode(Code(z + 5, rest), here) - dae.decode(Code(z, rest), here)).abs().max() > 1e-3
    dae.params = replace(TINY, encode_to="zero")
    assert not torch.equal(dae.invert(x, z, here)["x_T"], rest["x_T"])


def test_mirroring_and_dropout_are_part_of_the_training(tmp_path):
    plain, _ = fitted(tmp_path / "a", 1, 8, 8, flip=False, dropout=0.0)
    mirrored, _ = fitted(tmp_path / "b", 1, 8, 8, flip=True, dropout=0.0)
    dropped, _ = fitted(tmp_path / "c", 1, 8, 8, flip=False, dropout=0.5)
    assert not same(plain.network, mirrored.network)
    assert not same(plain.network, dropped.network)


def test_standardised_and_whitened_codes_are_white_and_decode_as_the_plain_ones(tmp_path):
    plain, cases = fitted(tmp_path / "a", 1, 8, 8, standardise=True, steps=60)
    white, _ = fitted(tmp_path / "b", 1, 8, 8, standardise=True, steps=60, whiten=True)
    here = context(tmp_path / "c")
    z, u = plain.encode(cases.x, here), white.encode(cases.x, here)
    assert not torch.equal(z, u)
    torch.testing.assert_close(u.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-3)
    assert float(u[:, 0].std(correction=0)) == pytest.approx(1, abs=1e-3)
    assert float((u.T @ u / len(u)).triu(1).abs().max()) < 1e-2
    rest = plain.draw(cases.ids, here)
    torch.testing.assert_close(
        white.decode(Code(u, rest), here), plain.decode(Code(z, rest), here), rtol=1e-3, atol=1e-3
    )
    # Standardised: far from the 0.01 that a new encoder's codes vary by.
    assert float(z.std(dim=0).mean()) > 0.3


def test_times_are_drawn_with_the_density_asked_for(tmp_path):
    seen = []

    class Listening(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x, x_t, t):
            seen.append(t)
            return x_t * self.weight

    for power in (1.0, 3.0):
        denoising_loss(
            replace(TINY, time_power=power),
            Listening(),
            torch.zeros(20_000, 1, 1, 1),
            alpha_bar("cosine", 1000),
            torch.Generator().manual_seed(0),
        )
        t = seen.pop().double()
        assert float(t.mean()) == pytest.approx(1000 * power / (power + 1), abs=8)
        assert 0 <= float(t.min()) < float(t.max()) == 999


def test_nan_in_the_images_is_named(tmp_path):
    cases = Blobs(4, 1, 8, 8)
    cases.x[2, 0, 0, 0] = float("nan")
    with pytest.raises(NotFiniteError, match=r"step 0 of 6.*images"):
        DAE(TINY, info(1, 8, 8)).fit(cases, cases, context(tmp_path))


def test_impossible_requests_say_what_to_do(tmp_path):
    with pytest.raises(SuiteError, match="square or cubic"):
        DAE(TINY, info(1, 8, 10))
    with pytest.raises(SuiteError, match="K = 60"):
        DAE(replace(TINY, decode_steps=60), info(1, 8, 8))
    dae = DAE(TINY, info(1, 8, 8))
    with pytest.raises(DataError, match="fit"):
        dae.encode(torch.rand(1, 1, 8, 8), context(tmp_path))
    with pytest.raises(DataError, match="x_T"):
        dae.decode(Code(torch.zeros(1, 3)), context(tmp_path))


def test_the_offer_is_complete_and_its_defaults_are_the_published_template():
    (spec,) = cfbench_generators()
    assert spec.provides == {"latent"}
    for values in spec.presets.values():
        DAE(DaeParams(**values), info(1, 48, 48))
    json.dumps(asdict(DaeParams()))
    with torch.device("meta"):
        network = Autoencoder(DaeParams(), channels=3, dims=2, side=64)
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(90.84, abs=0.006)
