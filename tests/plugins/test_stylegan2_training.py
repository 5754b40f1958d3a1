"""Training StyleGAN2: losses against finite differences, resuming bit for bit, adaptive augmentation."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.errors import NotFiniteError
from cfbench.protocols import Context
from cfbench.specs import DatasetInfo
from cfbench.types import Batch
from cfbench_nets.checkpoint import read_checkpoint
from cfbench_nets.pool import ImagePool
from cfbench_stylegan2 import training
from cfbench_stylegan2.augment import AdaptiveP, augmented, shifted
from cfbench_stylegan2.grids import write_grid
from cfbench_stylegan2.losses import discriminator_loss, generator_loss, path_lengths, path_penalty, r1_penalty
from cfbench_stylegan2.networks.build import new_discriminator, new_generator
from cfbench_stylegan2.networks.discriminator import Discriminator
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.networks.sides import pyramid
from cfbench_stylegan2.plugin import StyleGAN2Params
from cfbench_stylegan2.training import ema_decay, lazy_adam, trained

TINY = StyleGAN2Params(
    constant_side=0,
    channel_base=32,
    channel_max=6,
    style_dim=5,
    mapping_layers=2,
    steps=8,
    batch=4,
    r1=1.0,
    r1_every=3,
    path=2.0,
    path_every=2,
    ema_images=20.0,
    augment="adaptive",
    augment_p=0.3,
    augment_images=100,
    grid_every=0,
)
DATA = DatasetInfo(channels=1, space=(10, 10), labels={}, fingerprint="noise")


class Squares:
    """Cases: images of bright squares."""

    def __init__(self, n=20):
        self.ids = self.patients = tuple(map(str, range(n)))
        self.labels = {}
        random = torch.Generator().manual_seed(0)
        self.x = torch.rand(n, 1, 10, 10, generator=random) * 0.1
        for image, edge in zip(self.x, torch.randint(3, 9, (n,), generator=random), strict=True):
            image[0, 1:edge, 1:edge] += 0.8

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        ids = tuple(self.ids[i] for i in index)
        return Batch(ids, ids, self.x[list(index)], {})


def context(folder, **other):
    folder.mkdir(exist_ok=True, parents=True)
    return Context(seed=1, folder=folder, **other)


def train(folder, cases=None, params=TINY, **other):
    here = context(folder, **other)
    networks = new_generator(params, DATA, here), new_discriminator(params, DATA, here)
    return trained(params, *networks, ImagePool(cases or Squares()), here)


def loop_of(params, here):
    networks = new_generator(params, DATA, here), new_discriminator(params, DATA, here)
    return training._Loop(params, *networks, ImagePool(Squares()), here)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def directional(function, inputs, gradients, step=1e-5):
    """Return the slope of a function along its gradient by central differences, and as the gradient has it."""
    length = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for value, g in zip(inputs, gradients, strict=True):
                value.add_(g, alpha=sign * step / length)
        ends.append(float(function().detach()))
        with torch.no_grad():
            for value, g in zip(inputs, gradients, strict=True):
                value.sub_(g, alpha=sign * step / length)
    return (ends[0] - ends[1]) / (2 * step), length


# Losses


def test_logistic_losses_by_definition():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    wanted = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean())
    torch.testing.assert_close(discriminator_loss(real, fake), wanted)
    torch.testing.assert_close(generator_loss(fake), -torch.sigmoid(fake).log().mean())


def tiny_discriminator():
    """Return a discriminator and images for it, in float64."""
    torch.manual_seed(0)
    net = Discriminator(pyramid(8, 4, 32, 6), 1).double()
    return net, torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_r1_is_the_squared_slope_of_the_discriminator():
    net, x = tiny_discriminator()
    total = 0.0
    step = 1e-5
    for place in range(x.numel()):
        ends = []
        for sign in (1, -1):
            moved = x.clone()
            moved.view(-1)[place] += sign * step
            ends.append(float(net(moved).sum().detach()))
        total += ((ends[0] - ends[1]) / (2 * step)) ** 2
    assert float(r1_penalty(net, x).detach()) == pytest.approx(total / 2, rel=1e-6)


def test_the_gradient_of_r1_equals_finite_differences():
    net, x = tiny_discriminator()
    weights = [w for w in net.parameters() if w.requires_grad]
    gradients = torch.autograd.grad(r1_penalty(net, x), weights, allow_unused=True, materialize_grads=True)
    slope, wanted = directional(lambda: r1_penalty(net, x), weights, gradients)
    assert wanted > 0.01
    assert slope == pytest.approx(wanted, rel=1e-6)


def tiny_generator():
    torch.manual_seed(0)
    net = StyleGenerator(pyramid(10, 0, 32, 6), 1, 5, 2).double()
    with torch.no_grad():
        for layer in (net.conv1, *net.convs):
            layer.noise.weight.fill_(0.2)
    return net


def penalty_of(net, mean):
    z = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ws = net.mapping(z)[:, None].expand(-1, net.num_ws, -1)
    lengths = path_lengths(net.synthesis(ws), ws, torch.Generator().manual_seed(3))
    return path_penalty(lengths, mean)


def test_path_lengths_by_finite_differences_over_the_styles():
    net = tiny_generator()
    ws = torch.randn(2, net.num_ws, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = path_lengths(net.synthesis(ws.requires_grad_()), ws, torch.Generator().manual_seed(3)).detach()
    ws = ws.detach()
    y = torch.randn(2, 1, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) / 10
    step = 1e-6
    slopes = torch.zeros_like(ws)
    for place in range(ws.numel()):
        ends = []
        for sign in (1, -1):
            moved = ws.clone()
            moved.view(-1)[place] += sign * step
            ends.append(float((net.synthesis(moved) * y).sum().detach()))
        slopes.view(-1)[place] = (ends[0] - ends[1]) / (2 * step)
    wanted = (slopes**2).sum(2).mean(1).sqrt()
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


def test_the_gradient_of_the_path_penalty_equals_finite_differences():
    net, mean = tiny_generator(), torch.tensor(0.7, dtype=torch.float64)
    weights = list(net.parameters())
    gradients = torch.autograd.grad(penalty_of(net, mean)[0], weights, allow_unused=True, materialize_grads=True)
    slope, wanted = directional(lambda: penalty_of(net, mean)[0], weights, gradients)
    assert wanted > 0.01
    assert slope == pytest.approx(wanted, rel=1e-5)


def test_the_mean_path_length_follows_at_one_hundredth():
    penalty, mean = path_penalty(torch.tensor([2.0, 4.0]), torch.tensor(1.0))
    assert float(mean) == pytest.approx(1 + 0.01 * (3 - 1))
    assert float(penalty) == pytest.approx(((2 - 1.02) ** 2 + (4 - 1.02) ** 2) / 2)


# Optimisers and averages


def test_adam_is_corrected_for_the_lazy_regularisation():
    weight = torch.nn.Parameter(torch.zeros(3))
    group = lazy_adam([weight], 0.002, 16, "cpu").param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 16 / 17)
    assert group["betas"] == (0, pytest.approx(0.99 ** (16 / 17)))
    group = lazy_adam([weight], 0.002, 0, "cpu").param_groups[0]
    assert (group["lr"], group["betas"]) == (0.002, (0, 0.99))


def test_averages_forget_half_in_their_half_life():
    assert ema_decay(16, 5000) ** (5000 / 16) == pytest.approx(0.5)
    # The public implementation's number, at batch 16.
    assert ema_decay(16, 5000) == pytest.approx(0.5 ** (32 / 10_000))


def test_the_averaged_generator_is_the_recursion_of_its_past(tmp_path):
    params = replace(TINY, steps=5)
    here = context(tmp_path)
    loop = loop_of(params, here)
    wanted = loop.generator.input.input.detach().clone()
    for step in range(5):
        loop.step(step)
        decay = 0.5 ** (4 / 20)
        wanted = decay * wanted + (1 - decay) * loop.generator.input.input.detach()
    torch.testing.assert_close(loop.average.input.input, wanted, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(loop.average.input.input, loop.generator.input.input)


@pytest.mark.parametrize(("r1", "path"), [(0.0, 2.0), (1.0, 0.0)])
def test_each_penalty_changes_only_its_own_network_in_the_first_step(tmp_path, r1, path):
    here = context(tmp_path)
    states = []
    for params in (replace(TINY, r1=0.0, path=0.0), replace(TINY, r1=r1, path=path)):
        # Without Adam's correction for the other step, which changes every step a little.
        loop = loop_of(params, here)
        for optimiser in loop.optimisers.values():
            optimiser.param_groups[0].update(lr=0.002, betas=(0.0, 0.99))
        loop.step(0)
        states.append((loop.generator, loop.discriminator))
    assert not same(states[0][0], states[1][0])
    assert same(states[0][1], states[1][1]) == (r1 == 0)


# Training


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def eager(monkeypatch):
    """Write a checkpoint after every step."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.parametrize("augment", ["off", "adaptive"])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, eager, augment):
    params = replace(TINY, augment=augment)
    whole = train(tmp_path / "whole", params=params)
    stop = int(torch.randint(1, 7, ()))

    def kill(done, _total, _what):
        if done == stop:
            raise KilledError

    with pytest.raises(KilledError):
        train(tmp_path / "cut", params=params, progress=kill)
    seen = []
    resumed = train(
        tmp_path / "cut", params=params, progress=lambda done, total, what: seen.append((done, total, what))
    )
    assert seen[0] == (stop + 1, 8, "training the GAN")
    assert all(same(a, b) for a, b in zip(whole, resumed, strict=True)), stop
    again = train(tmp_path / "cut", params=params, progress=kill)
    assert same(whole[0], again[0])
    assert not again[0].training
    states = [read_checkpoint(tmp_path / name / "gan.safetensors", {})[0] for name in ("whole", "cut")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_another_training_is_not_resumed_but_other_encoder_params_are(tmp_path, eager):
    train(tmp_path)
    seen = []
    note = lambda done, _total, _what: seen.append(done)  # noqa: E731
    train(tmp_path, params=replace(TINY, encoder_steps=7), progress=note)
    assert seen == []
    train(tmp_path, params=replace(TINY, r1=0.5), progress=note)
    assert seen[0] == 1


def test_a_damaged_checkpoint_is_not_trusted(tmp_path, eager):
    whole = train(tmp_path)
    path = tmp_path / "gan.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert same(whole[0], train(tmp_path)[0])


def test_training_depends_on_the_seed_and_leaves_the_global_random_state_alone(tmp_path):
    before = torch.random.get_rng_state()
    one, two = train(tmp_path / "a"), train(tmp_path / "b")
    assert torch.equal(before, torch.random.get_rng_state())
    assert same(one[0], two[0])


def test_images_that_are_no_numbers_end_with_advice(tmp_path):
    cases = Squares()
    cases.x[3, 0, 2, 2] = float("nan")
    with pytest.raises(NotFiniteError, match=r"steps 1 to 8 of 8.*check the images for NaN, or try a smaller lr than"):
        train(tmp_path, cases)
    assert not (tmp_path / "gan.safetensors").exists()


def test_a_checkpoint_never_holds_what_is_no_number(tmp_path, eager):
    cases = Squares()
    cases.x[:] = float("nan")
    with pytest.raises(NotFiniteError, match="steps 1 to 1 of 8"):
        train(tmp_path, cases)
    assert not (tmp_path / "gan.safetensors").exists()


def test_sample_grids_are_logged(tmp_path):
    train(tmp_path, params=replace(TINY, grid_every=3))
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "samples-0000003.png",
        "samples-0000006.png",
        "samples-0000008.png",
    ]


