"""Thirty radiomics features of whole images: grey values, co-occurrence, run lengths."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import Context
from cfbench.types import Images
from cfbench_metrics import co_occurrence, first_order, run_lengths
from cfbench_metrics.directions import directions

#: Grey levels that [0, 1] is cut into.
LEVELS = 32
NAMES = (*first_order.NAMES, *co_occurrence.NAMES, *run_lengths.NAMES)
#: Pixels that are looked at together.
_PIXELS = 1 << 20


def discretised(x: Float[Tensor, "b *space"]) -> Int64[Tensor, "b *space"]:
    """Return the level, 1 to 32, of each value in [0, 1]: bins of one size in the dataset's window (IBSI: Q3RU).

    Bins between an image's own minimum and maximum would hide a drift of all its grey values.
    """
    return (x.double() * LEVELS).floor().long().clamp(0, LEVELS - 1) + 1


def radiomics_features(x: Images, context: Context) -> Float[Tensor, "b 30"]:
    """Return the features `NAMES` of each image or volume in [0, 1], over all its pixels; colours are averaged.

    By the definitions of the Image Biomarker Standardisation Initiative (Zwanenburg et al., Radiology 2020), of which
    its digital phantom's published values are a test. Features that grow with the number of pixels are left out.

    Raises:
        UndefinedError: an image has a side of one pixel, so no neighbours.
        NotFiniteError: a pixel is not a number.
    """
    if min(x.shape[2:]) < 2:
        raise UndefinedError(f"texture needs two pixels on each side, got images of {tuple(x.shape[2:])}")
    if not x.isfinite().all():
        raise NotFiniteError("images to take radiomics features of are not finite")
    size = max(1, _PIXELS // max(1, x[:1].numel()))
    parts = []
    for batch in torch.split(x, size):
        parts.append(_features(batch.cpu().double().mean(1)))
        context.progress(sum(map(len, parts)), len(x), "radiomics features")
    return torch.cat(parts)


def _features(x: Float[Tensor, "b *space"]) -> Float[Tensor, "b 30"]:
    levels = discretised(x)
    pixels = torch.full((len(x),), x[:1].numel())
    runs = run_lengths.run_lengths(levels, LEVELS)
    return torch.cat(
        [
            first_order.first_order(x.flatten(1), levels.flatten(1), LEVELS),
            co_occurrence.co_occurrence_features(co_occurrence.co_occurrence(levels, LEVELS)),
            run_lengths.run_length_features(runs, pixels, len(directions(x.ndim - 1))),
        ],
        dim=1,
    )
