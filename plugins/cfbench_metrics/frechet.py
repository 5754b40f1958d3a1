"""The Frechet distance between two sets of features, in float64 and without a matrix square root of SciPy."""

import torch
from jaxtyping import Float
from torch import Tensor


def frechet_distances(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], w: Float[Tensor, "r n"], v: Float[Tensor, "r m"]
) -> Float[Tensor, " r"]:
    """Return `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` of features x and y under each row of weights w and v.

    The squared Wasserstein distance of two Gaussians (Dowson and Landau 1982; FID: Heusel et al. 2017), with unbiased
    covariances under reliability weights: `sum w - sum w^2 / sum w` degrees of freedom, N - 1 where all are equal. From
    0, lower is better; NaN in a row that leaves a set fewer than two cases. Features in float64: float32 eigenvalues
    are wrong by up to 1 %.

    Trap: biased upwards by some tr(S) / N times the number of directions that matter: at d = 2048 and equal
    distributions 105 % of tr(S) for N = 50, 52 % for N = 400, 31 % for N = 1000. Compare at equal N only.
    """
    x, y = x.double(), y.double()
    return torch.stack([_distance(x, y, a, b) for a, b in zip(w.double(), v.double(), strict=True)])


def _distance(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], w: Float[Tensor, " n"], v: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    if min((w > 0).sum(), (v > 0).sum()) < 2:
        return torch.tensor(torch.nan, dtype=torch.float64)
    (m1, a), (m2, b) = _moments(x, w), _moments(y, v)
    short = len(a) * len(b) <= x.shape[1] ** 2
    fidelity = nuclear_norm(a, b) if short else root_trace(a.T @ a, b.T @ b)
    distance = (m1 - m2).square().sum() + a.square().sum() + b.square().sum() - 2 * fidelity
    return distance.clamp(min=0)


def _moments(x: Float[Tensor, "n d"], w: Float[Tensor, " n"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "k d"]]:
    """Return the mean, and the factor A of the unbiased covariance `S = A^T A` (one row per case that is there)."""
    x, w = x[w > 0], w[w > 0]
    mean = w @ x / w.sum()
    freedom = w.sum() - w.square().sum() / w.sum()
    return mean, (x - mean) * (w / freedom).sqrt()[:, None]


def nuclear_norm(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Return `tr (S1 S2)^(1/2)` for `S1 = A^T A`, `S2 = B^T B` as the sum of the singular values of `A B^T`.

    Exact, and cheap for few cases: no d x d matrix is formed.
    """
    values: Tensor = torch.linalg.svdvals(a @ b.T)
    return values.sum()


def root_trace(s1: Float[Tensor, "d d"], s2: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """Return `tr (S1 S2)^(1/2)` as the sum of the roots of the eigenvalues of `S1^(1/2) S2 S1^(1/2)`.

    That product is symmetric, so no eigenvalue is complex; tiny negative ones are rounding and count as 0.
    """
    values, vectors = torch.linalg.eigh(s1)
    half = vectors * values.clamp(min=0).sqrt() @ vectors.T
    inner = half @ s2 @ half
    spectrum: Tensor = torch.linalg.eigvalsh((inner + inner.T) / 2)
    return spectrum.clamp(min=0).sqrt().sum()
