"""Sizes that a U-Net cannot halve often enough: pad with the border's values, and crop back."""

import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor


def padded_side(side: int, multiple: int) -> int:
    """Return the smallest multiple that is not below the side."""
    return -(-side // multiple) * multiple


def pad(x: Float[Tensor, "b c *space"], side: int) -> Float[Tensor, "b c *padded"]:
    """Return images widened to `side` in every direction, as evenly on both sides as possible."""
    margins = [(side - size) // 2 for size in x.shape[2:]]
    widths = [w for m, size in zip(margins, x.shape[2:], strict=True) for w in (side - size - m, m)]
    return F.pad(x, widths[::-1], mode="replicate") if any(widths) else x


def crop(x: Float[Tensor, "b c *padded"], space: tuple[int, ...]) -> Float[Tensor, "b c *space"]:
    """Undo `pad`."""
    for axis, size in enumerate(space, start=2):
        x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x
