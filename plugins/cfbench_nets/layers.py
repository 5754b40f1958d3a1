"""Convolution, normalisation and resampling for images (2D) and volumes (3D), chosen by the number of dimensions."""

import math
from typing import TypeVar

import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

_CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


def conv(dims: int, c_in: int, c_out: int, kernel: int = 3) -> nn.Conv2d | nn.Conv3d:
    """Return a convolution that keeps the size."""
    return _CONVOLUTIONS[dims](c_in, c_out, kernel, padding=kernel // 2)


def zeroed(module: M) -> M:
    """Return the module with all its weights set to zero, so that its branch starts as nothing."""
    for weight in module.parameters():
        nn.init.zeros_(weight)
    return module


def norm(channels: int, groups: int) -> nn.GroupNorm:
    """Return a group norm with `groups` groups, or the largest divisor of both where `channels` is not a multiple."""
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def half(x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *half"]:
    """Average 2 x 2 (x 2) neighbours."""
    return F.avg_pool2d(x, 2) if x.ndim == 4 else F.avg_pool3d(x, 2)


def twice(x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *twice"]:
    """Repeat each pixel 2 x 2 (x 2) times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")
