"""Texture from the grey-level run-length matrix: how long the stretches of one level are."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cfbench_metrics.directions import directions, from_next

NAMES = (
    "short runs", "long runs", "low grey-level runs", "high grey-level runs", "grey-level non-uniformity, normalised",
    "run-length non-uniformity, normalised", "run percentage", "grey-level variance", "run-length variance",
    "run entropy",
)  # fmt: skip


def run_lengths(levels: Int64[Tensor, "b *space"], count: int) -> Float[Tensor, "b g l"]:
    """Return the number of runs of each level and length, over all directions (IBSI: merged, IAZD).

    Galloway, 1975; a run is a stretch of one level along a direction that cannot be made longer. Levels 1 to `count`,
    0 for pixels that take no part.
    """
    longest = max(levels.shape[1:])
    total = torch.zeros(len(levels) * count * longest, dtype=torch.int64)
    image = torch.arange(len(levels)).reshape(len(levels), *[1] * (levels.ndim - 1)) * count
    for step in directions(levels.ndim - 1):
        length, starts = _runs(levels, step)
        index = ((image + levels - 1) * longest + length - 1)[starts]
        total += torch.bincount(index, minlength=len(total))
    return total.reshape(len(levels), count, longest).double()


def _runs(levels: Int64[Tensor, "b *space"], step: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return, at each pixel, how long its run goes on from here (itself included), and whether the run starts here."""
    goes_on = (from_next(levels, step) == levels) & (levels > 0)
    length, still = torch.ones_like(levels), goes_on
    while still.any():
        length += still
        still = goes_on & from_next(still, step)
    back = tuple(-s for s in step)
    return length, (levels > 0) & ~from_next(goes_on, back)


def run_length_features(
    runs: Float[Tensor, "b g l"], pixels: Int64[Tensor, " b"], directions: int
) -> Float[Tensor, "b f"]:
    """Return the features `NAMES` of each matrix, by the definitions of the IBSI; `pixels` take part in each image."""
    number = runs.sum((1, 2))
    p = runs / number[:, None, None]
    of_level, of_length = p.sum(2), p.sum(1)
    level = torch.arange(1, p.shape[1] + 1, dtype=torch.float64)
    length = torch.arange(1, p.shape[2] + 1, dtype=torch.float64)
    entropy = -torch.special.xlogy(p, p).sum((1, 2)) / math.log(2)
    features = [
        of_length @ length**-2, of_length @ length**2, of_level @ level**-2, of_level @ level**2,
        of_level.square().sum(1), of_length.square().sum(1), number / (pixels * directions),
        _variance(of_level, level), _variance(of_length, length), entropy,
    ]  # fmt: skip
    return torch.stack(features, dim=1)


def _variance(p: Float[Tensor, "b k"], value: Float[Tensor, " k"]) -> Float[Tensor, " b"]:
    return p @ value.square() - (p @ value).square()
