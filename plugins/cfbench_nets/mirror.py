"""Mirroring as augmentation."""

import torch
from jaxtyping import Float
from torch import Tensor


def mirrored(x: Float[Tensor, "b c *space"], random: torch.Generator) -> Float[Tensor, "b c *space"]:
    """Mirror each image left to right (its last axis) with probability one half."""
    chosen = (torch.rand(len(x), generator=random, device=random.device) < 0.5).to(x.device)
    return torch.where(chosen.reshape(-1, *(1,) * (x.ndim - 1)), x.flip(-1), x)
