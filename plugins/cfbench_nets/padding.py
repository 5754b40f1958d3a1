"""Sizes that a U-Net cannot halve often enough: pad with the border's values, and crop back."""

import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor


def padded_side(side: int, multiple: int) -> int:
    """Return the smallest multiple that is not below the side."""
    return -(-side // multiple) * multiple


def padded_space(space: tuple[int, ...], multiple: int) -> tuple[int, ...]:
    """Return the same of every axis by itself: volumes need not be cubes."""
    return tuple(padded_side(side, multiple) for side in space)


def pad(x: Float[Tensor, "b c *space"], to: int | tuple[int, ...]) -> Float[Tensor, "b c *padded"]:
    """Return images widened to a size in pixels, one for all axes or one each, as evenly on both sides as possible."""
    space = x.shape[2:]
    sizes = (to,) * len(space) if isinstance(to, int) else to
    margins = [(size - here) // 2 for size, here in zip(sizes, space, strict=True)]
    widths = [w for m, size, here in zip(margins, sizes, space, strict=True) for w in (size - here - m, m)]
    return F.pad(x, widths[::-1], mode="replicate") if any(widths) else x


def crop(x: Float[Tensor, "b c *padded"], space: tuple[int, ...]) -> Float[Tensor, "b c *space"]:
    """Undo `pad`."""
    for axis, size in enumerate(space, start=2):
        x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x
