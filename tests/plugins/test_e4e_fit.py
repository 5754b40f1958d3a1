"""Training e4e: codes that were planted are found again, a kill costs nothing, and losses lack no network unnoticed."""

import lpips
import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from cfbench.assets import locate
from cfbench.errors import ChecksumError, DataError, NotFiniteError, SuiteError
from cfbench.protocols import Context
from cfbench.types import Batch
from cfbench_nets.pool import ImagePool
from cfbench_nets.seeds import generator, seeded
from cfbench_stylegan2.e4e import fit, identity, perceptual
from cfbench_stylegan2.e4e.fit import fitted_encoder, new_encoder
from cfbench_stylegan2.e4e.loss import distances, require_weights
from cfbench_stylegan2.e4e.params import EncoderParams
from cfbench_stylegan2.networks.discriminator import Discriminator
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.networks.sides import pyramid

PYRAMID = pyramid(16, 4, 64, 16)
SMALL = {
    "encoder_blocks": (1, 1, 1),
    "encoder_widths": (8, 16, 16),
    "encoder_side": 0,
    "encoder_perceptual": "none",
    "encoder_rate": "one-cycle",
    "encoder_mean_samples": 500,
}
PLANTED = {"encoder_steps": 250, "encoder_batch": 16, "encoder_lr": 5e-3, "encoder_optimiser": "adam"}
PLANTED |= {"encoder_critic_weight": 0.0}


def make_generator(channels=1):
    """A fixed generator without noise whose images vary as their codes do."""
    with seeded("toy generator"):
        network = StyleGenerator(PYRAMID, channels, 6, 2, mapping_lr=1.0)
        with torch.no_grad():
            for layer in (network.to_rgb1, *network.to_rgbs):
                layer.conv.weight.mul_(0.2)
    return network.eval()


class Cases:
    """Images of known codes: planted w's through the generator."""

    def __init__(self, network, n=64):
        with torch.no_grad():
            self.w = network.mapping(torch.randn(n, 6, generator=generator("planted", n)))
            self.ws = self.w[:, None].expand(-1, network.num_ws, -1)
            self.x = ((network.synthesis(self.ws) + 1) / 2).clamp(0, 1)
        self.ids = self.patients = tuple(f"case {i}" for i in range(n))
        self.labels = {}

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        chosen = list(index)
        ids = tuple(self.ids[i] for i in chosen)
        return Batch(ids, ids, self.x[chosen], {})


def train(folder, *, discriminator=None, seed=5, seen=None, **changes):
    folder.mkdir(exist_ok=True)
    network = make_generator()
    progress = (lambda done, total, what: seen.append((done, total, what))) if seen is not None else lambda *_: None
    context = Context(seed=seed, folder=folder, progress=progress)
    params = EncoderParams(**{**SMALL, "encoder_steps": 12, **changes})
    return fitted_encoder(params, network, ImagePool(Cases(network)), context, discriminator)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_planted_codes_are_found_again_and_reconstructions_are_better_than_the_mean_image(tmp_path):
    encoder = train(tmp_path, **PLANTED)
    network, test = make_generator(), Cases(make_generator(), 100)
    assert not encoder.training
    with torch.no_grad():
        x = test.x * 2 - 1
        codes = encoder(x)
        back = network.synthesis(codes)
        mean = network.synthesis(encoder.mean[None])
        error, worst = float((back - x).square().mean()), float((mean - x).square().mean())
        spread = float((test.ws - encoder.mean).square().mean())
        found = float((codes - test.ws).square().mean())
    assert error < 0.2 * worst
    assert found < 0.7 * spread


