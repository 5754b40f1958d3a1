"""The generator of StyleGAN2 (Karras et al. 2020): z to w to images, by convolutions that styles modulate."""

import itertools
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor, nn

from cfbench_stylegan2.networks.equalised import GAIN, SLOPE, BiasedLeakyReLU, EqualLinear
from cfbench_stylegan2.networks.fir import kernel, upfirdn
from cfbench_stylegan2.networks.modulated import scaled
from cfbench_stylegan2.networks.sides import Pyramid

#: Latent codes that go through the mapping network at once.
CHUNK = 4096


class PixelNorm(nn.Module):
    """Divides every vector by the root of its mean square."""

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b z"]:
        """Return the normalised vectors."""
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class ModulatedConv2d(nn.Module):
    """Convolution whose weights a style scales: s = A w, with A's biases starting at 1 (see `modulated`)."""

    fir: Tensor | None

    def __init__(
        self, c_in: int, c_out: int, size: int, style_dim: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, c_out, c_in, size, size))
        self.modulation = EqualLinear(style_dim, c_in, bias=1.0)
        self.scale, self.demodulate = 1 / math.sqrt(c_in * size**2), demodulate
        self.register_buffer("fir", kernel(gain=4) if up else None, persistent=False)

    def forward(
        self,
        x: Float[Tensor, "b i h w"],
        w: Float[Tensor, "b s"],
        gain: float = 1.0,
        bias: Float[Tensor, " o"] | None = None,
    ) -> Float[Tensor, "b o p q"]:
        """Return gain times the convolution, plus a bias."""
        weight, style = self.weight[0] * self.scale, self.modulation(w)
        return scaled(x, weight, style, self.demodulate, self.fir, gain, bias)


class Strength(nn.Module):
    """How strongly noise is added: learnt, starting at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class StyledConv(nn.Module):
    """sqrt(2) LeakyReLU(modulated convolution + strength * noise + bias)."""

    def __init__(self, c_in: int, c_out: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(c_in, c_out, 3, style_dim, up=up)
        self.noise, self.activate = Strength(), BiasedLeakyReLU(c_out)

    def forward(
        self, x: Float[Tensor, "b i h w"], w: Float[Tensor, "b s"], noise: Float[Tensor, "#b 1 p q"]
    ) -> Float[Tensor, "b o p q"]:
        """Return the layer's output."""
        # The gain is positive, so it may as well be applied before the activation: one pass less over the maps.
        y = self.conv(x, w, GAIN, self.activate.bias * GAIN)
        return F.leaky_relu_(torch.addcmul(y, noise, self.noise.weight * GAIN), SLOPE)


class ToImage(nn.Module):
    """A layer's share of the image, added to the upsampled image so far; modulated, not demodulated."""

    fir: Tensor

    def __init__(self, c_in: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(c_in, channels, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("fir", kernel(gain=4), persistent=False)

    def forward(
        self, x: Float[Tensor, "b i h w"], w: Float[Tensor, "b s"], image: Float[Tensor, "b c p q"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return the image at this side; `image` has half of it."""
        y = self.conv(x, w, bias=self.bias.flatten())
        return y if image is None else y + upfirdn(image, self.fir, up=2, pad=(2, 1))


class Constant(nn.Module):
    """The learnt maps that every image starts from."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        maps = torch.randn(1, channels, side, side)
        # This layout passes on to all that follows.
        self.input = nn.Parameter(maps.contiguous(memory_format=torch.channels_last))


class StyleGenerator(nn.Module):
    """Mapping z -> w and synthesis w -> image in about [-1, 1].

    Weights have the names of the public PyTorch layout: style.N, input.input, conv1, to_rgb1, convs, to_rgbs, noises.
    `style_dim` is the width of z and of w, `num_ws` the styles of one image, `side` its side in pixels, `noise_shapes`
    name and size of every noise map.
    """

    def __init__(
        self, pyramid: Pyramid, channels: int, style_dim: int, mapping_layers: int, mapping_lr: float = 0.01
    ) -> None:
        super().__init__()
        self.num_ws, self.style_dim, self.side = pyramid.num_ws, style_dim, pyramid.side
        self.style = nn.Sequential(
            PixelNorm(),
            *(EqualLinear(style_dim, style_dim, lr_mult=mapping_lr, activate=True) for _ in range(mapping_layers)),
        )
        first, widths = pyramid.widths[0], pyramid.widths
        self.input = Constant(first, pyramid.constant)
        self.conv1 = StyledConv(first, first, style_dim)
        self.to_rgb1 = ToImage(first, channels, style_dim)
        steps = list(itertools.pairwise(widths))
        self.convs = nn.ModuleList(
            layer
            for c_in, c_out in steps
            for layer in (StyledConv(c_in, c_out, style_dim, up=True), StyledConv(c_out, c_out, style_dim))
        )
        self.to_rgbs = nn.ModuleList(ToImage(width, channels, style_dim) for width in widths[1:])
        self.noise_shapes = pyramid.noise_shapes
        self.noises = nn.Module()
        for name, size in self.noise_shapes.items():
            self.noises.register_buffer(name, torch.randn(1, 1, *size))

    def mapping(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b s"]:
        """Return w of codes z ~ N(0, 1)."""
        return self.style(z)

    def mean_latent(self, n: int, random: torch.Generator) -> Float[Tensor, " s"]:
        """Return the mean w of n random codes; `random` is a CPU generator."""
        z = torch.randn(n, self.style_dim, generator=random).to(self.input.input)
        with torch.no_grad():
            return torch.cat([self.mapping(part) for part in z.split(CHUNK)]).mean(dim=0)

    def draw_noise(self, n: int, random: torch.Generator) -> dict[str, Tensor]:
        """Return noise maps for n images, on the generator's device."""
        device, dtype = random.device, self.input.input.dtype
        return {
            name: torch.randn(n, 1, *size, generator=random, device=device, dtype=dtype)
            for name, size in self.noise_shapes.items()
        }

    def synthesis(
        self, ws: Float[Tensor, "b l s"], noise: Mapping[str, Float[Tensor, "_b 1 _h _w"]] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Return images; `noise` has the maps of `noise_shapes` per image, or one for all (None: the fixed)."""
        maps = [(noise or dict(self.noises.named_buffers()))[name] for name in self.noise_shapes]
        x = self.input.input.expand(len(ws), -1, -1, -1)
        x = self.conv1(x, ws[:, 0], maps[0])
        image = self.to_rgb1(x, ws[:, 1])
        for level, to_image in enumerate(self.to_rgbs):
            at = 2 * level + 1
            x = self.convs[2 * level](x, ws[:, at], maps[at])
            x = self.convs[2 * level + 1](x, ws[:, at + 1], maps[at + 1])
            image = to_image(x, ws[:, at + 2], image)
        return image
