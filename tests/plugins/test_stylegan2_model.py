"""StyleGAN2 with e4e as a generator: codes, noise, sizes, resuming, what it refuses."""

import json
from dataclasses import replace

import pytest
import torch

from cfbench.errors import DataError, SuiteError
from cfbench.protocols import Context, LatentGenerator, SamplingGenerator
from cfbench.specs import DatasetInfo
from cfbench.types import Batch, Code
from cfbench_nets.padding import pad
from cfbench_stylegan2 import training
from cfbench_stylegan2.e4e import fit as encoder_training
from cfbench_stylegan2.model import StyleGAN2E4E
from cfbench_stylegan2.plugin import StyleGAN2Params, cfbench_generators

TINY = StyleGAN2Params(
    constant_side=0,
    channel_base=40,
    channel_max=6,
    style_dim=5,
    mapping_layers=2,
    steps=3,
    batch=4,
    path=0.0,
    grid_every=2,
    encoder_blocks=(1, 1, 1),
    encoder_widths=(8, 8, 8),
    encoder_side=0,
    encoder_steps=3,
    encoder_batch=4,
    encoder_perceptual="discriminator",
    encoder_mean_samples=100,
)


class Squares:
    """Cases: images of bright squares."""

    def __init__(self, n, *shape):
        self.ids = self.patients = tuple(f"case {i}" for i in range(n))
        self.labels = {}
        random = torch.Generator().manual_seed(0)
        self.x = torch.rand(n, *shape, generator=random) * 0.1
        for image, edge in zip(self.x, torch.randint(3, shape[-1] - 1, (n,), generator=random), strict=True):
            image[:, 1:edge, 1:edge] += 0.8

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        ids = tuple(self.ids[i] for i in index)
        return Batch(ids, ids, self.x[list(index)], {})


def info(channels, *space):
    return DatasetInfo(channels=channels, space=space, labels={}, fingerprint="squares")


def context(folder, seed=1, **other):
    folder.mkdir(exist_ok=True, parents=True)
    return Context(seed=seed, folder=folder, **other)


def fitted(folder, *shape, **changes):
    """Return a tiny one that has hardly learnt, with noise strengths that show, and its cases."""
    gan, cases = StyleGAN2E4E(replace(TINY, **changes), info(*shape)), Squares(12, *shape)
    gan.fit(cases, cases, context(folder))
    with torch.no_grad():
        for layer in (gan.generator.conv1, *gan.generator.convs):
            layer.noise.weight.fill_(0.5)
    return gan, cases


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# A side that is 5 x 2, one that is padded, colours, and more channels than a picture has.
@pytest.mark.parametrize(
    ("shape", "padded"), [((1, 10, 10), 10), ((1, 11, 11), 12), ((3, 17, 17), 20), ((5, 12, 12), 12)]
)
def test_every_size_and_channel_count_goes_there_and_back(tmp_path, shape, padded):
    gan, cases = fitted(tmp_path, *shape)
    assert isinstance(gan, LatentGenerator)
    assert isinstance(gan, SamplingGenerator)
    x, here = cases.x[:5], context(tmp_path)
    z = gan.encode(x, here)
    assert z.shape == (5, gan.pyramid.num_ws * 5)
    assert gan.invert(x, z, here) == {}
    for rest in ({}, gan.draw(cases.ids[:5], here)):
        back = gan.decode(Code(z, rest), here)
        assert back.shape == x.shape
        assert back.dtype == torch.float32
        assert 0 <= float(back.min()) <= float(back.max()) <= 1
    assert gan.sample(3, here).shape == (3, *shape)
    assert gan.generator.side == padded
    gan.save(context(tmp_path / "saved").folder)
    assert json.loads((tmp_path / "saved" / "stylegan2.json").read_text())["padded_side"] == padded


def test_codes_are_w_plus_flattened_of_the_padded_image_in_minus_one_to_one(tmp_path):
    gan, cases = fitted(tmp_path, 1, 11, 11)
    here = context(tmp_path)
    with torch.inference_mode():
        ws = gan.encoder(pad(cases.x[:2], 12) * 2 - 1)
        image = (gan.generator.synthesis(ws)[:, :, :11, :11] + 1) / 2
    z = gan.encode(cases.x[:2], here)
    torch.testing.assert_close(z, ws.reshape(2, -1))
    # 11 in 12: nothing is cut off before, one pixel after.
    torch.testing.assert_close(gan.decode(Code(z), here), image.clamp(0, 1))


def test_decoding_is_deterministic_and_drawn_noise_changes_the_image_but_not_the_code(tmp_path):
    gan, cases = fitted(tmp_path, 1, 10, 10)
    here, x = context(tmp_path), cases.x[:4]
    z = gan.encode(x, here)
    fixed = gan.decode(Code(z), here)
    assert torch.equal(fixed, gan.decode(Code(z), here))
    drawn = gan.decode(Code(z, gan.draw(cases.ids[:4], here)), here)
    assert not torch.allclose(fixed, drawn)


