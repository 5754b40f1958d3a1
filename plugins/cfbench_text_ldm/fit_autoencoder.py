"""The KL autoencoder's training, and the scale of its latents."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.protocols import Context
from cfbench_nets.pool import ImagePool, shuffled
from cfbench_nets.recipe import Recipe
from cfbench_text_ldm.frame import Frame
from cfbench_text_ldm.phases import learn, phase

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams

#: Images that the latents' scale is measured on, at most.
MEASURED = 1024


def bound(vae: Any, x: Float[Tensor, "b c h w"], kl_weight: float, random: torch.Generator) -> Float[Tensor, ""]:
    """Return the mean absolute error of a sampled latent's image plus the weighted KL divergence, per pixel.

    Rombach et al. (2022) sum both over an image and add LPIPS and a discriminator; this has neither. Images in [-1, 1].
    """
    posterior = vae.encode(x).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=random, device=x.device)
    back = vae.decode(posterior.mean + posterior.std * noise).sample.float()
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).float().sum()
    return (back - x).abs().mean() + kl_weight * kl / x.numel()


def fit_vae(vae: Any, params: "TextLdmParams", pool: ImagePool, frame: Frame, context: Context) -> None:
    """Train the autoencoder on the pool's images, then write its latents' mean and spread into its configuration."""
    inner = phase(context, "training the autoencoder", params)

    def loss(step: int, random: torch.Generator) -> Float[Tensor, ""]:
        x = frame.inward(pool.take(shuffled(len(pool), params.ae_batch, inner.seed, step)))
        return bound(vae, x, params.kl_weight, random)

    recipe = Recipe(
        steps=params.ae_steps, lr=params.ae_lr, rate=params.rate, ema=params.ae_ema, precision=params.precision
    )
    learn(vae, loss, recipe, inner)
    _measure(vae, params, pool, frame, inner)


def _measure(vae: Any, params: "TextLdmParams", pool: ImagePool, frame: Frame, context: Context) -> None:
    """Write mean and standard deviation of each latent channel into the autoencoder's configuration."""
    index = shuffled(len(pool), min(len(pool), MEASURED), context.seed, 0)
    with torch.inference_mode():
        parts = [
            vae.encode(frame.inward(pool.take(index[i : i + params.ae_batch]))).latent_dist.mean
            for i in range(0, len(index), params.ae_batch)
        ]
    z = torch.cat(parts).double()
    spread = z.std(dim=(0, 2, 3)).clamp(min=1e-6)
    vae.register_to_config(latents_mean=z.mean(dim=(0, 2, 3)).tolist(), latents_std=spread.tolist())