@pytest.fixture
def eager(monkeypatch):
    """Write a checkpoint after every step."""
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("critic", [0.0, 0.1])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, eager, monkeypatch, critic):
    own = {"encoder_critic_weight": critic, "encoder_critic_pool": 10, "encoder_critic_r1_every": 3}
    own |= {"encoder_delta_start": 0.2, "encoder_delta_every": 0.2, "encoder_flip": True}
    seen = []
    whole = train(tmp_path / "whole", seen=seen, **own)
    assert seen == [(k, 12, "training the encoder") for k in range(1, 13)]
    step = fit._Loop.step
    for stop in (4, 9):

        def killed(loop, number, stop=stop):
            if number == stop:
                raise KilledError
            step(loop, number)

        monkeypatch.setattr(fit._Loop, "step", killed)
        with pytest.raises(KilledError):
            train(tmp_path / "cut", **own)
    monkeypatch.setattr(fit._Loop, "step", step)
    seen = []
    assert same(whole, train(tmp_path / "cut", seen=seen, **own))
    assert seen[0][0] == 10
    seen = []
    assert same(whole, train(tmp_path / "cut", seen=seen, **own))
    assert seen == []
    # Another training does not go on from it.
    train(tmp_path / "cut", seen=seen, **{**own, "encoder_lr": 2e-4})
    assert len(seen) == 12


def test_the_same_seed_gives_the_same_bits_whatever_the_global_state_and_leaves_it(tmp_path):
    torch.manual_seed(1)
    first = train(tmp_path / "a")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = train(tmp_path / "b")
    assert torch.equal(state, torch.get_rng_state())
    assert same(first, second)
    assert not same(first, train(tmp_path / "c", seed=6))


def test_encoding_starts_from_the_mean_latent_of_many_codes(tmp_path):
    encoder, network = train(tmp_path, encoder_steps=1, encoder_mean_samples=20_000), make_generator()
    with torch.no_grad():
        w = network.mapping(torch.randn(20_000, 6, generator=generator("other codes")))
    assert encoder.mean.shape == (network.num_ws, 6)
    assert torch.equal(encoder.mean, encoder.mean[:1].expand_as(encoder.mean))
    standard_error = w.std(dim=0) / 20_000**0.5
    assert ((encoder.mean[0] - w.mean(dim=0)).abs() < 6 * standard_error).all()


def test_the_generator_and_the_discriminator_are_left_as_they_are(tmp_path):
    with seeded("judge"):
        judge = Discriminator(PYRAMID, 1)
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    network = make_generator()
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    params = EncoderParams(**{**SMALL, "encoder_steps": 3, "encoder_perceptual": "discriminator"})
    fitted_encoder(params, network, ImagePool(Cases(network)), Context(seed=0, folder=tmp_path), judge)
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


def test_a_loss_that_is_no_number_names_the_step(tmp_path, monkeypatch):
    cases = Cases(make_generator())
    cases.x[7] = float("nan")
    context = Context(seed=0, folder=tmp_path)
    params = EncoderParams(**{**SMALL, "encoder_steps": 12})
    with pytest.raises(NotFiniteError, match=r"step \d of 12 of the encoder's training.*encoder_lr than 0.0001"):
        fitted_encoder(params, make_generator(), ImagePool(cases), context)


def test_while_only_w0_is_trained_the_other_layers_stay_as_they_began(tmp_path):
    own = {"encoder_delta_start": 0.5, "encoder_delta_every": 0.5, "encoder_critic_weight": 0.0}
    encoder = train(tmp_path, encoder_steps=4, **own)
    new = new_encoder(EncoderParams(**SMALL), 1, make_generator(), Context(seed=5, folder=tmp_path))
    moved = [not torch.equal(a.linear.weight, b.linear.weight) for a, b in zip(encoder.styles, new.styles, strict=True)]
    assert moved == [True, True, False, False, False, False]


# Distances that come from other networks


