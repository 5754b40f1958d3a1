"""A logistic probe on features: what a linear classifier learns from some lines, and says of others."""

import torch
from jaxtyping import Float
from torch import Tensor

#: Principal components that the probe looks at.
COMPONENTS = 32
#: Newton steps at most, and the step length at which they end.
_STEPS, _TOLERANCE = 50, 1e-10


def principal(x: Float[Tensor, "n d"], about: Float[Tensor, "m d"]) -> Float[Tensor, "n k"]:
    """Return x in the first 32 principal components of `about`, whose features are standardised first.

    Features that do not vary over `about` are left out. As scikit-learn's StandardScaler and PCA.
    """
    mean, spread = about.mean(0), about.std(0, unbiased=False)
    varied = spread > 1e-9 * mean.abs().clamp(min=1)
    scale = spread.where(varied, 1.0)
    standard = ((about - mean) / scale)[:, varied]
    axes = torch.linalg.svd(standard, full_matrices=False).Vh[:COMPONENTS]
    return ((x - mean) / scale)[:, varied] @ axes.T


def logistic(x: Float[Tensor, "n k"], positive: Float[Tensor, " n"], w: Float[Tensor, "r n"]) -> Float[Tensor, "r c"]:
    """Return the coefficients, intercept last, of a logistic regression under each row of line weights.

    Minimises `|b|^2 / 2 + sum_i w_i loss_i`, the intercept free: scikit-learn's LogisticRegression at C = 1. Newton's
    method, halving steps that do not go down.
    """
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    ridge = torch.ones(design.shape[1], dtype=x.dtype)
    ridge[-1] = 1e-12  # keeps the system regular in a row with one class, and changes no digit that counts
    return torch.stack([_newton(design, positive, row, ridge) for row in w.double()])


def _newton(
    x: Float[Tensor, "n c"], y: Float[Tensor, " n"], w: Float[Tensor, " n"], ridge: Float[Tensor, " c"]
) -> Float[Tensor, " c"]:
    def loss(b: Tensor) -> Tensor:
        z = x @ b
        return (ridge * b.square()).sum() / 2 + (w * (torch.nn.functional.softplus(z) - y * z)).sum()

    b = torch.zeros_like(ridge)
    for _ in range(_STEPS):
        p = torch.sigmoid(x @ b)
        gradient = x.T @ (w * (p - y)) + ridge * b
        hessian = x.T @ (x * (w * p * (1 - p))[:, None]) + torch.diag(ridge)
        step, size = torch.linalg.solve(hessian, gradient), 1.0
        while loss(b - size * step) > loss(b) and size > 1e-6:
            size /= 2
        b = b - size * step
        if step.abs().max() < _TOLERANCE:
            break
    return b


def say(coefficients: Float[Tensor, "r c"], x: Float[Tensor, "n k"]) -> Float[Tensor, "r n"]:
    """Return the score of each line by each row's probe; above 0 is positive."""
    return coefficients[:, :-1] @ x.T + coefficients[:, -1:]
