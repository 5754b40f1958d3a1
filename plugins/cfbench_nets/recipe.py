"""How a module is trained, as plain data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.errors import SuiteError
from cfbench_nets.rates import Shape

#: The loss of a step, given its number and a generator of its own.
StepLoss = Callable[[int, torch.Generator], Float[Tensor, ""]]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a module is trained: AdamW (Adam if `weight_decay` is 0) with the gradient's norm clipped."""

    steps: int
    lr: float
    rate: Shape = "one-cycle"
    weight_decay: float = 0.0
    clip: float = 1.0
    #: Decay of the averaged weights (with warm-up), or None to keep the last ones.
    ema: float | None = None
    #: Of the forward pass; weights, optimiser and averages stay float32. float16 scales the loss against underflow.
    precision: Precision = "float32"


def check_precision(precision: Precision, device: str) -> None:
    """Raise SuiteError if a device is not for trainings in this precision."""
    if precision == "float16" and torch.device(device).type == "cpu":
        raise SuiteError(
            "precision float16 is for GPUs, and this runs on a CPU, where it is slower than float32: "
            "set precision to float32 (or bfloat16), or run on a GPU"
        )
