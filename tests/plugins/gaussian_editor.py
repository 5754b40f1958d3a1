"""An editing generator whose denoiser is exact: under each prompt, latents are Gaussian with a known mean.

x_t = a(t) z + s(t) e with a = cos(pi t / 2), s = sin(pi t / 2) (variance preserving). For z ~ N(mu, v) the best
estimate of e is s (x_t - a mu) / (a^2 v + s^2), and the probability-flow ODE, which DDIM steps follow, ends at
mu + sqrt(v / (a^2 v + s^2)) (x_t - a mu).
"""

import math
from itertools import pairwise

import torch
from torch.nn.functional import avg_pool2d, interpolate

from cfbench_nets.seeds import generator

#: Furthest that the schedule goes: at 1 nothing would be left of the image to divide by.
END = 0.9995


class GaussianEditor:
    """Means by prompt, [c, h, w] of the latents; the autoencoder averages blocks of `coarse` pixels."""

    def __init__(self, means, variance, coarse=1):
        self.means, self.variance, self.coarse = means, variance, coarse

    def fit(self, train, valid, context):
        """Know everything already."""

    def save(self, folder):
        """Keep nothing."""

    def load(self, folder, context):
        """Need nothing."""

    def rebuilt(self, x):
        return interpolate(avg_pool2d(x, self.coarse), scale_factor=self.coarse)

    def edit(self, x, ids, edit, context):
        z = avg_pool2d(x, self.coarse)
        mean = torch.stack([self.means[prompt] for prompt in edit.prompts]).to(z)
        if edit.guidance > 1:
            mean = self.means[""] + edit.guidance * (mean - self.means[""])
        for repeat in range(edit.repeats):
            noise = torch.stack(
                [torch.randn(z.shape[1:], generator=generator(context.seed, case, repeat)) for case in ids]
            ).to(z)
            z = self.cycle(z, mean, noise, edit)
        edited = interpolate(z, scale_factor=self.coarse)
        return edited if edit.keep is None else torch.where(edit.keep, x, edited)

    def cycle(self, z, mean, noise, edit):
        n = int(edit.steps * edit.strength)
        times = [END * edit.strength * (n - k) / max(n, 1) for k in range(n + 1)]
        a, s = rates(times[0])
        z = a * z + s * noise if n else z
        for now, then in pairwise(times):
            (a, s), (a_then, s_then) = rates(now), rates(then)
            e = s * (z - a * mean) / (a * a * self.variance + s * s)
            z = a_then * (z - s * e) / a + s_then * e
        return z


def rates(t):
    return math.cos(math.pi * t / 2), math.sin(math.pi * t / 2)


def gain(strength, variance):
    """Return r with z_0 - mu = r (x_t - a mu), and a, s at the start."""
    a, s = rates(END * strength)
    return math.sqrt(variance / (a * a * variance + s * s)), a, s
