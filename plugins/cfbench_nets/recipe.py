"""How a module is trained, as plain data."""

from dataclasses import dataclass
from typing import Literal

from cfbench_nets.rates import Shape


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
    precision: Literal["float32", "bfloat16"] = "float32"
