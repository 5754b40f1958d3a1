"""Offers the autoencoder `autoencoder` and the variational autoencoder `vae`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import GeneratorSpec, param


@dataclass(frozen=True)
class AutoencoderParams:
    """Parameters of the autoencoder; the defaults are as wide as the diffusion autoencoder's semantic encoder."""

    channels: int = param(64, "Channels of the first level.")
    channel_mult: tuple[int, ...] = param(
        (1, 2, 4, 8, 8), "Channels of each level, in multiples of the first's; each level halves the image."
    )
    res_blocks: int = param(2, "Residual blocks per level.")
    groups: int = param(32, "Most groups of a group norm.")
    z_dim: int = param(512, "Numbers in the code.")
    loss: Literal["mse", "l1"] = param("mse", "Error of the reconstruction: squared or absolute.")
    steps: int = param(100_000, "Optimiser steps.")
    batch: int = param(128, "Images per optimiser step.")
    lr: float = param(1e-4, "Learning rate of Adam, or its peak.")
    rate: Literal["constant", "one-cycle"] = param("constant", "Course of the learning rate.")
    ema: float = param(0.9999, "Decay of the averaged weights; warmed up as min(decay, (1 + n) / (10 + n)).")
    flip: bool = param(True, "Mirror half of the training images left to right.")
    precision: Literal["float32", "bfloat16"] = param("float32", "Arithmetic of the training's forward pass.")


@dataclass(frozen=True)
class VaeParams(AutoencoderParams):
    """Parameters of the variational autoencoder."""

    loss: Literal["mse", "l1"] = param(
        "mse", "Likelihood of a pixel: Gaussian (mse) or Laplace (l1); its scale is the one that fits the errors best."
    )
    beta: float = param(1.0, "Weight of the KL divergence in nats; 1 is the ELBO.")


#: For CPUs and images of 28 to 48 pixels: under a minute on one core.
QUICK: Mapping[str, Any] = {
    "channels": 8,
    "channel_mult": (1, 2, 4, 8),
    "res_blocks": 1,
    "groups": 8,
    "z_dim": 16,
    "steps": 1100,
    "batch": 16,
    "lr": 3e-3,
    "rate": "one-cycle",
    "ema": 0.995,
    "flip": False,
}
#: After so short a training the codes do not fill N(0, I) yet, and samples from its gaps are smears; on the vertebra
#: phantom, three times the KL divergence made most of them vertebrae, and codes no worse to read a fracture from.
QUICK_VAE: Mapping[str, Any] = {**QUICK, "beta": 3.0}


@hookimpl
def cfbench_generators() -> Iterable[GeneratorSpec]:
    """Offer both."""
    yield GeneratorSpec(
        name="autoencoder",
        factory="cfbench_autoencoder.model:AE",
        loads=("pytorch_lightning",),
        summary="convolutional autoencoder: a code z that is decoded deterministically",
        params=AutoencoderParams,
        presets={"quick": QUICK},
        citation="Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 2006",
        provides=frozenset({"latent"}),
        heavy=True,
    )
    yield GeneratorSpec(
        name="vae",
        factory="cfbench_autoencoder.vae:VAE",
        loads=("pytorch_lightning",),
        summary="variational autoencoder: codes are posterior means, samples decode z ~ N(0, I)",
        params=VaeParams,
        presets={"quick": QUICK_VAE},
        citation="Kingma and Welling, Auto-encoding variational Bayes, ICLR 2014; Rybkin et al., Simple and effective "
        "VAE training with calibrated decoders, ICML 2021",
        provides=frozenset({"latent", "sampling"}),
        heavy=True,
    )
