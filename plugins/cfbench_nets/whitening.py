"""Codes whose numbers are uncorrelated and of variance 1: an invertible affine map, learned from training codes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: Directions with less than this share of the largest standard deviation are scaled as if they had it, not blown up.
FLOOR = 1e-3


class Whitening(nn.Module):
    """z -> W (z - mean), and back. The identity until `learn` is called; its state is saved with the network's."""

    mean: Tensor
    W: Tensor
    inverse: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("W", torch.eye(width))
        self.register_buffer("inverse", torch.eye(width))

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return white codes."""
        return (z - self.mean) @ self.W.T

    def undo(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return the codes that `forward` was given."""
        return z @ self.inverse.T + self.mean

    def learn(self, z: Float[Tensor, "n d"]) -> None:
        """Choose the map by principal components (PCA whitening), in order of falling variance."""
        z = z.double()
        mean = z.mean(dim=0)
        variance, V = torch.linalg.eigh(torch.cov(z.T, correction=0).reshape(len(mean), len(mean)))
        sigma, V = variance.clamp(min=0).sqrt().flip(0), V.flip(1)
        scale = sigma.clamp(min=float(FLOOR * sigma[0]) or 1.0)
        # Signs are free: the largest entry of each direction is made positive, so that they do not depend on LAPACK.
        V = V * V.gather(0, V.abs().argmax(dim=0, keepdim=True)).sign()
        self.mean.copy_(mean)
        self.W.copy_((V / scale).T)
        self.inverse.copy_(V * scale)
