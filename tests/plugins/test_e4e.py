"""The encoder e4e: its blocks and schedule, and what its losses and its optimiser are by their definitions."""

import copy
import math

import pytest
import torch
from torch import nn

from cfbench.errors import SuiteError
from cfbench_nets.seeds import generator, seeded
from cfbench_stylegan2.e4e import critic, loss
from cfbench_stylegan2.e4e.backbone import IRBlock, SqueezeExcitation
from cfbench_stylegan2.e4e.critic import CodePool, Critic, LatentDiscriminator
from cfbench_stylegan2.e4e.encoder import Encoder, MapToStyle, resized
from cfbench_stylegan2.e4e.optimisers import Adam, Ranger
from cfbench_stylegan2.e4e.params import EncoderParams, check_encoder
from cfbench_stylegan2.e4e.schedule import active_deltas

SMALL = EncoderParams(encoder_blocks=(1, 1, 1), encoder_widths=(8, 8, 16), encoder_side=0)


def encoder(params=SMALL, *, channels=1, num_ws=10, style_dim=8, side=24):
    with seeded("e4e test"):
        made = Encoder(params, channels, num_ws, style_dim, side)
        made.mean.copy_(torch.randn(num_ws, style_dim))
    return made.eval()


def images(b=3, channels=1, side=24):
    return torch.rand(b, channels, side, side, generator=generator("e4e images")) * 2 - 1


# The backbone


def test_a_squeeze_excitation_is_its_formula():
    with seeded(1):
        gate, x = SqueezeExcitation(32), torch.randn(2, 32, 5, 3)
    hidden = (x.mean((2, 3)) @ gate.fc1.weight[:, :, 0, 0].T).clamp(min=0)
    expected = x * (1 / (1 + torch.exp(-(hidden @ gate.fc2.weight[:, :, 0, 0].T))))[:, :, None, None]
    torch.testing.assert_close(gate(x), expected)
    assert gate.fc1.weight.shape == (2, 32, 1, 1)
    assert SqueezeExcitation(8).fc1.weight.shape == (1, 8, 1, 1)


def test_a_block_adds_its_branch_to_a_strided_shortcut():
    x = torch.randn(2, 6, 7, 8)
    same, wide = IRBlock(6, 6, 2).eval(), IRBlock(6, 12, 2).eval()
    assert wide(x).shape == (2, 12, 4, 4)
    torch.testing.assert_close(same(x), same.res_layer(x) + x[:, :, ::2, ::2])
    assert torch.equal(same.shortcut_layer(x), x[:, :, ::2, ::2])
    conv, norm = wide.shortcut_layer
    expected = torch.einsum("oi,bihw->bohw", conv.weight[:, :, 0, 0], x[:, :, ::2, ::2]) / math.sqrt(1 + norm.eps)
    torch.testing.assert_close(wide.shortcut_layer(x), expected)


def ir_se_50_count():
    """Count the numbers learnt, from the table of the architecture: 3, 4, 14 and 3 blocks of 64 to 512 channels."""
    total = 64 * 3 * 9 + 2 * 64 + 64
    c_in = 64
    for blocks, c in ((3, 64), (4, 128), (14, 256), (3, 512)):
        for number in range(blocks):
            i = c_in if number == 0 else c
            total += 2 * i + 9 * i * c + c + 9 * c * c + 2 * c + 2 * c * (c // 16)
            total += i * c + 2 * c if i != c else 0
        c_in = c
    return total


def test_the_backbone_has_the_size_of_ir_se_50_and_features_after_blocks_6_20_and_23():
    with torch.device("meta"):
        network = Encoder(EncoderParams(), 3, 18, 512, 1024)
    parts = [*network.input_layer.parameters(), *network.body.parameters()]
    assert sum(weight.numel() for weight in parts) == ir_se_50_count()
    # With ArcFace's own last layers, a linear map of 7 x 7 x 512 numbers between two norms: 43.80 M, as published.
    assert (ir_se_50_count() + 2 * 512 + 49 * 512 * 512 + 512 + 2 * 512) / 1e6 == pytest.approx(43.80, abs=0.005)
    assert network._ends == (6, 20, 23)
    assert network.side == 256
    maps = network._features(torch.empty(1, 3, 256, 256, device="meta"))
    assert [tuple(m.shape[1:]) for m in maps] == [(128, 64, 64), (256, 32, 32), (512, 16, 16)]
    # Halvings down to one pixel: 16, 32 and 64 pixels.
    assert [sum(isinstance(p, nn.Conv2d) for p in network.styles[i].convs) for i in (0, 2, 3, 6, 7, 17)] == [
        4,
        4,
        5,
        5,
        6,
        6,
    ]
    assert network(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 18, 512)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 10, 16, 24])
