"""From noise to latents and back: DDIM, PLMS and DDIM inversion, and guidance by words.

Written out rather than taken from diffusers' schedulers: those keep state, work in float32, and list a step twice
(PNDM). The tests compare with them.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench_nets.objective import clean, noised
from cfbench_text_ldm.schedule import Sampler

#: (x_t, t) -> the noise in x_t.
Epsilon = Callable[[Tensor, int], Tensor]
#: (x, alpha-bar reached, whether it is the last step) -> x: what is done to x after each step.
After = Callable[[Tensor, Tensor, bool], Tensor]
#: Weights of the last noises, newest first, when there are one, two, three or four (Adams-Bashforth).
ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def unchanged(x: Tensor, _level: Tensor, _last: bool) -> Tensor:
    """Leave x as it is."""
    return x


def guided(free: Tensor, told: Tensor, guidance: float) -> Tensor:
    """Return free + guidance * (told - free) (Ho and Salimans 2021; guidance = 1 + w there).

    Right for epsilon and for v alike, both being the same affine function of each other at a given x_t.
    """
    return free + guidance * (told - free)


def descend(
    x: Float[Tensor, "b *any"],
    times: list[int],
    epsilon: Epsilon,
    alpha_bar: Float[Tensor, " T"],
    sampler: Sampler,
    after: After = unchanged,
) -> Tensor:
    """Return what x at times[0] comes down to, at alpha-bar of step 0 (Stable Diffusion's `set_alpha_to_one: false`).

    `ddim`: Song et al. 2021, eta 0. `pndm`: the same step with a linear combination of the last four noises (PLMS; Liu
    et al. 2022), the first three from fewer.
    """
    past: list[Tensor] = []
    for t, following in zip(times, [*times[1:], 0], strict=True):
        past = [epsilon(x, t), *past][: 4 if sampler == "pndm" else 1]
        weighted = [weight * e for weight, e in zip(ADAMS_BASHFORTH[len(past) - 1], past, strict=True)]
        x = _step(x, torch.stack(weighted).sum(dim=0), alpha_bar[t], alpha_bar[following])
        x = after(x, alpha_bar[following], following == 0)
    return x


def ascend(x: Float[Tensor, "b *any"], times: list[int], epsilon: Epsilon, alpha_bar: Float[Tensor, " T"]) -> Tensor:
    """Return the noise-like latents at times[0] from which DDIM comes down to x, nearly (DDIM inversion).

    The more steps, the nearer: each step takes the noise found at its lower end for that at its upper.
    """
    for t, following in zip([0, *reversed(times)][:-1], reversed(times), strict=True):
        x = _step(x, epsilon(x, t), alpha_bar[t], alpha_bar[following])
    return x


def _step(x: Tensor, noise: Tensor, level: Tensor, other: Tensor) -> Tensor:
    """Move x along a noise from one alpha-bar to another."""
    return noised(clean("epsilon", x, noise, level), noise, other)
