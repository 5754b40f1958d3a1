"""Sinusoidal embedding of the diffusion time."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sinusoid(t: Int[Tensor, " k"], width: int, longest: float = 1e4) -> Float[Tensor, "k width"]:
    """Return cosines, then sines, of t at geometric frequencies from 1 to about 1/longest; an odd width ends in 0."""
    pairs = width // 2
    frequencies = torch.exp(-math.log(longest) * torch.arange(pairs, dtype=torch.float32, device=t.device) / pairs)
    angles = t[:, None].float() * frequencies
    table = torch.cat([angles.cos(), angles.sin()], dim=1)
    return torch.nn.functional.pad(table, (0, width - 2 * pairs))