def test_any_side_comes_down_to_one_pixel(side):
    block = MapToStyle(4, 6, side)
    assert block.convs(torch.zeros(2, 4, side, side)).shape == (2, 6, 1, 1)
    assert block(torch.zeros(2, 4, side, side)).shape == (2, 6)


@pytest.mark.parametrize(("side", "num_ws", "channels"), [(40, 8, 1), (96, 10, 1), (28, 8, 3), (33, 12, 2)])
def test_any_number_of_layers_and_channels_and_any_side(side, num_ws, channels):
    network = encoder(num_ws=num_ws, channels=channels, side=side)
    assert network(images(2, channels, side)).shape == (2, num_ws, 8)


def test_images_are_resized_to_the_encoders_side():
    network = encoder(EncoderParams(encoder_blocks=(1, 1, 1), encoder_widths=(8, 8, 16), encoder_side=32), side=24)
    x = images()
    assert network.side == 32
    assert torch.equal(network(x), network(resized(x, 32)))
    assert torch.equal(resized(x, 24), x)
    shrunk = resized(images(1, 1, 32), 8)
    torch.testing.assert_close(shrunk.mean(), images(1, 1, 32).mean(), atol=0.05, rtol=0)


# w0 and deltas


def test_without_deltas_every_layer_gets_w0_and_deltas_join_one_by_one():
    network, x = encoder(), images()
    with torch.no_grad():
        all_codes = network(x) - network.mean
        w0 = (network(x, 0) - network.mean)[:, :1]
        torch.testing.assert_close(network(x, 0), w0 + network.mean)
        for deltas in range(10):
            codes = network(x, deltas) - network.mean
            torch.testing.assert_close(codes[:, : deltas + 1], all_codes[:, : deltas + 1])
            torch.testing.assert_close(codes[:, deltas + 1 :], w0.expand(-1, 9 - deltas, -1))
        assert float((all_codes[:, 1:] - w0).abs().amin(dim=(0, 2)).min()) > 0
        assert torch.equal(network(x, 9), network(x))


def test_deltas_of_layers_that_have_none_are_not_even_computed():
    network = encoder()
    network(images(), 3).sum().backward()
    moved = {i for i, style in enumerate(network.styles) if style.linear.weight.grad is not None}
    assert moved == {0, 1, 2, 3}
    assert network.latlayer1.weight.grad is not None
    assert network.latlayer2.weight.grad is None


def test_a_silent_encoder_gives_the_mean_latent():
    network = encoder()
    for style in network.styles:
        nn.init.zeros_(style.linear.weight)
        nn.init.zeros_(style.linear.bias)
    assert torch.equal(network(images()), network.mean.expand(3, -1, -1))


def test_layers_are_read_from_the_pyramid_level_that_is_theirs():
    """Perturb the finest features: only layers from 7 on change; the middle ones: only those from 3 on."""
    network, x = encoder(), images()
    with torch.no_grad():
        before = network(x)
        for lateral, first in ((network.latlayer2, 7), (network.latlayer1, 3)):
            changed = copy.deepcopy(network)
            name = "latlayer2" if lateral is network.latlayer2 else "latlayer1"
            getattr(changed, name).weight.add_(1.0)
            difference = (changed(x) - before).abs().amax(dim=(0, 2))
            assert float(difference[:first].max()) == 0
            assert float(difference[first:].min()) > 0


def test_the_schedule_keeps_the_published_ratios():
    full = EncoderParams()
    assert [active_deltas(full, step, 18) for step in (0, 19_999, 20_000, 21_999, 22_000, 52_000, 54_000, 199_999)] == [
        *(0, 0, 1, 1, 2, 17, 17, 17)
    ]
    small = EncoderParams(encoder_steps=500)
    counts = [active_deltas(small, step, 8) for step in range(500)]
    assert counts == [active_deltas(full, 400 * step, 8) for step in range(500)]
    assert counts[49:86:5] == [0, 1, 2, 3, 4, 5, 6, 7]
    tiny = EncoderParams(encoder_steps=3, encoder_delta_start=0.0)
    assert [active_deltas(tiny, step, 8) for step in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder_blocks": (1, 1)}, "three stages or more"),
        ({"encoder_widths": (1, 1, 1)}, "4 and 3"),
        ({"encoder_widths": (1, 1, 0, 1)}, "positive"),
        ({"encoder_steps": 0}, "encoder_steps must be at least 1"),
        ({"encoder_side": -1}, "encoder_side"),
        ({"encoder_delta_start": 1.5}, "encoder_delta_start is a share"),
    ],
)
def test_values_that_cannot_work_are_refused(change, words):
    with pytest.raises(SuiteError, match=words):
        check_encoder(EncoderParams(**change))


