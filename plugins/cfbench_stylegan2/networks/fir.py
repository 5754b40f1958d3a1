"""FIR filters between resolutions: zeros in between, a filter, every n-th sample."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor

#: The filter of StyleGAN2, in one direction; it is as smooth as linear interpolation.
BINOMIAL = (1.0, 3.0, 3.0, 1.0)


def kernel(taps: Sequence[float] = BINOMIAL, gain: float = 1.0) -> Float[Tensor, "k k"]:
    """Return the outer product of the taps with themselves, summing to `gain`."""
    line = torch.tensor(taps)
    square = torch.outer(line, line)
    return square * (gain / square.sum())


def upfirdn(
    x: Float[Tensor, "b c h w"],
    fir: Float[Tensor, "k k"],
    up: int = 1,
    down: int = 1,
    pad: tuple[int, int] = (0, 0),
) -> Float[Tensor, "b c i j"]:
    """Put `up` - 1 zeros after every pixel, pad with zeros, convolve with `fir`, and keep every `down`-th pixel.

    `pad` is (before, after) in both directions; negative values crop. The side becomes
    (h up + before + after - k) // down + 1.
    """
    c, k = x.shape[1], fir.shape[0]
    fir = fir.to(x.dtype)
    if up == 1:
        if min(pad) >= 0 and pad[0] == pad[1]:
            return F.conv2d(x, _each(fir.flip(0, 1), c), stride=down, padding=pad[0], groups=c)
        return F.conv2d(F.pad(x, (*pad, *pad)), _each(fir.flip(0, 1), c), stride=down, groups=c)
    # A transposed convolution never touches the zeros; what it computes begins k - 1 pixels earlier.
    full = F.conv_transpose2d(x, _each(fir, c), stride=up, groups=c)
    before, after = pad[0] - (k - 1), pad[1] + up - k
    return F.pad(full, (before, after, before, after))[:, :, ::down, ::down]


def _each(fir: Float[Tensor, "k k"], channels: int) -> Float[Tensor, "c 1 k k"]:
    """Return the same filter for every channel."""
    return fir.expand(channels, 1, *fir.shape)
