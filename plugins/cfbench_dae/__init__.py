"""The diffusion autoencoder (Preechakul et al., CVPR 2022)."""