# Losses


def test_the_norm_of_deltas_by_hand():
    mean = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [5.0, 5.0]])
    own = torch.tensor(
        [[[1.0, 1.0], [4.0, 5.0], [1.0, 1.0], [9.0, 9.0]], [[0.0, 0.0], [0.0, 1.0], [6.0, 8.0], [1.0, 1.0]]]
    )
    # Image 0: |(3, 4)| = 5, |(0, 0)| = 0; image 1: 1 and 10; the third delta is not active.
    assert float(loss.delta_norm(own + mean, mean, 2)) == pytest.approx((5 + 0 + 1 + 10) / 2)
    assert float(loss.delta_norm(own + mean, mean, 1)) == pytest.approx((5 + 1) / 2)


def test_the_norm_of_deltas_has_a_gradient_where_deltas_are_zero():
    ws = torch.zeros(2, 3, 4, requires_grad=True)
    loss.delta_norm(ws, torch.zeros(3, 4), 2).backward()
    assert torch.isfinite(ws.grad).all()


def test_image_losses_are_weighted_and_taken_at_the_encoders_side_at_most():
    x, back = images(2, 1, 8), images(2, 1, 8).flip(3)
    given = loss.Distances(lambda a, b: (a - b).abs().max(), lambda a, b: torch.tensor(float(a.shape[-1])))
    params = EncoderParams(encoder_side=0, encoder_l2=2.0, encoder_perceptual_weight=3.0, encoder_identity_weight=0.5)
    expected = 2 * (x - back).square().mean() + 3 * (x - back).abs().max() + 0.5 * 8
    torch.testing.assert_close(loss.image_loss(params, given, back, x), expected)
    params = EncoderParams(encoder_side=4)
    halves = [v.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)) for v in (x, back)]
    only = loss.Distances(None, None)
    torch.testing.assert_close(loss.image_loss(params, only, back, x), (halves[0] - halves[1]).square().mean())
    torch.testing.assert_close(
        loss.image_loss(EncoderParams(encoder_side=16), only, back, x), (x - back).square().mean()
    )


# The latent discriminator


def test_the_latent_discriminator_is_four_layers():
    network = LatentDiscriminator(512)
    assert sum(weight.numel() for weight in network.parameters()) == 3 * (512 * 512 + 512) + 513
    assert [m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)] == [0.2] * 3
    assert network(torch.zeros(2, 5, 512)).shape == (2, 5)


def test_r1_is_the_squared_gradient_by_finite_differences():
    with seeded("r1"):
        network = LatentDiscriminator(6).double()
        w = torch.randn(4, 6, dtype=torch.float64)
    h, total = 1e-6, torch.zeros(4, dtype=torch.float64)
    with torch.no_grad():
        for axis in range(6):
            step = h * torch.eye(6, dtype=torch.float64)[axis]
            total += ((network(w + step) - network(w - step)) / (2 * h)).square()
    torch.testing.assert_close(critic.r1(network, w), total.mean(), rtol=1e-6, atol=0)
    # And its gradient by the weights, which is what trains.
    first = network.mlp[0].weight
    (slope,) = torch.autograd.grad(critic.r1(network, w), first)
    with torch.no_grad():
        first[2, 3] += 1e-5
        above = critic_r1_value(network, w)
        first[2, 3] -= 2e-5
        below = critic_r1_value(network, w)
    assert float(slope[2, 3]) == pytest.approx((above - below) / 2e-5, rel=1e-4)


def critic_r1_value(network, w):
    with torch.enable_grad():
        return critic.r1(network, w).item()


def test_a_pool_gives_back_past_codes_half_of_the_time_and_forgets_none_it_holds():
    pool, random = CodePool(50, 1, "cpu"), generator("pool")
    first = torch.arange(50.0)[:, None]
    assert torch.equal(pool.query(first, random), first)
    old = 0
    given = []
    for step in range(200):
        new = 100 + torch.arange(8.0)[:, None] + 8 * step
        out = pool.query(new, random)
        old += int((out != new).sum())
        given += out.flatten().tolist()
    assert pool.codes.shape == (50, 1)
    assert old / 1600 == pytest.approx(0.5, abs=0.04)
    # Each code that came in was given out once or is still held.
    held = pool.codes.flatten().tolist()
    assert sorted(given + held) == sorted([float(i) for i in range(50)] + [100.0 + i for i in range(1600)])
    assert torch.equal(CodePool(0, 1, "cpu").query(first, random), first)


