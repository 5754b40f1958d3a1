"""What the encoder minimises: how far its image is from the original, and its code from the mapping network's."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor, nn

from cfbench.errors import SuiteError
from cfbench_stylegan2.e4e.critic import Critic
from cfbench_stylegan2.e4e.identity import moco_distance, require_moco
from cfbench_stylegan2.e4e.params import EncoderParams
from cfbench_stylegan2.e4e.perceptual import Distance, feature_distance, lpips_distance, require_lpips


@dataclass(frozen=True)
class Distances:
    """Distances between images in [-1, 1] that come from other networks; None where there is none."""

    perceptual: Distance | None
    identity: Distance | None


def require_weights(params: EncoderParams) -> None:
    """Raise DataError or ChecksumError if published weights that these losses need are not there."""
    if params.encoder_perceptual == "lpips":
        require_lpips()
    if params.encoder_identity == "moco":
        require_moco()


def distances(params: EncoderParams, discriminator: nn.Module | None, device: str) -> Distances:
    """Return the distances that the params name. Raises SuiteError where a discriminator is named and there is none."""
    perceptual = None
    if params.encoder_perceptual == "lpips":
        perceptual = lpips_distance(device)
    elif params.encoder_perceptual == "discriminator":
        if discriminator is None:
            raise SuiteError(
                "encoder_perceptual discriminator needs the discriminator that the generator was trained with, and "
                "these weights come without one: set encoder_perceptual to lpips or none"
            )
        perceptual = feature_distance(discriminator)
    return Distances(perceptual, moco_distance(device) if params.encoder_identity == "moco" else None)


def image_loss(
    params: EncoderParams, given: Distances, back: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"]
) -> Float[Tensor, ""]:
    """Return the weighted sum of squared, perceptual and identity error of reconstructions.

    Images that are larger than the encoder's input are averaged down to its size before, as published.
    """
    if 0 < params.encoder_side < x.shape[2]:
        back, x = (F.adaptive_avg_pool2d(images, params.encoder_side) for images in (back, x))
    loss = params.encoder_l2 * F.mse_loss(back, x)
    if given.perceptual is not None:
        loss = loss + params.encoder_perceptual_weight * given.perceptual(back, x)
    if given.identity is not None:
        loss = loss + params.encoder_identity_weight * given.identity(back, x)
    return loss


def delta_norm(ws: Float[Tensor, "b l s"], mean: Float[Tensor, "l s"], deltas: int) -> Float[Tensor, ""]:
    """Return the sum over the layers with a delta of its Euclidean norm, averaged over images."""
    own = ws - mean
    return torch.linalg.vector_norm(own[:, 1 : deltas + 1] - own[:, :1], dim=2).sum(dim=1).mean()


def code_loss(
    params: EncoderParams,
    critic: Critic | None,
    ws: Float[Tensor, "b l s"],
    mean: Float[Tensor, "l s"],
    deltas: int,
) -> Float[Tensor, ""]:
    """Return the weighted sum of the deltas' norms and of what the latent discriminator says of the distinct codes."""
    loss = params.encoder_delta_weight * delta_norm(ws, mean, deltas) if deltas else ws.new_zeros(())
    if critic is not None:
        loss = loss + params.encoder_critic_weight * critic.loss(ws[:, : deltas + 1])
    return loss
