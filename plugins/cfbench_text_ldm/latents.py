"""The latent space: images to scaled posteriors of the KL autoencoder, and scaled latents to images."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.types import Images
from cfbench_text_ldm.frame import Frame

#: Pixels that go through a network at once.
PIXELS = 2**20


class LatentSpace:
    """Latents with mean 0 and standard deviation 1, nearly: z = (latent - shift) / spread.

    Stable Diffusion's shift is 0 and its spread 1 / 0.18215; trained from scratch, both are measured per channel.
    """

    def __init__(self, vae: Any, frame: Frame) -> None:
        self.vae, self.frame = vae, frame
        config, channels = vae.config, vae.config.latent_channels
        # A configuration has null where it lacks these.
        mean = config.latents_mean or (config.shift_factor or 0.0,) * channels
        spread = config.latents_std or (1 / config.scaling_factor,) * channels
        self.shift, self.spread = (torch.tensor(v).reshape(1, channels, 1, 1) for v in (mean, spread))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one latent image."""
        side = self.frame.working // factor_of(self.vae.config)
        return int(self.vae.config.latent_channels), side, side

    @property
    def chunk(self) -> int:
        """How many images go through a network at once."""
        return max(1, PIXELS // self.frame.working**2)

    def posterior(self, x: Images) -> tuple[Float[Tensor, "b k u v"], Float[Tensor, "b k u v"]]:
        """Return mean and standard deviation of the scaled latents of images on the networks' device."""
        found = self.vae.encode(self.frame.inward(x)).latent_dist
        shift, spread = self.shift.to(x.device), self.spread.to(x.device)
        return (found.mean - shift) / spread, found.std / spread

    def mean(self, x: Images, device: str) -> Float[Tensor, "b k u v"]:
        """Return the posterior means of images, chunk by chunk, on the CPU."""
        if not len(x):
            return torch.empty(0, *self.shape)
        with torch.inference_mode():
            parts = [self.posterior(part.to(device))[0].float().cpu() for part in x.split(self.chunk)]
        return torch.cat(parts).contiguous()

    def decode(self, z: Float[Tensor, "b k u v"], device: str) -> Images:
        """Return the images of scaled latents, in [0, 1], chunk by chunk, on the CPU."""
        if not len(z):
            return torch.empty(0, self.frame.channels, self.frame.side, self.frame.side)
        with torch.inference_mode():
            parts = [self._decoded(part.to(device, torch.float32)).cpu() for part in z.split(self.chunk)]
        return torch.cat(parts)

    def _decoded(self, z: Tensor) -> Tensor:
        latent = z * self.spread.to(z.device) + self.shift.to(z.device)
        return self.frame.outward(self.vae.decode(latent).sample)


def factor_of(config: Any) -> int:
    """Return how many pixels a side of a latent cell spans."""
    return int(2 ** (len(config.block_out_channels) - 1))


def multiple_of(vae: Any, unet: Any) -> int:
    """Return what a side in pixels must be a multiple of for the two networks to halve evenly."""
    return factor_of(vae.config) * factor_of(unet.config)
