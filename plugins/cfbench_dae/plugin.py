"""Offers the diffusion autoencoder `dae`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import CommandSpec, GeneratorSpec, param
from cfbench_dae.checks import check
from cfbench_dae.presets import PRESETS


@dataclass(frozen=True)
class DaeParams:
    """Parameters of the diffusion autoencoder.

    The defaults are the authors' 64-pixel template, in float32 and without its latent model; preset `ffhq64` is the
    template with both. Raises SuiteError for values that cannot work.
    """

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
    flip: bool = param(
        True, "Mirror half of the training images left to right; false where left and right differ in meaning."
    )
    precision: Literal["float32", "bfloat16", "float16"] = param(
        "float32", "Arithmetic of the training's forward pass; float16, the published one, needs a GPU."
    )
    compile: bool = param(False, "Compile the network for its training (GPUs only): faster steps after minutes.")
    encode_steps: int = param(250, "DDIM steps from image to x_T.")
    decode_steps: int = param(100, "DDIM steps from x_T to image.")
    encode_to: Literal["zero", "last"] = param(
        "zero", "Where x_T lies: at alpha-bar 0, one jump beyond the last step, as published, or at the last step."
    )
    latent_steps: int = param(0, "Optimiser steps of the latent model, which draws codes; 0 = none, and no samples.")
    latent_layers: int = param(10, "Layers of the latent model.")
    latent_width: int = param(2048, "Width of its hidden layers.")
    latent_batch: int = param(256, "Codes per optimiser step of the latent model.")
    latent_lr: float = param(
        1e-4, "Its learning rate, or the peak (AdamW, weight decay 0.01); it shares rate, ema and precision."
    )
    latent_loss: Literal["l1", "mse"] = param(
        "l1",
        "Error of the noise that it predicts. The published l1 aims at medians: it draws rare kinds of codes too "
        "seldom (0.21 of the samples instead of 0.30 from a mixture of two Gaussians; mse: 0.30).",
    )
    latent_decode_steps: int = param(
        20,
        "DDIM steps from noise to a code. The published 20 draw codes that vary less than the real ones: 0.81 of the "
        "standard deviation where codes are Gaussian (250 steps: 0.98).",
    )

    weights: str = param(
        "", "Folder that `cfbench dae convert` wrote: its weights are used, and the autoencoder is not trained."
    )
    weights_sha256: str = param("", "SHA-256 of the dae.safetensors in it.")

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)


@hookimpl
def cfbench_generators() -> Iterable[GeneratorSpec]:
    """Offer the diffusion autoencoder."""
    return [
        GeneratorSpec(
            name="dae",
            factory="cfbench_dae.model:DAE",
            loads=("pytorch_lightning",),
            summary="diffusion autoencoder: a semantic code z and a stochastic code x_T, decoded by DDIM",
            params=DaeParams,
            presets=PRESETS,
            citation="Preechakul et al., Diffusion Autoencoders, CVPR 2022",
            provides=frozenset({"latent", "sampling"}),
            heavy=True,
        )
    ]


@hookimpl
def cfbench_commands() -> Iterable[CommandSpec]:
    """Offer `cfbench dae`."""
    yield CommandSpec(
        name="dae",
        factory="cfbench_dae.command:dae",
        summary="Convert published weights of the diffusion autoencoder.",
    )