def test_mirrored_training_images_are_the_mirror_images(tmp_path):
    params, here = replace(TINY, flip=True, batch=20), context(tmp_path)
    loop = loop_of(params, here)
    plain = replace(params, flip=False)
    other = loop_of(plain, here)
    x, y = loop._real(0, torch.Generator().manual_seed(0)), other._real(0, torch.Generator().manual_seed(0))
    mirrored = [bool(torch.equal(a, b.flip(2))) for a, b in zip(x, y, strict=True)]
    assert 3 < sum(mirrored) < 17
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, x, y, strict=True))


def test_styles_are_mixed_at_a_random_layer(tmp_path):
    here = context(tmp_path)
    seen = set()
    for mixing in (0.0, 1.0):
        params = replace(TINY, mixing=mixing)
        loop = loop_of(params, here)
        for seed in range(40):
            ws, _ = loop._latents(3, torch.Generator().manual_seed(seed))
            changes = [layer for layer in range(1, ws.shape[1]) if not torch.equal(ws[:, layer], ws[:, layer - 1])]
            assert len(changes) == mixing
            seen |= set(changes)
    assert seen == set(range(1, loop.generator.num_ws))


def test_a_gan_learns(tmp_path):
    params = replace(
        TINY, steps=100, augment="off", path=0.0, r1=0.1, lr=0.01, batch=8, channel_max=16, channel_base=160
    )
    generator, _ = train(tmp_path, params=params)
    z = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    x = (generator.synthesis(generator.mapping(z)[:, None].expand(-1, generator.num_ws, -1)).detach() + 1) / 2
    real = Squares().x
    assert float((x.mean(0) - real.mean(0)).abs().mean()) < 0.1
    assert float((0.5 - real.mean(0)).abs().mean()) > 0.3


