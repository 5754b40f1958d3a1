"""StyleGAN2 and e4e a second time, written plainly from the papers: what converted weights are tested against.

It shares no code with the plugin. Its modules are named so that their state has the tensor names and shapes of the
public PyTorch checkpoints. Modulated convolutions make the weights of each image and convolve image by image; filters
are applied by putting zeros between pixels and summing over the taps.
"""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

TAPS = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def filtered(x, taps, up, down, before, after):
    """Zeros in between, padding, a convolution (the taps turned round), every down-th pixel."""
    b, c, h, w = x.shape
    wide = x.new_zeros(b, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    wide = functional.pad(wide, (before, after, before, after))
    k = len(taps)
    size = wide.shape[2] - k + 1
    out = sum(
        taps[k - 1 - i, k - 1 - j].to(x) * wide[:, :, i : i + size, j : j + size] for i in range(k) for j in range(k)
    )
    return out[:, :, ::down, ::down]


class Filter(nn.Module):
    def __init__(self, gain):
        super().__init__()
        self.register_buffer("kernel", TAPS * gain)


class Linear(nn.Module):
    def __init__(self, i, o, rate=1.0, act=False, bias=0.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(o, i) / rate), nn.Parameter(torch.full((o,), bias))
        self.rate, self.act = rate, act

    def forward(self, x):
        weight = self.weight * (self.rate / math.sqrt(self.weight.shape[1]))
        y = torch.einsum("bi,oi->bo", x, weight) + self.bias * self.rate
        return activation(y) if self.act else y


def activation(y):
    return math.sqrt(2) * torch.where(y > 0, y, 0.2 * y)


class Bias(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(c))

    def forward(self, x):
        return activation(x + self.bias[:, None, None])


class Modulated(nn.Module):
    def __init__(self, i, o, k, style, demodulate=True, up=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, o, i, k, k))
        self.modulation = Linear(style, i, bias=1.0)
        self.demodulate, self.up = demodulate, up
        if up:
            self.blur = Filter(4)

    def forward(self, x, w):
        s = self.modulation(w)
        outs = []
        for image, scale in zip(x, s, strict=True):
            weight = self.weight[0] / math.sqrt(self.weight[0, 0].numel()) * scale[None, :, None, None]
            if self.demodulate:
                weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            if self.up:
                y = functional.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
                outs.append(filtered(y, self.blur.kernel, 1, 1, 1, 1))
            else:
                outs.append(functional.conv2d(image[None], weight, padding=weight.shape[-1] // 2))
        return torch.cat(outs)


class Strength(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Styled(nn.Module):
    def __init__(self, i, o, style, up=False):
        super().__init__()
        self.conv, self.noise, self.activate = Modulated(i, o, 3, style, up=up), Strength(), Bias(o)

    def forward(self, x, w, noise):
        return self.activate(self.conv(x, w) + self.noise.weight * noise)


class ToRGB(nn.Module):
    def __init__(self, i, channels, style, up=True):
        super().__init__()
        if up:
            self.upsample = Filter(4)
        self.conv = Modulated(i, channels, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x, w, image=None):
        y = self.conv(x, w) + self.bias
        return y if image is None else y + filtered(image, self.upsample.kernel, 2, 1, 2, 1)


class Input(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, c, 4, 4))


class PixelNorm(nn.Module):
    def forward(self, z):
        return z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()


class Generator(nn.Module):
    def __init__(self, side, style, mapping, widths, channels=3):
        super().__init__()
        levels = int(math.log2(side)) - 1
        w = [widths(4 * 2**level) for level in range(levels)]
        self.style = nn.Sequential(PixelNorm(), *(Linear(style, style, 0.01, act=True) for _ in range(mapping)))
        self.input, self.conv1 = Input(w[0]), Styled(w[0], w[0], style)
        self.to_rgb1 = ToRGB(w[0], channels, style, up=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for i, o in pairwise(w):
            self.convs += [Styled(i, o, style, up=True), Styled(o, o, style)]
            self.to_rgbs.append(ToRGB(o, channels, style))
        for number in range(2 * levels - 1):
            size = 2 ** ((number + 5) // 2)
            self.noises.register_buffer(f"noise_{number}", torch.randn(1, 1, size, size))

    def forward(self, ws):
        noise = [getattr(self.noises, f"noise_{number}") for number in range(len(self.convs) + 1)]
        x = self.conv1(self.input.input.repeat(len(ws), 1, 1, 1), ws[:, 0], noise[0])
        image = self.to_rgb1(x, ws[:, 1])
        for number, conv in enumerate(self.convs):
            x = conv(x, ws[:, number + 1], noise[number + 1])
            if number % 2:
                image = self.to_rgbs[number // 2](x, ws[:, number + 2], image)
        return image


class Conv(nn.Module):
    def __init__(self, i, o, k, stride=1):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i, k, k))
        self.stride, self.padding = stride, 0 if stride == 2 else k // 2

    def forward(self, x):
        weight = self.weight / math.sqrt(self.weight[0].numel())
        return functional.conv2d(x, weight, stride=self.stride, padding=self.padding)


class Halving(Filter):
    def __init__(self, k):
        super().__init__(1)
        self.pad = ((k + 2) // 2, (k + 1) // 2)

    def forward(self, x):
        return filtered(x, self.kernel, 1, 1, *self.pad)


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv1 = nn.Sequential(Conv(i, i, 3), Bias(i))
        self.conv2 = nn.Sequential(Halving(3), Conv(i, o, 3, 2), Bias(o))
        self.skip = nn.Sequential(Halving(1), Conv(i, o, 1, 2))

    def forward(self, x):
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    def __init__(self, side, widths, channels=3):
        super().__init__()
        w = [widths(side // 2**level) for level in range(int(math.log2(side)) - 1)]
        blocks = [Block(i, o) for i, o in pairwise(w)]
        self.convs = nn.Sequential(nn.Sequential(Conv(channels, w[0], 1), Bias(w[0])), *blocks)
        self.final_conv = nn.Sequential(Conv(w[-1] + 1, w[-1], 3), Bias(w[-1]))
        self.final_linear = nn.Sequential(Linear(w[-1] * 16, w[-1], act=True), Linear(w[-1], 1))

    def forward(self, x):
        h = self.convs(x)
        group = min(len(h), 4)
        spread = []
        for first in range(len(h) // group):
            members = h[first :: len(h) // group]
            spread.append(((members - members.mean(0)).square().mean(0) + 1e-8).sqrt().mean())
        extra = torch.stack([spread[i % len(spread)] for i in range(len(h))])[:, None, None, None]
        h = self.final_conv(torch.cat([h, extra.expand(-1, 1, *h.shape[2:])], 1))
        return self.final_linear(h.reshape(len(h), -1))[:, 0]


class Squeeze(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1, self.fc2 = (nn.Conv2d(i, o, 1, bias=False) for i, o in ((c, c // 16), (c // 16, c)))

    def forward(self, x):
        return x * self.fc2(self.fc1(functional.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()


class Residual(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.stride = stride
        if i != o:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
        convs = nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.Conv2d(o, o, 3, stride, 1, bias=False)
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(i), convs[0], nn.PReLU(o), convs[1], nn.BatchNorm2d(o), Squeeze(o)
        )

    def forward(self, x):
        short = self.shortcut_layer(x) if hasattr(self, "shortcut_layer") else x[:, :, :: self.stride, :: self.stride]
        return short + self.res_layer(x)


class ToStyle(nn.Module):
    def __init__(self, i, o, side):
        super().__init__()
        layers = []
        while side > 1:
            layers += [nn.Conv2d(i, o, 3, 2, 1), nn.LeakyReLU(0.01)]
            i, side = o, side // 2
        self.convs, self.linear = nn.Sequential(*layers), Linear(o, o)

    def forward(self, x):
        return self.linear(self.convs(x)[:, :, 0, 0])


class Encoder(nn.Module):
    """e4e on images of 256 pixels, with all deltas."""

    def __init__(self, layers, style, blocks, widths, channels=3):
        super().__init__()
        first = widths[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(channels, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        self.body, self.ends = nn.Sequential(), []
        for n, i, o in zip(blocks, [first, *widths], widths, strict=False):
            for number in range(n):
                self.body.append(Residual(o if number else i, o, 1 if number else 2))
            self.ends.append(len(self.body) - 1)
        top = widths[-1]
        self.latlayer1, self.latlayer2 = nn.Conv2d(widths[-2], top, 1), nn.Conv2d(widths[-3], top, 1)
        sides = [16] * 3 + [32] * 4 + [64] * layers
        self.styles = nn.ModuleList(ToStyle(top, style, sides[number]) for number in range(layers))

    def forward(self, x):
        kept, x = [], self.input_layer(x)
        for number, block in enumerate(self.body):
            x = block(x)
            kept += [x] if number in self.ends[-3:] else []
        fine, middle, coarse = kept
        middle = enlarged(coarse, middle) + self.latlayer1(middle)
        fine = enlarged(middle, fine) + self.latlayer2(fine)
        base = self.styles[0](coarse)
        codes = [base]
        for number, style in enumerate(self.styles[1:], start=1):
            codes.append(base + style(coarse if number < 3 else middle if number < 7 else fine))
        return torch.stack(codes, 1)


def enlarged(x, like):
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
