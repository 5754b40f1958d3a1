"""Learning rates as functions of the step, so that a resumed training needs no scheduler state."""

import math
from typing import Literal

Shape = Literal["constant", "one-cycle"]
#: One cycle: three tenths of the steps rise from a 25th of the peak, the rest fall to a 10,000th of that start
#: (Smith & Topin 2018, with the shares that torch's OneCycleLR has by default).
RISE, START, END = 0.3, 1 / 25, 1 / 25 / 1e4


def learning_rate(shape: Shape, peak: float, step: int, steps: int) -> float:
    """Return the learning rate of step 0, 1, ..., steps - 1."""
    if shape == "constant":
        return peak
    top = max(1.0, RISE * steps - 1)
    if step <= top:
        return peak * _between(START, 1.0, step / top)
    return peak * _between(1.0, END, (step - top) / (steps - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    """Return a half cosine wave from start (share 0) to end (share 1)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
