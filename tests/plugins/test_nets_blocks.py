"""Blocks and networks: formulas against direct computation, zero initialisation, published sizes."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom

from cfbench_nets.blocks import Attention, BlockStyle, ResBlock
from cfbench_nets.half_unet import HalfUNet
from cfbench_nets.layers import norm
from cfbench_nets.padding import crop, pad, padded_side, padded_space
from cfbench_nets.seeds import generator, seeded
from cfbench_nets.skip_mlp import TIME, SkipMLP
from cfbench_nets.stages import Shape
from cfbench_nets.unet import UNet

CONVOLVE = {2: F.conv2d, 3: F.conv3d}


def style(dims=2, **other):
    return BlockStyle(dims=dims, groups=4, dropout=0.0, **({"time_width": 6, "code_width": 5} | other))


def awake(module):
    """Give every weight, the zeroed ones too, a random value."""
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator("awake", number)))
    return module


def draw(*shape):
    return torch.randn(shape, generator=generator("draw", *shape))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_conditioned_block_is_the_published_formula(dims):
    block = awake(ResBlock(8, 12, style(dims)))
    x, time, z = draw(2, 8, *(6,) * dims), draw(2, 6), draw(2, 5)
    ones = (..., *(None,) * dims)
    h = CONVOLVE[dims](F.silu(F.group_norm(x, 4, block.norm_in.weight, block.norm_in.bias)), *weights(block.conv_in))
    h = F.group_norm(h, 4, block.norm_out.weight, block.norm_out.bias)
    s_t, b_t = F.linear(F.silu(time), block.time.weight, block.time.bias).chunk(2, dim=1)
    s_z = F.linear(F.silu(z), block.code.weight, block.code.bias)
    h = (1 + s_t[ones]) * h + b_t[ones]
    h = (1 + s_z[ones]) * h
    h = CONVOLVE[dims](F.silu(h), *weights(block.conv_out))
    skip = torch.einsum("oi,bi...->bo...", block.skip.weight.flatten(1), x) + block.skip.bias[ones]
    torch.testing.assert_close(block(x, time, z), skip + h, rtol=1e-4, atol=1e-5)


def weights(layer):
    return layer.weight, layer.bias, 1, 1


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("resample", ["keep", "down", "up"])
def test_a_new_block_passes_its_resampled_input_on(dims, resample):
    x = draw(1, 8, *(4,) * dims)
    wanted = {
        "keep": x,
        "down": x.reshape(1, 8, *(2, 2) * dims).mean(dim=tuple(range(3, 3 + 2 * dims, 2))),
        "up": x.repeat_interleave(2, 2).repeat_interleave(2, 3),
    }[resample]
    if resample == "up" and dims == 3:
        wanted = wanted.repeat_interleave(2, 4)
    torch.testing.assert_close(ResBlock(8, 8, style(dims), resample)(x, draw(1, 6), draw(1, 5)), wanted)


def test_an_unconditioned_block_has_a_single_convolution():
    block = ResBlock(8, 8, style(time_width=None, code_width=None))
    assert {name.split(".")[0] for name, _ in block.named_parameters()} == {"norm_in", "conv_in"}


@pytest.mark.parametrize("dims", [2, 3])
def test_attention_is_scaled_dot_product_attention(dims):
    block = awake(Attention(8, style(dims)))
    x = draw(2, 8, *(3,) * dims)
    q, k, v = block.qkv(block.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=2)
    wanted = x + block.proj(F.scaled_dot_product_attention(q, k, v)).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(block(x), wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(Attention(8, style(dims))(x), x)


def test_group_norm_takes_the_largest_common_number_of_groups():
    assert [norm(c, 32).num_groups for c in (64, 48, 16, 7)] == [32, 16, 16, 1]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_new_u_net_predicts_zero_and_a_trained_one_depends_on_x_time_and_z(dims):
    shape = Shape(side=8, widths=(4, 8), res_blocks=1, attention=(4,))
    unet = UNet(2, shape, style(dims))
    x, t, z = draw(2, 2, *(8,) * dims), torch.tensor([3, 700]), draw(2, 5)
    with torch.no_grad():
        assert not unet(x, unet.embed(t), z).any()
        awake(unet)
        out = unet(x, unet.embed(t), z)
        assert out.shape == x.shape
        for other in (unet(-x, unet.embed(t), z), unet(x, unet.embed(t + 9), z), unet(x, unet.embed(t), -z)):
            assert (out - other).abs().max() > 1e-3
        row = unet(x, unet.embed(t[:1]), z)
    torch.testing.assert_close(row[:1], out[:1], rtol=1e-4, atol=1e-4)


#: (side, channels, U-Net, encoder) to parameters of (both, encoder) and attention blocks of (U-Net, encoder): the
#: authors' templates, counted in their code by instantiating it.
PUBLISHED = {
    "ffhq64": (64, 64, (1, 2, 4, 8), (1, 2, 4, 8, 8), 90.84, 19.32, 6, 3),
    "ffhq128": (128, 128, (1, 1, 2, 3, 4), (1, 1, 2, 3, 4, 4), 128.55, 24.67, 6, 3),
    "ffhq256": (256, 128, (1, 1, 2, 2, 4, 4), (1, 1, 2, 2, 4, 4, 4), 168.49, 30.15, 6, 3),
    "ffhq64 at 96 px": (96, 64, (1, 2, 4, 8), (1, 2, 4, 8, 8), 88.99, 18.79, 1, 1),
}


@pytest.mark.parametrize("template", PUBLISHED)
def test_published_templates_have_the_published_sizes(template):
    side, channels, mult, encoder_mult, both, encoder_size, attends, encoder_attends = PUBLISHED[template]
    plain = BlockStyle(dims=2, groups=32, dropout=0.1)
    conditioned = BlockStyle(dims=2, groups=32, dropout=0.1, time_width=512, code_width=512)
    with torch.device("meta"):
        unet = UNet(3, template_shape(side, channels, mult), conditioned)
        encoder = HalfUNet(3, 512, template_shape(side, channels, encoder_mult), plain)
    count = [sum(weight.numel() for weight in net.parameters()) / 1e6 for net in (unet, encoder)]
    assert sum(count) == pytest.approx(both, abs=0.006)
    assert count[1] == pytest.approx(encoder_size, abs=0.006)
    blocks = [sum(isinstance(part, Attention) for part in net.modules()) for net in (unet, encoder)]
    assert blocks == [attends, encoder_attends]


def template_shape(side, channels, mult):
    return Shape(side=side, widths=[channels * m for m in mult], res_blocks=2, attention=(16,))


def test_a_skip_mlp_is_the_published_formula():
    net = awake(SkipMLP(3, 6, 4))
    z, t = draw(5, 3), torch.tensor([0, 3, 40, 500, 999])
    angles = t[:, None] * torch.exp(-math.log(1e4) * torch.arange(TIME // 2) / (TIME // 2))
    first, _, second = net.time
    time = F.linear(torch.cat([angles.cos(), angles.sin()], dim=1), first.weight, first.bias)
    time = F.silu(F.linear(F.silu(time), second.weight, second.bias))
    h = z
    for number, layer in enumerate(net.hidden):
        h = F.linear(torch.cat([h, z], dim=1) if number else z, layer.linear.weight, layer.linear.bias)
        h = h * (1 + F.linear(time, layer.scale.weight, layer.scale.bias))
        h = F.silu(F.layer_norm(h, (6,), layer.norm.weight, layer.norm.bias))
    assert len(net.hidden) == 3
    wanted = F.linear(torch.cat([h, z], dim=1), net.last.weight, net.last.bias)
    torch.testing.assert_close(net(z, t), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net(z, t[:1])[:1], net(z[:1], t[:1]), rtol=1e-4, atol=1e-5)


def test_a_skip_mlp_has_the_published_size():
    with torch.device("meta"):
        net = SkipMLP(512, 2048, 10)
    scale, norm_ = 512 * 2048 + 2048, 2 * 2048
    layers = [512 * 2048 + 2048 + scale + norm_] + 8 * [2560 * 2048 + 2048 + scale + norm_]
    wanted = 64 * 512 + 512 + 512 * 512 + 512 + sum(layers) + 2560 * 512 + 512
    assert sum(weight.numel() for weight in net.parameters()) == wanted


@pytest.mark.parametrize(("side", "multiple", "wanted"), [(28, 4, 28), (29, 4, 32), (30, 8, 32), (5, 1, 5)])
def test_padding_repeats_the_border_and_is_undone(side, multiple, wanted):
    x = draw(2, 1, side, side)
    padded = pad(x, padded_side(side, multiple))
    assert padded.shape == (2, 1, wanted, wanted)
    assert torch.equal(crop(padded, (side, side)), x)
    assert torch.equal(padded[:, :, 0, 0], x[:, :, 0, 0])
    assert torch.equal(padded[:, :, -1, -1], x[:, :, -1, -1])


@pytest.mark.parametrize(("to", "wanted"), [(8, (8, 8, 8)), (padded_space((5, 6, 3), 4), (8, 8, 4))])
def test_padding_of_volumes(to, wanted):
    x = draw(1, 2, 5, 6, 3)
    padded = pad(x, to)
    assert padded.shape == (1, 2, *wanted)
    assert torch.equal(crop(padded, (5, 6, 3)), x)


def test_initial_weights_come_from_the_seed_and_leave_the_global_state_alone():
    def weight(seed):
        with seeded(seed, "weights"):
            return torch.nn.Linear(3, 3).weight.detach()

    before = torch.random.get_rng_state()
    assert torch.equal(weight(1), weight(1))
    assert not torch.equal(weight(1), weight(2))
    assert torch.equal(torch.random.get_rng_state(), before)
