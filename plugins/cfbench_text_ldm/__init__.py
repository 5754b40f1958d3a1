"""Text-conditioned latent diffusion: images drawn and edited under words."""
