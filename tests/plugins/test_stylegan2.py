"""StyleGAN2's networks: against definitions, closed forms, scipy, published counts."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from cfbench.errors import SuiteError
from cfbench.protocols import Context
from cfbench.specs import DatasetInfo
from cfbench_stylegan2.networks.build import new_discriminator, new_generator, pyramid_of
from cfbench_stylegan2.networks.discriminator import ConvLayer, Discriminator, minibatch_deviation
from cfbench_stylegan2.networks.equalised import EqualConv2d, EqualLinear
from cfbench_stylegan2.networks.fir import BINOMIAL, kernel, upfirdn
from cfbench_stylegan2.networks.generator import ModulatedConv2d, PixelNorm, StyledConv, StyleGenerator, ToImage
from cfbench_stylegan2.networks.modulated import demodulation, grouped, scaled
from cfbench_stylegan2.networks.sides import pyramid
from cfbench_stylegan2.plugin import StyleGAN2Params
from cfbench_stylegan2.presets import PRESETS


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def info(channels, *space):
    return DatasetInfo(channels=channels, space=space, labels={}, fingerprint="none")


def small(channels=1, side=20, dtype=torch.float32):
    """Return a generator with random weights and noise strengths, so that nothing about it is zero."""
    torch.manual_seed(0)
    net = StyleGenerator(pyramid(side, 0, 80, 8), channels, 6, 2).to(dtype)
    with torch.no_grad():
        for layer in (net.conv1, *net.convs):
            layer.noise.weight.fill_(0.3)
            layer.activate.bias.normal_()
    return net


# FIR filters


def by_definition(x, fir, up, down, pad):
    """Insert zeros, pad, convolve and decimate one plane, pixel by pixel, in float64."""
    h, w = x.shape
    wide = np.zeros((h * up, w * up))
    wide[::up, ::up] = x
    before, after = pad
    wide = np.pad(wide, [(max(before, 0), max(after, 0))] * 2)
    crop = [slice(max(-before, 0), len(wide) - max(-after, 0)), slice(max(-before, 0), wide.shape[1] - max(-after, 0))]
    wide = wide[crop[0], crop[1]]
    k = len(fir)
    out = np.zeros((wide.shape[0] - k + 1, wide.shape[1] - k + 1))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = sum(wide[i + a, j + b] * fir[k - 1 - a, k - 1 - b] for a in range(k) for b in range(k))
    return out[::down, ::down]


@settings(max_examples=40, deadline=None)
@given(
    up=st.integers(1, 3),
    down=st.integers(1, 3),
    taps=st.integers(1, 4),
    before=st.integers(-1, 3),
    after=st.integers(-1, 3),
    height=st.integers(3, 6),
    width=st.integers(3, 6),
)
def test_upfirdn_equals_its_definition(up, down, taps, before, after, height, width):
    x, fir = randn(1, 2, height, width, dtype=torch.float64), randn(taps, taps, seed=1, dtype=torch.float64)
    if min(height, width) * up + before + after < taps:
        return
    found = upfirdn(x, fir, up, down, (before, after))
    for c in range(2):
        wanted = by_definition(x[0, c].numpy(), fir.numpy(), up, down, (before, after))
        np.testing.assert_allclose(found[0, c].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_upfirdn_equals_scipy_in_both_directions(up, down):
    taps = np.array([1.0, 3.0, 2.0, 0.5])
    x = randn(1, 1, 7, 9, dtype=torch.float64)
    # scipy convolves with all zeros that matter around the signal, and leaves out those after the last sample.
    wanted = signal.upfirdn(taps, signal.upfirdn(taps, x[0, 0].numpy(), up, down, axis=0), up, down, axis=1)
    found = upfirdn(x, torch.outer(torch.tensor(taps), torch.tensor(taps)), up, down, (3, 3 - (up - 1)))
    np.testing.assert_allclose(found[0, 0].numpy(), wanted, atol=1e-12)


def test_the_filter_is_linear_interpolation_where_it_doubles_and_keeps_constants():
    ramp = torch.arange(6.0)[None, None, None].expand(1, 1, 6, 6).contiguous()
    found = upfirdn(ramp, kernel(gain=4), up=2, pad=(2, 1))
    assert found.shape == (1, 1, 12, 12)
    torch.testing.assert_close(found[0, 0, 5, 1:-1], torch.arange(0.25, 5, 0.5))
    flat = upfirdn(torch.ones(1, 1, 8, 8), kernel(BINOMIAL), pad=(2, 1))
    torch.testing.assert_close(flat[:, :, 2:-2, 2:-2], torch.ones(1, 1, 4, 4))


# Modulated convolution


def explicit(x, weight, style, demodulate, up):
    """Make the weights of each image, and convolve each image with its own; a doubled one is filtered by definition."""
    images = []
    for image, s in zip(x, style, strict=True):
        own = torch.zeros_like(weight)
        for o in range(weight.shape[0]):
            for i in range(weight.shape[1]):
                own[o, i] = weight[o, i] * s[i]
            if demodulate:
                own[o] = own[o] / torch.sqrt(own[o].pow(2).sum() + 1e-8)
        if up:
            jagged = F.conv_transpose2d(image[None], own.transpose(0, 1), stride=2)[0]
            fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
            images.append(torch.tensor(np.stack([by_definition(c.numpy(), fir, 1, 1, (1, 1)) for c in jagged])))
        else:
            images.append(F.conv2d(image[None], own, padding=weight.shape[2] // 2)[0])
    return torch.stack(images).to(x.dtype)


@pytest.mark.parametrize("way", [scaled, grouped])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("up", "size"), [(False, 3), (False, 1), (True, 3)])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_modulated_convolution_equals_explicit_weights_for_each_image(way, demodulate, up, size, dtype, error):
    x, weight = randn(3, 4, 6, 6, dtype=dtype), randn(5, 4, size, size, seed=1, dtype=dtype)
    style = randn(3, 4, seed=2, dtype=dtype) + 1
    found = way(x, weight, style, demodulate, kernel(gain=4) if up else None)
    wanted = explicit(x, weight, style, demodulate, up)
    assert found.shape == wanted.shape == ((3, 5, 12, 12) if up else (3, 5, 6, 6))
    assert float((found - wanted).abs().max()) < error * max(1.0, float(wanted.abs().max()))


def test_both_ways_have_the_same_gradients():
    inputs = [randn(2, 3, 5, 5, dtype=torch.float64), randn(4, 3, 3, 3, seed=1, dtype=torch.float64)]
    inputs = [value.requires_grad_() for value in (*inputs, randn(2, 3, seed=2, dtype=torch.float64) + 1)]
    for fir in (None, kernel(gain=4)):
        gradients = [torch.autograd.grad(way(*inputs, True, fir).pow(3).sum(), inputs) for way in (scaled, grouped)]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("up", [False, True])
def test_a_styled_layer_is_convolution_noise_bias_and_leaky_relu_in_this_order(up):
    torch.manual_seed(0)
    layer = StyledConv(4, 5, 6, up=up).double()
    with torch.no_grad():
        layer.noise.weight.fill_(0.7)
        layer.activate.bias.normal_()
    x, w = randn(3, 4, 6, 6, dtype=torch.float64), randn(3, 6, seed=1, dtype=torch.float64)
    noise = randn(3, 1, 12, 12, seed=2, dtype=torch.float64) if up else randn(3, 1, 6, 6, seed=2, dtype=torch.float64)
    modulation = layer.conv.modulation
    style = w @ modulation.weight.detach().T / math.sqrt(6) + 1
    y = explicit(x, layer.conv.weight[0].detach() / math.sqrt(4 * 9), style, True, up)
    y = y + 0.7 * noise + layer.activate.bias[:, None, None]
    wanted = torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)
    torch.testing.assert_close(layer(x, w, noise), wanted, rtol=1e-10, atol=1e-10)


def test_a_layer_s_image_is_added_to_the_doubled_image_so_far():
    torch.manual_seed(0)
    layer = ToImage(4, 2, 6).double()
    with torch.no_grad():
        layer.bias.normal_()
    x, w = randn(3, 4, 8, 8, dtype=torch.float64), randn(3, 6, seed=1, dtype=torch.float64)
    style = w @ layer.conv.modulation.weight.detach().T / math.sqrt(6) + 1
    own = explicit(x, layer.conv.weight[0].detach() / 2, style, False, False) + layer.bias
    torch.testing.assert_close(layer(x, w), own, rtol=1e-10, atol=1e-10)
    image = randn(3, 2, 4, 4, seed=2, dtype=torch.float64)
    doubled = upfirdn(image, kernel(gain=4).double(), up=2, pad=(2, 1))
    torch.testing.assert_close(layer(x, w, image), own + doubled, rtol=1e-10, atol=1e-10)


def test_demodulated_outputs_of_independent_inputs_have_variance_one_whatever_the_style():
    x, weight = randn(4, 64, 40, 40), randn(32, 64, 3, 3, seed=1)
    style = randn(4, 64, seed=2).exp() * torch.tensor([0.01, 1.0, 10.0, 100.0])[:, None]
    inside = scaled(x, weight, style, demodulate=True)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(inside.var(dim=(1, 2, 3)), torch.ones(4), rtol=0.05, atol=0)
    plain = scaled(x, weight, style, demodulate=False)[:, :, 1:-1, 1:-1]
    assert float(plain.var(dim=(1, 2, 3)).max()) > 1e4
    torch.testing.assert_close(
        demodulation(weight, style), 1 / (weight * style[:, None, :, None, None]).pow(2).sum((2, 3, 4)).sqrt()
    )


def test_a_layer_s_style_starts_near_one():
    torch.manual_seed(0)
    layer = ModulatedConv2d(8, 4, 3, 16)
    torch.testing.assert_close(layer.modulation(torch.zeros(1, 16)), torch.ones(1, 8))


# Equalised learning rate


@pytest.mark.parametrize("lr_mult", [1.0, 0.01])
def test_equalised_layers_scale_unit_weights_when_they_are_used(lr_mult):
    torch.manual_seed(0)
    layer = EqualLinear(300, 200, bias=0.5, lr_mult=lr_mult)
    assert float(layer.weight.detach().std()) * lr_mult == pytest.approx(1, rel=0.02)
    x = randn(50, 300, seed=5)
    wanted = x @ layer.weight.T * (lr_mult / math.sqrt(300)) + 0.5 * lr_mult
    torch.testing.assert_close(layer(x), wanted)
    assert float((layer(x) - 0.5 * lr_mult).detach().var()) == pytest.approx(1, rel=0.1)


def test_a_learning_rate_multiplier_scales_gradients_and_thus_what_a_step_of_adam_does():
    x, moved = randn(50, 30), {}
    for lr_mult in (1.0, 0.01):
        torch.manual_seed(0)
        layer = EqualLinear(30, 20, lr_mult=lr_mult)
        effective = layer.weight.detach() * layer.scale
        adam = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(x).pow(3).sum().backward()
        if lr_mult == 1:
            plain = layer.weight.grad / layer.scale
        torch.testing.assert_close(layer.weight.grad, plain * layer.scale, rtol=1e-4, atol=1e-4)
        adam.step()
        moved[lr_mult] = float((layer.weight.detach() * layer.scale - effective).abs().mean())
    assert moved[1.0] == pytest.approx(1e-3 / math.sqrt(30), rel=1e-3)
    assert moved[0.01] == pytest.approx(moved[1.0] / 100, rel=1e-2)


def test_an_equalised_convolution_equals_its_definition():
    torch.manual_seed(0)
    layer, x = EqualConv2d(6, 50, 3, stride=2, padding=1), randn(2, 6, 9, 9, seed=5)
    wanted = F.conv2d(x, layer.weight / math.sqrt(54), stride=2, padding=1)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    assert float(layer.weight.detach().std()) == pytest.approx(1, rel=0.05)
    assert float(layer(randn(2, 6, 99, 99, seed=5)).detach()[:, :, 1:-1, 1:-1].var()) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("activate", [False, True])
def test_a_layer_of_the_discriminator_equals_its_definition(size, down, activate):
    torch.manual_seed(0)
    layer = ConvLayer(3, 5, size, down=down, activate=activate).double()
    x = randn(2, 3, 8, 8, dtype=torch.float64)
    weights = dict(layer.named_parameters())
    weight = next(value for name, value in weights.items() if name.endswith("weight")) / math.sqrt(3 * size**2)
    if down:
        # Filtered at every pixel, then convolved at every second one.
        fir, pad = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64, (size + 2) // 2
        pads = (pad, (size + 1) // 2)
        filtered = np.stack([[by_definition(c.numpy(), fir, 1, 1, pads) for c in image] for image in x])
        y = F.conv2d(torch.tensor(filtered), weight, stride=2)
    else:
        y = F.conv2d(x, weight, padding=size // 2)
    if activate:
        with torch.no_grad():
            bias = next(value for name, value in weights.items() if name.endswith("bias")).normal_()
        y = F.leaky_relu(y + bias[:, None, None], 0.2) * math.sqrt(2)
    assert y.shape[2:] == ((4, 4) if down else (8, 8))
    torch.testing.assert_close(layer(x), y, rtol=1e-10, atol=1e-10)
    assert len(weights) == 1 + activate


def test_pixel_norm_gives_vectors_a_mean_square_of_one():
    torch.testing.assert_close(PixelNorm()(randn(5, 30) * 7).square().mean(1), torch.ones(5))


# Sides, styles, parameters


@pytest.mark.parametrize(
    ("side", "constant", "padded", "styles"),
    [
        (64, 4, 64, 10),
        (128, 4, 128, 12),
        (256, 4, 256, 14),
        (1024, 4, 1024, 18),
        (96, 4, 128, 12),
        (40, 0, 40, 8),
        (96, 0, 96, 10),
        (28, 0, 28, 6),
        (41, 0, 48, 8),
        (33, 5, 40, 8),
    ],
)
def test_styles_per_resolution(side, constant, padded, styles):
    found = pyramid(side, constant, 64, 8)
    assert (found.side, found.num_ws) == (padded, styles)
    assert found.side == found.sides[-1] == found.constant * 2 ** (len(found.sides) - 1)


@given(side=st.integers(8, 1100))
def test_a_free_constant_never_pads_more_than_a_given_one(side):
    best = pyramid(side, 0, 64, 8).side
    assert side <= best <= min(pyramid(side, c, 64, 8).side for c in (4, 5, 6, 7))
    # 4, 5, 6, 7 times powers of two: at most a quarter is added.
    assert best <= 1.25 * side


#: Parameters per layer and in total as NVIDIA's implementation prints them (its public logs): channel_base 32768 is
#: its config F and the public PyTorch implementation's channel multiplier 2, 16384 its 256-pixel template.
@pytest.mark.parametrize(
    ("side", "base", "generator", "discriminator"),
    [
        (256, 16_384, 24_767_458, 24_001_089),
        (256, 32_768, 30_034_338, 28_864_129),
        (1024, 32_768, 30_370_060, 29_012_513),
    ],
)
def test_parameters_of_the_published_sizes(side, base, generator, discriminator):
    with torch.device("meta"):
        g = StyleGenerator(pyramid(side, 4, base, 512), 3, 512, 8)
        d = Discriminator(pyramid(side, 4, base, 512), 3)
    assert count(g) == generator
    assert count(d) == discriminator
    assert count(g.style[1]) == 262_656
    assert count(g.conv1) == 2_622_465
    assert count(g.to_rgb1) == 264_195


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def test_names_are_those_of_the_public_layout():
    with torch.device("meta"):
        names = StyleGenerator(pyramid(16, 4, 64, 8), 3, 8, 2).state_dict()
        judge = Discriminator(pyramid(16, 4, 64, 8), 3).state_dict()
    layer = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias", "noise.weight", "activate.bias")
    image = ("bias", "conv.weight", "conv.modulation.weight", "conv.modulation.bias")
    wanted = {f"style.{n}.{part}" for n in (1, 2) for part in ("weight", "bias")} | {"input.input"}
    wanted |= {f"{where}.{part}" for where in ("conv1", *(f"convs.{n}" for n in range(4))) for part in layer}
    wanted |= {f"{where}.{part}" for where in ("to_rgb1", "to_rgbs.0", "to_rgbs.1") for part in image}
    assert set(names) == wanted | {f"noises.noise_{n}" for n in range(5)}
    assert {"convs.0.0.weight", "convs.1.conv2.1.weight", "convs.1.skip.1.weight", "final_conv.0.weight"} <= set(judge)


# The generator as a whole


def test_with_fixed_noise_images_are_a_function_of_the_styles():
    net = small()
    ws = net.mapping(randn(3, 6))[:, None].expand(-1, net.num_ws, -1)
    first = net.synthesis(ws)
    assert first.shape == (3, 1, 20, 20)
    assert torch.equal(first, net.synthesis(ws))
    random = torch.Generator().manual_seed(0)
    noisy = net.synthesis(ws, net.draw_noise(3, random))
    assert not torch.allclose(first, noisy)
    assert torch.equal(noisy, net.synthesis(ws, net.draw_noise(3, torch.Generator().manual_seed(0))))
    fixed = dict(net.noises.named_buffers())
    assert torch.equal(first, net.synthesis(ws, fixed))


def test_each_style_reaches_the_image_from_its_layer_on():
    net = small(channels=2, dtype=torch.float64)
    ws = randn(1, net.num_ws, 6, dtype=torch.float64)
    first = net.synthesis(ws)
    for layer in range(net.num_ws):
        changed = ws.clone()
        changed[:, layer] += 1
        assert not torch.allclose(first, net.synthesis(changed)), layer


def test_images_of_a_batch_do_not_mix():
    net = small(dtype=torch.float64)
    ws = randn(4, net.num_ws, 6, dtype=torch.float64)
    torch.testing.assert_close(net.synthesis(ws)[2:3], net.synthesis(ws[2:3]), rtol=1e-10, atol=1e-12)


def test_the_mean_latent_is_the_mean_of_mapped_codes():
    net = small()
    z = torch.randn(5000, 6, generator=torch.Generator().manual_seed(4))
    found = net.mean_latent(5000, torch.Generator().manual_seed(4))
    torch.testing.assert_close(found, net.mapping(z).mean(0), rtol=1e-4, atol=1e-5)
    assert not found.requires_grad


# The discriminator


def test_minibatch_deviation_by_hand():
    x = torch.tensor([0.0, 10.0, 2.0, 10.0, 0.0, 12.0, 2.0, 12.0]).reshape(8, 1, 1, 1).repeat(1, 1, 2, 2)
    x = torch.cat([x, 3 * x], dim=1)
    # Groups of 4 are images 0, 2, 4, 6 (0, 2, 0, 2: deviation 1) and 1, 3, 5, 7; times 3 in the second channel.
    assert minibatch_deviation(x, 4).shape == (8, 1, 2, 2)
    torch.testing.assert_close(minibatch_deviation(x, 4), torch.full((8, 1, 2, 2), 2.0))
    # Groups of 2: images i and i + 4: |difference| / 2.
    halves = minibatch_deviation(x, 2)[:, 0, 0, 0]
    torch.testing.assert_close(halves[:4], torch.tensor([0.0, 2.0, 0.0, 2.0]), atol=2e-4, rtol=1e-4)
    assert float(minibatch_deviation(x[:3], 4).max()) <= 1.1e-4


def test_batches_that_do_not_divide_are_judged_too():
    torch.manual_seed(0)
    net = Discriminator(pyramid(20, 0, 80, 8), 3)
    assert net(randn(7, 3, 20, 20)).shape == (7,)
    assert net(randn(6, 3, 20, 20)).std() > 0


def test_groups_tell_a_batch_without_variety():
    torch.manual_seed(0)
    net = Discriminator(pyramid(20, 0, 80, 8), 1)
    x = randn(4, 1, 20, 20)
    assert not torch.allclose(net(x)[0], net(x[:1].repeat(4, 1, 1, 1))[0])


# Building for a dataset


@pytest.mark.parametrize(
    ("space", "message"),
    [((40, 48), "square 2D images, not 40 x 48"), ((16, 16, 16), "not 16 x 16 x 16"), ((4, 4), "more than 4 pixels")],
)
def test_images_that_do_not_fit_are_refused(space, message):
    with pytest.raises(SuiteError, match=message):
        pyramid_of(StyleGAN2Params(), info(1, *space))


def test_networks_depend_on_the_seed_alone(tmp_path):
    params = StyleGAN2Params(channel_base=64, channel_max=8, style_dim=8, mapping_layers=2)
    before = torch.random.get_rng_state()
    nets = [
        build(params, info(3, 16, 16), Context(seed=seed, folder=tmp_path)).state_dict()
        for build in (new_generator, new_discriminator)
        for seed in (1, 1, 2)
    ]
    for same, other in ((nets[0], nets[2]), (nets[3], nets[5])):
        assert not all(torch.equal(a, b) for a, b in zip(same.values(), other.values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(nets[0].values(), nets[1].values(), strict=True))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"constant_side": 3}, "constant_side must be one of 0, 4, 5, 6, 7, not 3"),
        ({"lr": 0.0, "r1": -1.0}, "(?s)r1 must be at least 0.*lr must be above 0"),
        ({"augment_p": 0.9}, "augment_p must be from 0 to 0.8"),
        ({"augment_kinds": ("blit", "hue")}, "augment_kinds must be some of blit, geometry, colour"),
        ({"mixing": 1.5}, "mixing must be from 0 to 1"),
    ],
)
def test_impossible_parameters_are_refused(changes, message):
    with pytest.raises(SuiteError, match=message):
        StyleGAN2Params(**changes)


def test_presets_are_parameters_and_paper_scale_is_the_public_implementation_s():
    for values in PRESETS.values():
        StyleGAN2Params(**values)
    assert pyramid_of(StyleGAN2Params(**PRESETS["verse96"]), info(1, 96, 96)).side == 128
    assert pyramid_of(StyleGAN2Params(**PRESETS["quick"]), info(1, 40, 40)).side == 40
