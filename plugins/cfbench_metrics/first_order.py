"""First-order radiomics features: what the grey values of an image are, wherever they lie."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

NAMES = (
    "mean", "variance", "skewness", "kurtosis", "median", "p10", "p90", "mean absolute deviation", "entropy",
    "uniformity",
)  # fmt: skip


def first_order(values: Float[Tensor, "b n"], levels: Int64[Tensor, "b n"], count: int) -> Float[Tensor, "b f"]:
    """Return the features `NAMES` of each image's n values; entropy (bits) and uniformity of its levels 1 to `count`.

    Image Biomarker Standardisation Initiative (Zwanenburg et al., Radiology 2020): moments divide by n, kurtosis is in
    excess of the Gaussian's, a constant image has skewness and kurtosis 0. Percentiles interpolate linearly.
    """
    x = values.double()
    mean = x.mean(1, keepdim=True)
    off = x - mean
    variance = off.square().mean(1)
    flat = variance <= 1e-24
    safe = variance.where(~flat, 1.0)
    skewness = (off**3).mean(1).where(~flat, 0.0) / safe**1.5
    kurtosis = ((off**4).mean(1) / safe.square() - 3).where(~flat, 0.0)
    ordered = x.sort(dim=1).values
    p = _histogram(levels, count)
    entropy = -torch.special.xlogy(p, p).sum(1) / math.log(2)
    quantiles = [_quantile(ordered, q) for q in (0.5, 0.1, 0.9)]
    features = [mean[:, 0], variance, skewness, kurtosis, *quantiles, off.abs().mean(1), entropy, p.square().sum(1)]
    return torch.stack(features, dim=1)


def _quantile(ordered: Float[Tensor, "b n"], q: float) -> Float[Tensor, " b"]:
    place = q * (ordered.shape[1] - 1)
    low = int(place)
    high = min(low + 1, ordered.shape[1] - 1)
    return ordered[:, low] + (place - low) * (ordered[:, high] - ordered[:, low])


def _histogram(levels: Int64[Tensor, "b n"], count: int) -> Float[Tensor, "b g"]:
    """Return the share of each level."""
    index = torch.arange(len(levels))[:, None] * count + levels - 1
    counted = torch.bincount(index.flatten(), minlength=len(levels) * count).reshape(len(levels), count)
    return counted.double() / levels.shape[1]
