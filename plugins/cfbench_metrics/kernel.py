"""The kernel distance between two sets of features."""

import torch
from jaxtyping import Float
from torch import Tensor

#: Rows of the kernel matrix held at a time.
_BLOCK = 512


def kernel_distances(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], w: Float[Tensor, "r n"], v: Float[Tensor, "r m"]
) -> Float[Tensor, " r"]:
    """Return the unbiased squared MMD with `k(a, b) = (a.b / d + 1)^3` under each row of weights w and v.

    `mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)` (KID: Binkowski et al., ICLR
    2018), over all pairs, where the paper averages over subsets: the same expectation and less noise. Unbounded,
    lower is better, 0 for equal distributions, below 0 by chance. Unbiased at any N, hence usable where the Frechet
    distance is not; NaN in a row that leaves a set fewer than two cases.

    Traps: noisy at small N, so read its interval; published values are often multiplied by 100 or 1000.
    """
    x, y, w, v = x.double(), y.double(), w.double(), v.double()
    within = _mean_within(x, w) + _mean_within(y, v)
    across = _sum_of_pairs(x, y, w, v) / (w.sum(1) * v.sum(1))
    return within - 2 * across


def _kernel(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_within(x: Float[Tensor, "n d"], w: Float[Tensor, "r n"]) -> Float[Tensor, " r"]:
    """Return the weighted mean of the kernel over pairs of different cases."""
    itself = (x.square().sum(1) / x.shape[1] + 1) ** 3
    squares = w.square()
    pairs = w.sum(1).square() - squares.sum(1)
    return (_sum_of_pairs(x, x, w, w) - squares @ itself) / pairs.where(pairs > 0, torch.nan)


def _sum_of_pairs(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], w: Float[Tensor, "r n"], v: Float[Tensor, "r m"]
) -> Float[Tensor, " r"]:
    """Return `sum_ij w_i v_j k(x_i, y_j)`, never holding more than a block of the kernel matrix."""
    blocks = zip(torch.split(x, _BLOCK), torch.split(w, _BLOCK, dim=1), strict=True)
    parts = [((part @ _kernel(block, y)) * v).sum(1) for block, part in blocks]
    return torch.stack(parts).sum(0)
