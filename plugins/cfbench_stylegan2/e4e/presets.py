"""Named settings of the encoder."""

from collections.abc import Mapping
from typing import Any

#: For CPUs and images of 28 to 48 pixels: some two minutes. The structure is e4e's, with one block per stage.
#: It deviates in what minutes are too short for: Adam, which e4e's authors offer too, gets going at once, where RAdam
#: holds back for hundreds of steps (with it, the measured heights of reconstructions correlated .28 with the originals'
#: instead of .50, after 500 steps for one generator); the learning rate takes one cycle; images are not enlarged; there
#: is no latent discriminator. Features of the generator's own discriminator stand for LPIPS, which photographs have
#: taught and whose smallest image has 32 pixels.
QUICK: Mapping[str, Any] = {
    "encoder_blocks": (1, 1, 1, 1),
    "encoder_widths": (16, 24, 32, 48),
    "encoder_side": 0,
    "encoder_steps": 1000,
    "encoder_batch": 16,
    "encoder_optimiser": "adam",
    "encoder_lr": 4e-3,
    "encoder_rate": "one-cycle",
    "encoder_perceptual": "discriminator",
    "encoder_critic_weight": 0.0,
}