def test_the_distance_of_features_is_its_formula_and_has_a_gradient():
    with seeded("features"):
        judge, x, y = Discriminator(PYRAMID, 1), torch.randn(3, 1, 16, 16), torch.randn(3, 1, 16, 16)
    distance = perceptual.feature_distance(judge)
    total, a, b = 0.0, x, y
    with torch.no_grad():
        for layer in judge.convs:
            a, b = layer(a), layer(b)
            unit = [nn.functional.normalize(v, dim=1) for v in (a, b)]
            total += float((unit[0] - unit[1]).square().sum(dim=1).mean())
    assert float(distance(x, y)) == pytest.approx(total / len(judge.convs), rel=1e-5)
    assert float(distance(x, x)) == 0
    x.requires_grad_(True)
    distance(x, y).backward()
    assert float(x.grad.abs().sum()) > 0
    other = nn.Module()
    other.convs = nn.ReLU()
    with pytest.raises(TypeError, match="sequence"):
        perceptual.feature_distance(other)


def test_a_loss_without_its_network_says_what_to_do(tmp_path):
    with pytest.raises(SuiteError, match="come without one: set encoder_perceptual"):
        distances(EncoderParams(encoder_perceptual="discriminator"), None, "cpu")
    with pytest.raises(DataError, match=r"alexnet.*cfbench data fetch"):
        require_weights(EncoderParams())
    with pytest.raises(DataError, match=r"moco_v2.*download it"):
        require_weights(EncoderParams(encoder_perceptual="none", encoder_identity="moco"))
    require_weights(EncoderParams(encoder_perceptual="discriminator"))
    locate(perceptual.ALEXNET).parent.mkdir(parents=True)
    locate(perceptual.ALEXNET).write_bytes(b"another file")
    with pytest.raises(ChecksumError):
        require_weights(EncoderParams())


def test_lpips_is_the_packages_own(tmp_path, monkeypatch):
    """With stand-in weights in the published layout: the numbers are those of the package, and have a gradient."""
    with seeded("alexnet"), pytest.warns(UserWarning, match="torchvision|weights|pretrained"):
        reference = lpips.LPIPS(net="alex", pretrained=True, pnet_rand=True, verbose=False).eval()
    parts = {int(key.split(".")[2]): key.split(".")[1] for key in reference.state_dict() if key.startswith("net.slice")}
    state = {
        f"features.{number}.{kind}": reference.state_dict()[f"net.{part}.{number}.{kind}"]
        for number, part in parts.items()
        for kind in ("weight", "bias")
    }
    path = locate(perceptual.ALEXNET)
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    checked = perceptual.verify
    monkeypatch.setattr(perceptual, "verify", lambda file, digest: None if file == path else checked(file, digest))
    distance = distances(EncoderParams(), None, "cpu").perceptual
    x, y = (torch.rand(2, 1, 40, 40, generator=generator("lpips", name)) * 2 - 1 for name in "xy")
    expected = reference(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)).mean()
    torch.testing.assert_close(distance(x, y), expected.detach())
    x.requires_grad_(True)
    distance(x, y).backward()
    assert float(x.grad.abs().sum()) > 0


def test_the_identity_loss_is_the_cosine_of_mocos_features():
    with seeded("moco"):
        network = resnet50()
    state = {f"module.encoder_q.{name}": value for name, value in network.state_dict().items()}
    state |= {"module.encoder_q.fc.0.weight": torch.zeros(2), "module.queue": torch.zeros(2)}
    found = identity.resnet(state)
    network.fc = nn.Identity()
    network.eval()
    distance = identity.cosine_distance(found)
    x, y = (torch.rand(2, 1, 20, 20, generator=generator("moco", name)) * 2 - 1 for name in "xy")
    with torch.no_grad():
        big = [
            v.repeat(1, 3, 1, 1)[:, :, torch.arange(224) * 20 // 224][..., torch.arange(224) * 20 // 224]
            for v in (x, y)
        ]
        features = [network(v) for v in big]
        expected = 1 - nn.functional.cosine_similarity(*features).mean()
    torch.testing.assert_close(distance(x, y), expected, rtol=1e-4, atol=1e-6)
    assert float(distance(x, x)) == pytest.approx(0, abs=1e-5)
    del state["module.encoder_q.conv1.weight"]
    with pytest.raises(DataError, match=r"(?s)MoCo checkpoint.*conv1\.weight"):
        identity.resnet(state)
