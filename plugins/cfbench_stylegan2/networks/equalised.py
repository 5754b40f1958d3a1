"""Layers with an equalised learning rate (Karras et al. 2018): weights are N(0, 1) and scaled when they are used.

Adam moves every weight by about the learning rate, whatever its scale; scaled at run time by 1 / sqrt(fan-in), all
layers learn equally fast. `lr_mult` slows a layer down: its weights start 1 / lr_mult larger and are scaled by lr_mult.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor, nn

#: Slope of the leaky ReLU, and the gain after it that keeps the variance about as it was.
SLOPE, GAIN = 0.2, math.sqrt(2)


def leaky(x: Tensor) -> Tensor:
    """Return sqrt(2) LeakyReLU(x)."""
    return F.leaky_relu(x, SLOPE) * GAIN


class BiasedLeakyReLU(nn.Module):
    """The bias of each channel in sqrt(2) LeakyReLU(x + bias), which the layer that owns it applies."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class EqualLinear(nn.Module):
    """x W^T lr_mult / sqrt(fan-in) + b lr_mult, and a leaky ReLU if asked for."""

    def __init__(
        self, c_in: int, c_out: int, *, bias: float = 0.0, lr_mult: float = 1.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) / lr_mult)
        self.bias = nn.Parameter(torch.full((c_out,), bias))
        self.scale, self.lr_mult, self.activate = lr_mult / math.sqrt(c_in), lr_mult, activate

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        """Return the layer's output."""
        y = F.linear(x, self.weight * self.scale, self.bias * self.lr_mult)
        return leaky(y) if self.activate else y


class EqualConv2d(nn.Module):
    """A convolution with weights W / sqrt(fan-in), without bias."""

    def __init__(self, c_in: int, c_out: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, size, size))
        self.scale, self.stride, self.padding = 1 / math.sqrt(c_in * size**2), stride, padding

    def forward(
        self, x: Float[Tensor, "b i h w"], gain: float = 1.0, bias: Float[Tensor, " o"] | None = None
    ) -> Float[Tensor, "b o p q"]:
        """Return gain times the convolution, plus a bias."""
        weight = self.weight * (self.scale * gain)
        if weight.shape[2] == 1:
            return pointwise(x, weight, bias)
        return F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)


def pointwise(
    x: Float[Tensor, "b i h w"], weight: Float[Tensor, "o i 1 1"], bias: Float[Tensor, " o"] | None = None
) -> Float[Tensor, "b o h w"]:
    """Return a 1 x 1 convolution as a matrix product: with one channel on either side, six times as fast on a CPU."""
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
