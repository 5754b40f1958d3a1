"""What SSIM and its kin share: the Gaussian window, float64, and few lines at a time."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.types import Images, Values

#: Pixels (times channels) that are worked on at a time: 16 MiB in float64, a dozen times over in temporaries.
_ELEMENTS = 1 << 21


def gaussian_window(x: Images, size: int, sigma: float = 1.5) -> Float[Tensor, "c ..."]:
    """Return the separable window in pytorch-msssim's shape: [c, 1, 1, size], with one more axis in 3D.

    In float64: the library's own sums to 1 up to 1e-7 only, which makes the variance of a flat region so wrong that
    SSIM is off by 1e-4 there.
    """
    steps = torch.arange(size, dtype=torch.float64, device=x.device) - size // 2
    window = torch.exp(-(steps**2) / (2 * sigma**2))
    return (window / window.sum()).repeat(x.shape[1], *[1] * (x.ndim - 1))


def line_by_line(formula: Callable[[Tensor, Tensor], Tensor], x: Images, y: Images) -> Values:
    """Apply a formula to float64 copies of a few lines at a time, so that volumes fit into memory."""
    lines = max(1, _ELEMENTS // x[:1].numel()) if len(x) else 1
    pairs = zip(torch.split(x, lines), torch.split(y, lines), strict=True)
    return torch.cat([formula(a.double(), b.double()) for a, b in pairs])