# Adaptive augmentation


def images(n=64, c=1, side=9, seed=0):
    return torch.rand(n, c, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def transformed(x, p, kinds=("blit", "geometry", "colour"), seed=0):
    return augmented(x, torch.tensor(p), kinds, torch.Generator().manual_seed(seed))


def test_with_p_zero_nothing_is_transformed():
    x = images()
    assert torch.equal(transformed(x, 0.0), x)


@pytest.mark.parametrize("kind", ["blit", "geometry", "colour"])
def test_the_more_probable_the_more_images_are_transformed_and_some_never_are(kind):
    x = images(400)
    shares = [float((transformed(x, p, (kind,)) != x).flatten(1).any(1).float().mean()) for p in (0.05, 0.2, 0.5)]
    assert 0 < shares[0] < shares[1] < shares[2] < 1


@settings(max_examples=15, deadline=None)
@given(p=st.floats(0, 0.8), channels=st.integers(1, 3), seed=st.integers(0, 1000))
def test_shape_and_range_are_kept(p, channels, seed):
    x = images(8, channels, seed=seed)
    for kind in ("blit", "geometry"):
        y = transformed(x, p, (kind,), seed)
        assert y.shape == x.shape
        assert float(y.min()) >= float(x.min()) - 1e-6
        assert float(y.max()) <= float(x.max()) + 1e-6
    y = transformed(x, p, ("colour",), seed)
    assert y.shape == x.shape
    # Affine in the values of each image, rising: their order and their ratios stay.
    for before, after in zip(x.flatten(1), y.flatten(1), strict=True):
        spread = (after.max() - after.min()) / (before.max() - before.min())
        assert spread > 0
        torch.testing.assert_close(after - after.min(), (before - before.min()) * spread, rtol=1e-3, atol=1e-4)


def test_blit_moves_pixels_and_changes_none():
    x = torch.arange(81.0).reshape(1, 1, 9, 9).repeat(200, 1, 1, 1)
    y = transformed(x, 0.8, ("blit",))
    assert torch.equal(y, y.round())
    shapes = {tuple(image.flatten().tolist()) for image in y}
    # 8 ways to turn and mirror, times shifts of -1, 0 or 1 pixels (an eighth of 9) in both directions.
    assert len(shapes) > 30
    turned = [x[0, 0].rot90(q) for q in range(4)] + [x[0, 0].flip(1).rot90(q) for q in range(4)]
    found = [any(torch.equal(image[0], t) for image in y) for t in turned]
    assert all(found)


def test_shifts_are_by_whole_pixels_and_reflect():
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    down = shifted(x, torch.tensor([1]), torch.tensor([0]))
    torch.testing.assert_close(down[0, 0], x[0, 0][[1, 0, 1]])
    right = shifted(x, torch.tensor([0]), torch.tensor([-2]))
    torch.testing.assert_close(right[0, 0], x[0, 0][:, [2, 3, 2, 1]])


def test_geometry_turns_stretches_and_moves_but_keeps_the_middle_where_it_does_not_move():
    # A disc in the middle: turned it stays, scaled it grows or shrinks, shifted it moves.
    grid = torch.linspace(-1, 1, 33)
    disc = ((grid[:, None] ** 2 + grid**2) < 0.2).float()[None, None].repeat(300, 1, 1, 1)
    y = transformed(disc, 0.8, ("geometry",))
    area = y.sum((1, 2, 3)) / disc[0].sum()
    assert float(area.min()) < 0.7
    assert float(area.max()) > 1.4
    where = (y * grid).sum((1, 2, 3)) / y.sum((1, 2, 3))
    # Shifts are N(0, 1/8 of the side), i.e. N(0, .25) here, with probability .8 (a share of which leave at the edge).
    assert 0.1 < float(where.std()) < 0.3
    assert abs(float(where.mean())) < 0.05


def test_augmentation_lets_gradients_through():
    x = images(6).requires_grad_()
    transformed(x, 0.8).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert float(x.grad.abs().sum((1, 2, 3)).min()) > 0


@pytest.mark.parametrize(("logits", "direction"), [([1.0, 2.0, 3.0, 1.0], 1), ([1.0, -1.0, 1.0, -2.0], -1)])
def test_p_rises_while_the_discriminator_is_sure_and_falls_while_it_is_not(logits, direction):
    ada = AdaptiveP(0.4, 0.6, 100, "cpu")
    for _ in range(2):
        ada.observe(torch.tensor(logits))
    ada.adjust()
    assert float(ada.p) == pytest.approx(0.4 + direction * 8 / 100)
    for _ in range(200):
        ada.observe(torch.tensor(logits))
        ada.adjust()
    assert float(ada.p) == pytest.approx(0.8 if direction == 1 else 0.0)


@pytest.mark.parametrize(("target", "p"), [(-0.99, 0.3 + 8 * 4 / 1000), (0.99, 0.3 - 8 * 4 / 1000)])
def test_a_training_moves_p_by_what_the_discriminator_says_of_real_images(tmp_path, target, p):
    # It is neither always wrong nor always right about them.
    params = replace(TINY, steps=8, augment_target=target, augment_images=1000)
    train(tmp_path, params=params)
    state, _ = read_checkpoint(tmp_path / "gan.safetensors", {})
    assert float(state["ada.p"]) == pytest.approx(p)


def test_generated_images_are_augmented_too_and_a_fixed_p_stays(tmp_path):
    params = replace(TINY, augment="fixed", augment_p=0.5, steps=8)
    fixed = train(tmp_path / "a", params=params)
    state, _ = read_checkpoint(tmp_path / "a" / "gan.safetensors", {})
    assert float(state["ada.p"]) == 0.5
    off = train(tmp_path / "b", params=replace(params, augment="off"))
    assert not same(fixed[0], off[0])


# Grids


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (2, "L")])
def test_a_grid_shows_every_image_in_its_place(tmp_path, channels, mode):
    import numpy as np
    from PIL import Image

    x = torch.linspace(0, 1, 10)[:, None, None, None].expand(-1, channels, 5, 5)
    write_grid(tmp_path / "grid.png", x)
    with Image.open(tmp_path / "grid.png") as found:
        assert (found.mode, found.size) == (mode, (8 * 7 + 2, 2 * 7 + 2))
        pixels = np.asarray(found).reshape(16, 58, -1)
    assert pixels[4, 4, 0] == 0
    assert pixels[11, 11, 0] == 255
    assert pixels[4, 11, 0] == round(255 / 9)
    assert pixels[0, 0, 0] == 255
