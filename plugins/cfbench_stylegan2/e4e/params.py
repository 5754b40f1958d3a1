"""Parameters of the encoder; the generator's own params extend them. No heavy import: every command reads this."""

from dataclasses import dataclass
from typing import Literal

from cfbench.errors import SuiteError
from cfbench.specs import param


@dataclass(frozen=True)
class EncoderParams:
    """How images are encoded into W+. The defaults are the authors' settings, without mirroring.

    Raises SuiteError for values that cannot work.
    """

    encoder_blocks: tuple[int, ...] = param(
        (3, 4, 14, 3), "Residual blocks per stage (IR-SE-50); each stage halves the image, the last three are used."
    )
    encoder_widths: tuple[int, ...] = param((64, 128, 256, 512), "Channels of each stage of the encoder.")
    encoder_side: int = param(
        256, "Side in pixels that images are resized to for the encoder, and losses taken at most at; 0: not resized."
    )
    encoder_steps: int = param(200_000, "Optimiser steps of the encoder.")
    encoder_batch: int = param(8, "Images per optimiser step of the encoder.")
    encoder_optimiser: Literal["ranger", "adam"] = param(
        "ranger", "Ranger (RAdam, lookahead, centred gradients; hundreds of steps to get going), or Adam."
    )
    encoder_lr: float = param(1e-4, "Learning rate of the encoder's optimiser, or its peak.")
    encoder_rate: Literal["constant", "one-cycle"] = param("constant", "Course of the encoder's learning rate.")
    encoder_delta_start: float = param(
        0.1, "Share of the steps in which all layers get the same w0; then deltas are added, layer by layer."
    )
    encoder_delta_every: float = param(0.01, "Share of the steps between one layer's delta and the next one's.")
    encoder_delta_weight: float = param(2e-4, "Weight of the deltas' norms, which keep W+ codes close to W.")
    encoder_l2: float = param(1.0, "Weight of the squared error.")
    encoder_perceptual: Literal["lpips", "discriminator", "none"] = param(
        "lpips",
        "Perceptual loss: LPIPS with the official AlexNet weights (`cfbench data fetch` gets them for suites with the "
        "metric lpips), or the same distance between features of the discriminator that was just trained.",
    )
    encoder_perceptual_weight: float = param(0.8, "Weight of the perceptual loss.")
    encoder_identity: Literal["moco", "none"] = param(
        "none",
        "Identity loss: cosine between features of the MoCo-v2 ResNet-50, the authors' choice where images are no "
        "faces; its published file must lie among torch hub's checkpoints.",
    )
    encoder_identity_weight: float = param(0.5, "Weight of the identity loss.")
    encoder_critic_weight: float = param(
        0.1, "Weight of the latent discriminator's loss, which keeps codes in the distribution of W; 0: none."
    )
    encoder_critic_lr: float = param(2e-5, "Learning rate of the latent discriminator's Adam.")
    encoder_critic_r1: float = param(10.0, "Weight of its R1 penalty.")
    encoder_critic_r1_every: int = param(16, "Steps between two R1 penalties.")
    encoder_critic_pool: int = param(50, "Past codes that it is also shown; 0: none.")
    encoder_mean_samples: int = param(10_000, "Random codes whose mean w is where encoding starts from.")
    encoder_flip: bool = param(False, "Mirror half of the encoder's training images left to right.")


def check_encoder(params: EncoderParams) -> None:
    """Raise SuiteError for values that cannot work."""
    stages = len(params.encoder_blocks)
    if stages < 3 or stages != len(params.encoder_widths):
        raise SuiteError(
            "encoder_blocks and encoder_widths need one number per stage, and three stages or more; they have "
            f"{stages} and {len(params.encoder_widths)}"
        )
    if min(params.encoder_blocks) < 1 or min(params.encoder_widths) < 1:
        raise SuiteError("encoder_blocks and encoder_widths must be positive")
    for name in ("encoder_steps", "encoder_batch", "encoder_critic_r1_every", "encoder_mean_samples"):
        if getattr(params, name) < 1:
            raise SuiteError(f"{name} must be at least 1, not {getattr(params, name)}")
    if params.encoder_side < 0:
        raise SuiteError(f"encoder_side is a number of pixels, or 0, not {params.encoder_side}")
    for name in ("encoder_delta_start", "encoder_delta_every"):
        if not 0 <= getattr(params, name) <= 1:
            raise SuiteError(f"{name} is a share of the steps, from 0 to 1, not {getattr(params, name)}")