def test_noise_depends_on_seed_and_id_alone(tmp_path):
    gan, _ = fitted(tmp_path, 1, 10, 10)
    here = context(tmp_path)
    three, one = gan.draw(("a", "b", "c"), here), gan.draw(("b",), here)
    assert set(three) == {"noise_0", "noise_1", "noise_2"}
    assert three["noise_0"].shape == (3, 1, 5, 5)
    assert three["noise_2"].shape == (3, 1, 10, 10)
    for name, maps in three.items():
        assert torch.equal(maps[1:2], one[name])
        assert not torch.equal(maps[0], maps[1])
        assert not torch.equal(maps, gan.draw(("a", "b", "c"), context(tmp_path, seed=2))[name])
        assert gan.draw((), here)[name].shape == (0, *maps.shape[1:])
    assert not torch.equal(three["noise_1"], three["noise_2"])


def test_a_rest_of_another_kind_is_refused(tmp_path):
    gan, cases = fitted(tmp_path, 1, 10, 10)
    here = context(tmp_path)
    z = gan.encode(cases.x[:1], here)
    with pytest.raises(DataError, match=r"decodes with the noise maps noise_0, noise_1, noise_2.*not with x_T"):
        gan.decode(Code(z, {"x_T": torch.zeros(1, 1, 10, 10)}), here)


def test_samples_depend_on_the_seed_and_their_place_alone(tmp_path):
    gan, _ = fitted(tmp_path, 1, 10, 10)
    few, many = gan.sample(3, context(tmp_path)), gan.sample(70, context(tmp_path))
    torch.testing.assert_close(few, many[:3])
    assert not torch.allclose(few, gan.sample(3, context(tmp_path, seed=2)))
    assert float(many.std(0).mean()) > 0
    assert gan.sample(0, context(tmp_path)).shape == (0, 1, 10, 10)


def test_saved_weights_do_the_same_and_grids_are_kept(tmp_path):
    gan, cases = fitted(tmp_path / "fit", 1, 10, 10)
    here = context(tmp_path / "saved")
    gan.save(here.folder)
    names = sorted(path.name for path in here.folder.iterdir())
    grids = ["samples-0000002.png", "samples-0000003.png"]
    assert names == ["encoder.safetensors", "generator.safetensors", *grids, "stylegan2.json"]
    other = StyleGAN2E4E(TINY, info(1, 10, 10))
    # Another seed: nothing of the networks may be drawn anew.
    other.load(here.folder, context(tmp_path / "load", seed=9))
    z = gan.encode(cases.x, here)
    assert torch.equal(z, other.encode(cases.x, here))
    assert torch.equal(gan.decode(Code(z), here), other.decode(Code(z), here))
    facts = json.loads((here.folder / "stylegan2.json").read_text())
    assert facts["parameters"]["generator"] == sum(weight.numel() for weight in gan.generator.parameters())


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({"style_dim": 6}, (1, 10, 10), "style_dim is 5, not 6"),
        ({}, (1, 9, 9), r"space is \[10, 10\], not \[9, 9\]"),
        ({"channel_base": 60}, (1, 10, 10), r"to_rgbs.0.conv.weight is .* instead of"),
    ],
)
def test_weights_of_another_kind_are_refused(tmp_path, changes, shape, message):
    gan, _ = fitted(tmp_path / "fit", 1, 10, 10)
    here = context(tmp_path / "saved")
    gan.save(here.folder)
    with pytest.raises(DataError, match=message):
        StyleGAN2E4E(replace(TINY, **changes), info(*shape)).load(here.folder, here)


def test_without_weights_it_says_so(tmp_path):
    with pytest.raises(DataError, match=r"no weights yet: call fit\(\) or load\(\)"):
        StyleGAN2E4E(TINY, info(1, 10, 10)).sample(1, context(tmp_path))


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize(("phase", "at"), [("training the GAN", 2), ("training the encoder", 1)])
def test_a_killed_fit_goes_on_bit_for_bit(tmp_path, monkeypatch, phase, at):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(encoder_training, "CHECKPOINT_SECONDS", 0.0)

    def kill(done, _total, what):
        if (what, done) == (phase, at):
            raise KilledError

    cases, params, data = Squares(12, 1, 10, 10), replace(TINY, encoder_critic_r1_every=2), info(1, 10, 10)
    whole, cut, resumed = (StyleGAN2E4E(params, data) for _ in range(3))
    whole.fit(cases, cases, context(tmp_path / "whole"))
    with pytest.raises(KilledError):
        cut.fit(cases, cases, context(tmp_path / "cut", progress=kill))
    seen = []
    resumed.fit(cases, cases, context(tmp_path / "cut", progress=lambda done, _total, what: seen.append((what, done))))
    assert seen[0] == (phase, at + 1)
    assert same(whole.generator, resumed.generator)
    assert same(whole.encoder, resumed.encoder)


@pytest.mark.parametrize("space", [(10, 12), (8, 8, 8)])
def test_images_that_are_not_square_or_not_flat_are_refused(space):
    with pytest.raises(SuiteError, match="expects square 2D images"):
        StyleGAN2E4E(TINY, info(1, *space))


def test_it_is_offered_for_two_dimensions():
    (spec,) = cfbench_generators()
    assert (spec.name, spec.dims, spec.provides) == ("stylegan2-e4e", (2,), {"latent", "sampling"})
