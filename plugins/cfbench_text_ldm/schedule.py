"""Noise schedules of latent diffusion, and which of their steps are made: as Stable Diffusion counts them."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.errors import DataError
from cfbench_nets import betas

Schedule = Literal["scaled_linear", "linear", "cosine"]
Sampler = Literal["ddim", "pndm"]
#: Beta of the first and the last step of `scaled_linear`, at T = 1000 (Stable Diffusion v1).
FIRST, LAST = 0.00085, 0.012


def alpha_bar(schedule: Schedule, T: int) -> Float[Tensor, " T"]:
    """Return alpha-bar of steps t = 0 ... T-1 in float64.

    `scaled_linear`: the root of beta runs evenly from sqrt(0.00085) to sqrt(0.012) (Rombach et al., CVPR 2022);
    `linear` and `cosine` are those of `cfbench_nets.betas`.
    """
    if schedule == "scaled_linear":
        return torch.cumprod(1 - torch.linspace(FIRST**0.5, LAST**0.5, T, dtype=torch.float64) ** 2, dim=0)
    return betas.alpha_bar(schedule, T)


def leading(T: int, steps: int) -> list[int]:
    """Return the steps of a whole trajectory, highest first: 1 plus multiples of the whole stride T // steps.

    diffusers calls this leading spacing with an offset of 1. Raises DataError unless 1 <= steps < T.
    """
    if not 1 <= steps < T:
        raise DataError(f"text-ldm: steps must be at least 1 and below T = {T}, not {steps}")
    return [1 + i * (T // steps) for i in reversed(range(steps))]


def kept(T: int, steps: int, strength: float, sampler: Sampler) -> list[int]:
    """Return the steps that editing at a strength makes, highest first; the first is where noise is added.

    `ddim`: the last int(steps * strength). `pndm`: what diffusers' img2img makes under its PNDM scheduler, without the
    second mention of a step. That scheduler lists its second step twice and the list is cut from its front, which
    makes one step more than int(steps * strength), of one stride more noise. Strength 1 makes them all, strength 0
    none. Raises DataError for a strength outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise DataError(f"text-ldm: strength must lie in [0, 1], not {strength}")
    whole, count = leading(T, steps), int(steps * strength)
    if sampler == "pndm" and 0 < count < steps:
        doubled = [*whole[:2], *whole[1:]]
        return sorted(set(doubled[steps - count :]), reverse=True)
    return whole[steps - count :]
