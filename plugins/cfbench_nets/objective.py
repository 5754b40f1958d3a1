"""What a diffusion model predicts, epsilon or v, and how the clean image follows from it."""

from typing import Literal

from torch import Tensor

Objective = Literal["epsilon", "v"]


def noised(x: Tensor, epsilon: Tensor, level: Tensor) -> Tensor:
    """Return x_t = sqrt(a) x + sqrt(1 - a) epsilon, where the alpha-bar a in `level` broadcasts against x."""
    return level.sqrt() * x + (1 - level).sqrt() * epsilon


def target(objective: Objective, x: Tensor, epsilon: Tensor, level: Tensor) -> Tensor:
    """Return what the network should predict: epsilon, or v = sqrt(a) epsilon - sqrt(1 - a) x (Salimans & Ho 2022)."""
    return epsilon if objective == "epsilon" else level.sqrt() * epsilon - (1 - level).sqrt() * x


def clean(objective: Objective, x_t: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
    """Return the estimate of x that a prediction at x_t means."""
    if objective == "epsilon":
        return (x_t - (1 - level).sqrt() * predicted) / level.sqrt()
    return level.sqrt() * x_t - (1 - level).sqrt() * predicted


def residual(x_t: Tensor, x: Tensor, level: Tensor) -> Tensor:
    """Return the epsilon that makes x_t of x."""
    return (x_t - level.sqrt() * x) / (1 - level).sqrt()
