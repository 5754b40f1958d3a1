"""The residual discriminator of StyleGAN2 (Karras et al. 2020), with minibatch standard deviation."""

import itertools
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor, nn

from cfbench_stylegan2.networks.equalised import GAIN, SLOPE, BiasedLeakyReLU, EqualConv2d, EqualLinear
from cfbench_stylegan2.networks.fir import kernel, upfirdn
from cfbench_stylegan2.networks.sides import Pyramid

#: Images that the minibatch's standard deviation is taken over.
GROUP = 4


def minibatch_deviation(x: Float[Tensor, "b c h w"], group: int = GROUP) -> Float[Tensor, "b 1 h w"]:
    """Return how much the images of a group differ: the mean, over channels and pixels, of the standard deviation.

    Image i is in group i mod (b / group); of a batch that cannot be divided, groups have gcd(b, group) images.
    Population variance, plus 1e-8 (Karras et al. 2018).
    """
    size = math.gcd(len(x), group)
    parts = x.reshape(size, -1, *x.shape[1:])
    # Several times as fast as torch's own variance over the first of five dimensions.
    variance = (parts - parts.mean(dim=0)).square().mean(dim=0)
    deviation = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return deviation.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])


class Down(nn.Module):
    """The filter before a convolution that halves the side, or, for a 1 x 1 convolution, filter and halving at once."""

    kernel: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel(), persistent=False)
        # The filter has 4 taps and the convolution `size`; together they lose size + 2 pixels before halving.
        self.pad, self.down = ((size + 2) // 2, (size + 1) // 2), 2 if size == 1 else 1

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c p q"]:
        """Return the filtered maps, wide enough for the convolution."""
        return upfirdn(x, self.kernel, down=self.down, pad=self.pad)


class ConvLayer(nn.Sequential):
    """Filter (down), convolution, bias and leaky ReLU; without activation there is no bias either."""

    def __init__(self, c_in: int, c_out: int, size: int, *, down: bool = False, activate: bool = True) -> None:
        stride, padding = (2 if size > 1 else 1, 0) if down else (1, size // 2)
        parts: list[nn.Module] = [Down(size)] if down else []
        parts.append(EqualConv2d(c_in, c_out, size, stride=stride, padding=padding))
        super().__init__(*parts, *([BiasedLeakyReLU(c_out)] if activate else []))

    @property
    def bias(self) -> Tensor | None:
        """The bias of each channel, if there is one."""
        last = self[-1]
        return last.bias if isinstance(last, BiasedLeakyReLU) else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e p q"]:
        """Return the layer's output."""
        bias = self.bias
        if bias is None:
            return super().forward(x)
        for part in list(self)[:-2]:
            x = part(x)
        # The gain is positive, so it may as well be applied before the activation: one pass less over the maps.
        return F.leaky_relu_(self[-2](x, GAIN, bias * GAIN), SLOPE)


class ResBlock(nn.Module):
    """(conv(conv(x)) + skip(x)) / sqrt(2), at half the side."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = ConvLayer(c_in, c_in, 3), ConvLayer(c_in, c_out, 3, down=True)
        self.skip = ConvLayer(c_in, c_out, 1, down=True, activate=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e p q"]:
        """Return the block's output."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """Image to logit: large where the image looks real. Weights have the names of the public PyTorch layout."""

    def __init__(self, pyramid: Pyramid, channels: int) -> None:
        super().__init__()
        widths = pyramid.widths[::-1]
        blocks = [ResBlock(c_in, c_out) for c_in, c_out in itertools.pairwise(widths)]
        self.convs = nn.Sequential(ConvLayer(channels, widths[0], 1), *blocks)
        last = widths[-1]
        self.final_conv = ConvLayer(last + 1, last, 3)
        self.final_linear = nn.Sequential(
            EqualLinear(last * pyramid.constant**2, last, activate=True), EqualLinear(last, 1)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Return the logits of images in about [-1, 1]."""
        h = self.convs(x)
        h = self.final_conv(torch.cat([h, minibatch_deviation(h)], dim=1))
        return self.final_linear(h.flatten(1))[:, 0]
