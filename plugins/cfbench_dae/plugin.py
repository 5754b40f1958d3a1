"""Offers the diffusion autoencoder `dae`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import GeneratorSpec, param


@dataclass(frozen=True)
class DaeParams:
    """Parameters of the diffusion autoencoder; the defaults are the authors' 64-pixel template."""

    channels: int = param(64, "Channels of the first level.")
    channel_mult: tuple[int, ...] = param(
        (1, 2, 4, 8), "Channels of each level of the U-Net, in multiples of the first's."
    )
    encoder_mult: tuple[int, ...] = param((1, 2, 4, 8, 8), "The same for the semantic encoder.")
    res_blocks: int = param(2, "Residual blocks per level.")
    attention_resolutions: tuple[int, ...] = param(
        (16,), "Sides in pixels at which attention follows each residual block."
    )
    groups: int = param(32, "Most groups of a group norm.")
    z_dim: int = param(512, "Numbers in the semantic code.")
    standardise: bool = param(
        False, "Give every number of z mean 0 and variance 1 over the batch while training; an affine map afterwards."
    )
    whiten: bool = param(
        False, "Give codes to probes uncorrelated, with variance 1 over the training images; an invertible affine map."
    )
    time_dim: int = param(512, "Numbers in the embedding of time.")
    dropout: float = param(0.1, "Dropout in the U-Net's residual blocks.")
    objective: Literal["epsilon", "v"] = param("epsilon", "What the U-Net predicts.")
    schedule: Literal["linear", "cosine"] = param("linear", "Noise schedule.")
    T: int = param(1000, "Steps of the noise schedule.")
    time_power: float = param(
        1.0,
        "Training times are drawn with a density that grows as t ** (time_power - 1); 1 is the published uniform one.",
    )
    steps: int = param(562_500, "Optimiser steps (the published 72 M samples at batch 128).")
    batch: int = param(128, "Images per optimiser step.")
    lr: float = param(1e-4, "Learning rate of Adam, or its peak.")
    rate: Literal["constant", "one-cycle"] = param("constant", "Course of the learning rate.")
    ema: float = param(0.9999, "Decay of the averaged weights; warmed up as min(decay, (1 + n) / (10 + n)).")
    flip: bool = param(True, "Mirror half of the training images left to right.")
    precision: Literal["float32", "bfloat16"] = param("float32", "Arithmetic of the training's forward pass.")
    encode_steps: int = param(250, "DDIM steps from image to x_T.")
    decode_steps: int = param(100, "DDIM steps from x_T to image.")
    encode_to: Literal["zero", "last"] = param(
        "zero", "Where x_T lies: at alpha-bar 0, one jump beyond the last step, as published, or at the last step."
    )


#: For CPUs and images of 28 to 48 pixels: minutes instead of GPU days. Blocks, conditioning, encoder and DDIM in both
#: directions are the paper's, only smaller. It deviates in what minutes are too short for; the figures are from test
#: patients of the vertebra phantom at 40 pixels, flips judged by an independent network:
#:
#: - it predicts v, under the cosine schedule, with times drawn more often where there is much noise. Predicting
#:   epsilon, x_T comes to carry the image before z does;
#: - z is standardised over the batch while training. Pooled features of a new encoder differ by some 0.002 between
#:   images, and the U-Net learned to do without them: after 1,500 steps a linear probe's AUC was 0.79, which is what
#:   an untrained encoder gave; standardised, 0.98 after 1,000;
#: - codes are whitened. The numbers of z are nearly collinear, and a probe's normal lies in the directions that vary
#:   least and hardly change the image: reflection flipped 4 % of the cases; in white codes, where it moves along the
#:   difference of the class means, 77 %;
#: - the average is warmed up, the learning rate takes one cycle, there is no mirroring and no dropout;
#: - x_T lies at the last step of the trajectory, not one jump beyond: a smaller error of reconstruction.
QUICK: Mapping[str, Any] = {
    "channels": 8,
    "channel_mult": (1, 2, 4, 8),
    "encoder_mult": (1, 2, 4, 8),
    "res_blocks": 1,
    "attention_resolutions": (),
    "groups": 8,
    "z_dim": 16,
    "time_dim": 64,
    "dropout": 0.0,
    "objective": "v",
    "schedule": "cosine",
    "time_power": 2.0,
    "standardise": True,
    "whiten": True,
    "steps": 2000,
    "batch": 24,
    "lr": 2e-3,
    "rate": "one-cycle",
    "ema": 0.995,
    "flip": False,
    "encode_steps": 40,
    "decode_steps": 40,
    "encode_to": "last",
}


@hookimpl
def cfbench_generators() -> Iterable[GeneratorSpec]:
    """Offer the diffusion autoencoder."""
    return [
        GeneratorSpec(
            name="dae",
            factory="cfbench_dae.model:DAE",
            summary="diffusion autoencoder: a semantic code z and a stochastic code x_T, decoded by DDIM",
            params=DaeParams,
            presets={"quick": QUICK},
            citation="Preechakul et al., Diffusion Autoencoders, CVPR 2022",
            provides=frozenset({"latent"}),
            threads=2,
        )
    ]
