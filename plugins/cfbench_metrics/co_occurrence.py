"""Texture from the grey-level co-occurrence matrix: which levels lie beside which."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cfbench_metrics.directions import directions, neighbours

NAMES = (
    "joint maximum", "joint average", "joint variance", "joint entropy", "contrast", "dissimilarity",
    "inverse difference", "inverse difference moment", "angular second moment", "correlation",
)  # fmt: skip


def co_occurrence(levels: Int64[Tensor, "b *space"], count: int) -> Float[Tensor, "b g g"]:
    """Return how often, as a share of all pairs, level i lies beside level j: symmetric, all directions in one matrix.

    Haralick, Shanmugam and Dinstein, 1973, at distance 1; levels 1 to `count`, 0 for pixels that take no part. A
    volume's 13 directions are merged (IBSI: IAZD), an image's 4 likewise.
    """
    total = torch.zeros(len(levels) * count**2, dtype=torch.int64)
    image = torch.arange(len(levels)).reshape(len(levels), *[1] * (levels.ndim - 1)) * count**2
    for step in directions(levels.ndim - 1):
        a, b = neighbours(levels, step)
        index = (image + (a - 1) * count + b - 1)[(a > 0) & (b > 0)]
        total += torch.bincount(index, minlength=len(total))
    pairs = total.reshape(len(levels), count, count)
    both = (pairs + pairs.mT).double()
    return both / both.sum((1, 2), keepdim=True).clamp(min=1)


def co_occurrence_features(p: Float[Tensor, "b g g"]) -> Float[Tensor, "b f"]:
    """Return the features `NAMES` of each matrix, by the definitions of the IBSI; entropy in bits.

    Correlation is 1 where there is one level only.
    """
    level = torch.arange(1, p.shape[1] + 1, dtype=torch.float64)
    apart = (level[:, None] - level).abs()
    marginal = p.sum(2)
    average = marginal @ level
    variance = (marginal * (level - average[:, None]).square()).sum(1)
    covariance = torch.einsum("bij,i,j->b", p, level, level) - average.square()
    one = variance <= 1e-12
    entropy = -torch.special.xlogy(p, p).sum((1, 2)) / math.log(2)
    weights = (apart.square(), apart, 1 / (1 + apart), 1 / (1 + apart.square()), p)
    weighted = [(p * weight).sum((1, 2)) for weight in weights]
    correlation = torch.where(one, 1.0, covariance / variance.where(~one, 1.0))
    return torch.stack([p.amax((1, 2)), average, variance, entropy, *weighted, correlation], dim=1)