def make_critic(**changes):
    params = EncoderParams(**changes)
    with seeded("critic"):
        network = LatentDiscriminator(4)
    return Critic(params, network.requires_grad_(requires_grad=False), 4, "cpu")


def test_the_critic_learns_to_tell_codes_and_its_loss_pushes_codes_towards_the_real_ones():
    judge, random = make_critic(encoder_critic_lr=3e-3, encoder_critic_r1=0.1), generator("critic")
    real_mean = torch.tensor([2.0, 0.0, 0.0, 0.0])
    for step in range(150):
        real = torch.randn(8, 4, generator=random) * 0.3 + real_mean
        judge.learn(step, real, torch.randn(8, 2, 4, generator=random) * 0.3, random)
    codes = torch.zeros(5, 2, 4, requires_grad=True)
    judge.loss(codes).backward()
    assert (codes.grad[..., 0] < 0).all()
    assert all(weight.grad is None or not weight.requires_grad for weight in judge.network.parameters())
    assert float(judge.loss(torch.zeros(1, 1, 4))) > 3 * float(judge.loss(real_mean[None, None]))


def test_the_critics_penalty_comes_every_so_often_in_a_step_of_its_own():
    judge, random = make_critic(encoder_critic_r1_every=4), generator("critic steps")
    for step in range(8):
        judge.learn(step, torch.randn(2, 4, generator=random), torch.randn(2, 1, 4, generator=random), random)
    assert {int(state["step"]) for state in judge.adam.state.values()} == {10}


# The optimiser


def lookahead_by_hand(w, gradients, lr, k, share):
    """RAdam and lookahead for one vector, from the papers' formulas."""
    (b1, b2), eps = (0.95, 0.999), 1e-5
    slow, m, v = w.clone(), torch.zeros_like(w), torch.zeros_like(w)
    rho_max = 2 / (1 - b2) - 1
    for t, g in enumerate(gradients, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat = m / (1 - b1**t)
        rho = rho_max - 2 * t * b2**t / (1 - b2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_max / ((rho_max - 4) * (rho_max - 2) * rho))
            w = w - lr * r * m_hat * math.sqrt(1 - b2**t) / (v.sqrt() + eps)
        else:
            w = w - lr * m_hat
        if t % k == 0:
            slow = slow + share * (w - slow)
            w = slow.clone()
    return w


def test_ranger_is_radam_with_lookahead_by_hand():
    with seeded("ranger"):
        start, gradients = torch.randn(5, dtype=torch.float64), torch.randn(20, 5, dtype=torch.float64)
    weight = nn.Parameter(start.clone())
    ranger = Ranger([weight])
    for g in gradients:
        weight.grad = g.clone()
        ranger.step(0.01)
    torch.testing.assert_close(weight.data, lookahead_by_hand(start, gradients, 0.01, 6, 0.5), rtol=1e-10, atol=1e-12)


def test_gradients_of_matrices_are_centred_per_output_and_those_of_vectors_are_not():
    matrix, vector, late = nn.Parameter(torch.zeros(2, 3, 2)), nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(2))
    ranger = Ranger([matrix, vector, late])
    matrix.grad, vector.grad = torch.randn(2, 3, 2), torch.ones(3)
    ranger.step(0.1)
    torch.testing.assert_close(matrix.data.sum((1, 2)), torch.zeros(2), atol=1e-6, rtol=0)
    assert float(vector.data.sum()) < 0
    assert torch.equal(late.data, torch.ones(2))
    late.grad = torch.ones(2)
    ranger.step(0.1)
    assert int(ranger.inner.state[late]["step"]) == 1
    ranger.zero_grad()
    assert matrix.grad is None


@pytest.mark.parametrize("kind", [Adam, Ranger])
def test_an_optimiser_goes_on_from_its_state_and_adam_is_torchs(kind):
    with seeded("optimiser state"):
        start, gradients = torch.randn(3, 4), torch.randn(16, 3, 4)
    one, two = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    whole, cut, plain = kind([one]), kind([two]), nn.Parameter(start.clone())
    reference = torch.optim.Adam([plain], lr=0.01)
    for number, g in enumerate(gradients):
        if number == 8:
            state, cut = cut.state(), kind([two])
            cut.restore(state)
        for weight, optimiser in ((one, whole), (two, cut)):
            weight.grad = g.clone()
            optimiser.step(0.01)
        plain.grad = g.clone()
        reference.step()
    assert torch.equal(one, two)
    assert torch.allclose(one, plain) == (kind is Adam)
