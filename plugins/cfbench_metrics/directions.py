"""Directions between neighbouring pixels, and neighbours along them: what texture matrices are counted over."""

from itertools import product

import torch
from jaxtyping import Shaped
from torch import Tensor

Step = tuple[int, ...]


def directions(dims: int) -> list[Step]:
    """Return one of each pair of opposite steps to a neighbour (Chebyshev distance 1): 4 in 2D, 13 in 3D."""
    return [step for step in product((-1, 0, 1), repeat=dims) if step > (0,) * dims]


def neighbours(x: Shaped[Tensor, "b *space"], step: Step) -> tuple[Tensor, Tensor]:
    """Return the pixels that have a neighbour one step on, and these neighbours: two views of one shape."""
    here = tuple(slice(max(0, -s), size - max(0, s)) for s, size in zip(step, x.shape[1:], strict=True))
    there = tuple(slice(max(0, s), size - max(0, -s)) for s, size in zip(step, x.shape[1:], strict=True))
    return x[:, *here], x[:, *there]


def from_next(x: Shaped[Tensor, "b *space"], step: Step) -> Shaped[Tensor, "b *space"]:
    """Return, at each pixel, what x has one step on; zero (false) where the image ends."""
    shifted = torch.zeros_like(x)
    neighbours(shifted, step)[0].copy_(neighbours(x, step)[1])
    return shifted
