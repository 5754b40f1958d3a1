"""The diffusion autoencoder as a generator: resuming, codes, sizes, what it refuses."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from cfbench.errors import DataError, NotFiniteError, SuiteError
from cfbench.protocols import Context, LatentGenerator
from cfbench.specs import DatasetInfo
from cfbench.types import Batch, Code
from cfbench_dae.model import DAE, denoising_loss
from cfbench_dae.plugin import DaeParams, cfbench_generators
from cfbench_dae.presets import PRESETS
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
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 10, 10), (3, 7, 7), (1, 9, 14), (1, 6, 6, 6), (1, 5, 8, 6)])
def test_every_size_and_dimension_goes_there_and_back(tmp_path, shape):
    dae, cases = fitted(tmp_path, *shape, steps=2, encode_steps=50, decode_steps=50)
    assert isinstance(dae, LatentGenerator)
    x, here = cases.x[:5], context(tmp_path)
    z = dae.encode(x, here)
    rest = dae.invert(x, z, here)
    back = dae.decode(Code(z, rest), here)
    assert z.shape == (5, 3)
    assert rest["x_T"].dtype == torch.float32
    assert rest["x_T"].shape[2:] == tuple(-(-side // 2) * 2 for side in shape[1:])
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
    told = json.loads((store / "dae.json").read_text())
    assert told["padded_space"] == [8, 8]
    assert (told["parameters"], told["attention_blocks"]) == (dae.network.parameter_count, 6)
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
    with pytest.raises(SuiteError, match="K = 60"):
        DAE(replace(TINY, decode_steps=60), info(1, 8, 8))
    dae = DAE(TINY, info(1, 8, 8))
    with pytest.raises(DataError, match="fit"):
        dae.encode(torch.rand(1, 1, 8, 8), context(tmp_path))
    with pytest.raises(DataError, match="x_T"):
        dae.decode(Code(torch.zeros(1, 3)), context(tmp_path))


def test_the_offer_is_complete():
    (spec,) = cfbench_generators()
    assert spec.provides == {"latent", "sampling"}
    for name, values in spec.presets.items():
        DAE(DaeParams(**values), info(1, *(28,) * 3) if name == "quick3d" else info(1, 48, 48))
    json.dumps(asdict(DaeParams()))


def test_images_too_small_for_the_encoder_are_refused():
    with pytest.raises(SuiteError, match="5 levels needs images of 16 pixels or more, and these have 8"):
        DAE(DaeParams(), info(1, 7, 7))


class Unread(Blobs):
    """Cases that must not be read."""

    def batch(self, index):
        raise AssertionError("read")


def test_what_needs_a_gpu_says_so_before_images_are_read(tmp_path):
    for changes, words in (
        ({"precision": "float16"}, "precision float16 is for GPUs"),
        ({"compile": True}, "compile is for"),
    ):
        with pytest.raises(SuiteError, match=words):
            DAE(replace(TINY, **changes), info(1, 8, 8)).fit(Unread(2, 1, 8, 8), Blobs(2, 1, 8, 8), context(tmp_path))


def test_bfloat16_trains_other_weights_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    single, cases = fitted(tmp_path / "single", 1, 8, 8)
    whole, _ = fitted(tmp_path / "whole", 1, 8, 8, precision="bfloat16")
    assert not same(single.network, whole.network)
    assert all(
        value.dtype != torch.bfloat16 and value.isfinite().all() for value in whole.network.state_dict().values()
    )

    def kill(done, _total, _what):
        if done == 3:
            raise KeyError("killed")

    with pytest.raises(KeyError):
        fitted_in(context(tmp_path / "cut", progress=kill), cases, precision="bfloat16")
    assert same(fitted_in(context(tmp_path / "cut"), cases, precision="bfloat16").network, whole.network)


def fitted_in(here, cases, **changes):
    dae = DAE(replace(TINY, **changes), info(*cases.x.shape[1:]))
    dae.fit(cases, cases, here)
    return dae


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}, {"precision": "float16"}, {"compile": True}])
def test_a_gpu_learns_what_a_cpu_does(tmp_path, changes):
    cases = Blobs(12, 1, 8, 8)
    here = context(tmp_path, device="cuda")
    dae = fitted_in(here, cases, steps=100, latent_steps=20, latent_width=16, **changes)
    z = dae.encode(cases.x, here)
    back = dae.decode(Code(z, dae.invert(cases.x, z, here)), here)
    assert float((back - cases.x).abs().mean()) < 0.1
    assert dae.sample(5, here).isfinite().all()


def test_decoding_a_drawn_x_t_depends_on_seed_and_case_alone(tmp_path):
    dae, cases = fitted(tmp_path, 1, 8, 8)
    shaken(dae)
    here = context(tmp_path)
    z = dae.encode(cases.x[:1], here).expand(3, -1)

    def decoded(*ids, seed=1):
        return dae.decode(Code(z[: len(ids)], dae.draw(ids, replace(here, seed=seed))), here)

    three = decoded("a", "b", "c")
    torch.testing.assert_close(decoded("b"), three[1:2], rtol=1e-4, atol=1e-5)
    assert torch.equal(decoded("a", "b", "c"), three)
    assert not torch.allclose(three[0], three[1], atol=1e-3)
    assert not torch.allclose(decoded("b", seed=2), three[1:2], atol=1e-3)


def test_a_code_steers_volumes(tmp_path):
    dae, cases = fitted(tmp_path, 1, 6, 6, 6, **{**STEERED, "steps": 120})
    here, blob = context(tmp_path), (1, 2, 3, 4)
    z, rest = dae.encode(cases.x, here), dae.draw(cases.ids, here)
    size, wanted = dae.decode(Code(z, rest), here).mean(blob), cases.x.mean(blob)
    assert float(torch.corrcoef(torch.stack([size, wanted]))[0, 1]) > 0.9
    other = dae.decode(Code(z.flip(0), rest), here).mean(blob)
    assert float(torch.corrcoef(torch.stack([other, wanted.flip(0)]))[0, 1]) > 0.9


STEERED = {"channels": 8, "groups": 4, "attention_resolutions": (), "standardise": True, "time_power": 2.0}


def test_a_real_volume_goes_through_the_preset_for_volumes(test_data, tmp_path):
    with np.load(test_data / "medmnist" / "adrenalmnist3d.npz") as file:
        volumes = torch.from_numpy(file["train_images"][:8]).float()[:, None] / 255
    cases = Blobs(8, 1, 4, 4, 4)
    cases.x = volumes
    few = {"steps": 1, "encode_steps": 20, "decode_steps": 20, "latent_steps": 1, "latent_decode_steps": 5}
    dae = DAE(DaeParams(**{**PRESETS["quick3d"], **few}), info(1, 28, 28, 28))
    here = context(tmp_path)
    dae.fit(cases, cases, here)
    z = dae.encode(volumes[:2], here)
    back = dae.decode(Code(z, dae.invert(volumes[:2], z, here)), here)
    assert z.shape == (2, 16)
    assert float((back - volumes[:2]).abs().mean()) < 0.06
    assert dae.sample(2, here).shape == (2, 1, 28, 28, 28)
