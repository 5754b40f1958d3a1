"""From edits to a map: the signed difference of the abnormal and the normal image, over draws, and what is shown."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.types import Images, Maps, Masks


def difference(edited: Images, x: Images, asks_abnormal: Bool[Tensor, " b"]) -> Maps:
    """Return M = I_abnormal - I_normal, in [-1, 1], averaged over channels (Siddiqui et al. 2025).

    I_abnormal is the edit where the abnormal class is asked for, and x where it is not: either way a pixel that is
    brighter with the disease is positive. (Equation 5.1 of the thesis misprints the same image twice; some of the
    papers' figures show the reverse.)
    """
    change = (edited - x).mean(dim=1, keepdim=True)
    sign = torch.where(asks_abnormal, 1.0, -1.0).to(change)
    return change * sign.reshape(-1, *[1] * (change.ndim - 1))


def over_draws(maps: Float[Tensor, "s b 1 *space"], draws: Literal["mean", "spread"]) -> Maps:
    """Return the mean of several draws' maps, or their standard deviation (unbiased variance, s >= 2)."""
    return maps.mean(dim=0) if draws == "mean" else maps.std(dim=0)


def part_of(signed: Maps, part: Literal["absolute", "signed", "positive", "negative"]) -> Maps:
    """Return the part of a signed map; `negative` as a positive number, so absolute = positive + negative."""
    if part == "signed":
        return signed
    if part == "absolute":
        return signed.abs()
    return (signed if part == "positive" else -signed).clamp(min=0)


def shown(signed: Maps, organ: Masks | None, threshold: float) -> Maps:
    """Return the map with 0 outside the organ, and where it is not above the threshold either way."""
    kept = signed.abs() > threshold
    if organ is not None:
        kept = kept & organ.to(kept.device)
    return signed.where(kept, 0.0)
