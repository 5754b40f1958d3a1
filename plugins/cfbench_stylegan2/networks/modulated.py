"""Modulated convolution: every image of a batch has weights of its own, which its style scales (Karras et al. 2020).

w'_oik = s_i w_oik, and demodulated w''_oik = w'_oik / sqrt(sum_ik w'_oik^2 + 1e-8): if the inputs have variance 1 and
are independent, so have the outputs. With a filter the side is doubled, by a transposed convolution with stride 2 whose
jagged result is smoothed. There are two ways to compute the same:

- `scaled`: scale the inputs by s, convolve all images with w, scale the outputs by the demodulation. No weights per
  image have to be made, and batches stay batches: a step of training takes 0.7 to 0.8 of the time on a CPU
  (`benchmarks/stylegan2.py`), so this is what the networks use;
- `grouped`: the weights of all images, and one grouped convolution over a batch laid out as channels.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor

from cfbench_stylegan2.networks.equalised import pointwise
from cfbench_stylegan2.networks.fir import upfirdn

EPSILON = 1e-8


def demodulation(weight: Float[Tensor, "o i k k"], style: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
    """Return 1 / sqrt(sum_ik (s_i w_oik)^2 + 1e-8) for every image and output channel."""
    return torch.rsqrt(style.square() @ weight.square().sum(dim=(2, 3)).T + EPSILON)


def scaled(
    x: Float[Tensor, "b i h w"],
    weight: Float[Tensor, "o i k k"],
    style: Float[Tensor, "b i"],
    demodulate: bool,
    fir: Float[Tensor, "f f"] | None = None,
    gain: float = 1.0,
    bias: Float[Tensor, " o"] | None = None,
) -> Float[Tensor, "b o p q"]:
    """Return gain times the modulated convolution, plus a bias, by scaling inputs and outputs."""
    x = x * style[:, :, None, None]
    if weight.shape[2] == 1:
        y = pointwise(x, weight)
    elif fir is None:
        y = F.conv2d(x, weight, padding=weight.shape[2] // 2)
    else:
        y = _smooth(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), fir)
    factor = demodulation(weight, style) * gain if demodulate else torch.full_like(y[:, :, 0, 0], gain)
    if bias is None:
        return y * factor[:, :, None, None]
    # One pass over the maps instead of two.
    return torch.addcmul(bias[:, None, None], y, factor[:, :, None, None])


def grouped(
    x: Float[Tensor, "b i h w"],
    weight: Float[Tensor, "o i k k"],
    style: Float[Tensor, "b i"],
    demodulate: bool,
    fir: Float[Tensor, "f f"] | None = None,
) -> Float[Tensor, "b o p q"]:
    """Return the modulated convolution with the weights of each image, as one grouped convolution."""
    b, (o, i, k, _) = len(x), weight.shape
    own = weight * style[:, None, :, None, None]
    if demodulate:
        own = own * demodulation(weight, style)[:, :, None, None, None]
    rows = x.reshape(1, b * i, *x.shape[2:])
    if fir is None:
        y = F.conv2d(rows, own.reshape(b * o, i, k, k), padding=k // 2, groups=b)
        return y.reshape(b, o, *y.shape[2:])
    y = F.conv_transpose2d(rows, own.transpose(1, 2).reshape(b * i, o, k, k), stride=2, groups=b)
    return _smooth(y.reshape(b, o, *y.shape[2:]), fir)


def _smooth(x: Float[Tensor, "b c h w"], fir: Float[Tensor, "f f"]) -> Float[Tensor, "b c p q"]:
    """Return 2 n pixels of the 2 n + 1 that a transposed convolution gives, filtered."""
    return upfirdn(x, fir, pad=(1, 1))
