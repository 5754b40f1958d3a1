"""The losses of StyleGAN2: non-saturating logistic, R1 and path length (Karras et al. 2020)."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor

from cfbench_stylegan2.networks.discriminator import Discriminator

#: How fast the mean path length follows.
PATH_DECAY = 0.01


def discriminator_loss(real: Float[Tensor, " b"], fake: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return -log sigmoid(D(real)) - log(1 - sigmoid(D(fake))), each averaged, from logits."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return -log sigmoid(D(fake)), averaged (Goodfellow et al. 2014, non-saturating)."""
    return F.softplus(-fake).mean()


def r1_penalty(discriminator: Discriminator, real: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """Return the mean squared norm of the gradient of D at real images (Mescheder et al. 2018), without gamma / 2."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(
    images: Float[Tensor, "b c h w"], ws: Float[Tensor, "b l s"], random: torch.Generator
) -> Float[Tensor, " b"]:
    """Return |J_w^T y| of each image for a random image y ~ N(0, 1) / side, as a root mean square over the styles."""
    y = torch.randn(images.shape, generator=random, device=images.device, dtype=images.dtype)
    y = y / math.sqrt(images.shape[2] * images.shape[3])
    (slope,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    return slope.square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Float[Tensor, " b"], mean: Float[Tensor, ""]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean squared difference from the running mean of lengths, and that mean moved towards these."""
    moved = mean + PATH_DECAY * (lengths.mean() - mean)
    return (lengths - moved).square().mean(), moved.detach()
