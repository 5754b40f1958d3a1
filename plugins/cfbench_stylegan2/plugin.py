"""Offers the generator `stylegan2-e4e`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import CommandSpec, GeneratorSpec, param
from cfbench_stylegan2.checks import check
from cfbench_stylegan2.e4e.params import EncoderParams, check_encoder
from cfbench_stylegan2.presets import PRESETS


@dataclass(frozen=True)
class StyleGAN2Params(EncoderParams):
    """Parameters of StyleGAN2 with the e4e encoder.

    The defaults are those of the public PyTorch implementation for one GPU, without mirroring. Raises SuiteError for
    values that cannot work.
    """

    constant_side: int = param(
        4,
        "Side of the learnt constant, doubled until it covers the images, which are padded to that: 4 as published, "
        "or 5, 6, 7; 0 takes the one that pads least (40 = 5 x 8, 96 = 6 x 16).",
    )
    channel_base: int = param(32_768, "Channels at a side of s pixels are channel_base / s, at most channel_max.")
    channel_max: int = param(512, "Most channels of a layer.")
    style_dim: int = param(512, "Numbers in z and in each style w.")
    mapping_layers: int = param(8, "Layers from z to w.")
    mapping_lr: float = param(0.01, "Their learning rate, as a multiple of lr.")
    steps: int = param(800_000, "Steps of the GAN.")
    batch: int = param(16, "Images per step.")
    lr: float = param(0.002, "Learning rate of Adam, of both networks.")
    r1: float = param(10.0, "Weight gamma of the R1 penalty; 0 = none. It suits 1024 pixels: use less on small images.")
    r1_every: int = param(16, "Steps between R1 penalties.")
    path: float = param(2.0, "Weight of the path-length penalty; 0 = none.")
    path_every: int = param(4, "Steps between path-length penalties.")
    mixing: float = param(0.9, "Probability that a batch mixes the styles of two codes.")
    ema_images: float = param(5000.0, "Images after which a weight's share of the averaged generator has halved.")
    flip: bool = param(False, "Mirror half of the training images left to right: only where that means nothing.")
    augment: Literal["off", "fixed", "adaptive"] = param(
        "off", "Transform what the discriminator sees, for sets of few images: with a fixed or an adapted probability."
    )
    augment_kinds: tuple[str, ...] = param(
        ("blit", "geometry", "colour"), "Kinds of transformation: blit (mirror, turn, shift), geometry, colour."
    )
    augment_p: float = param(0.0, "Probability of each transformation, or where an adapted one starts; at most 0.8.")
    augment_target: float = param(0.6, "Adapted: p rises while the mean sign of D(real) is above this.")
    augment_images: int = param(500_000, "Adapted: images in which p can rise from 0 to 1.")
    grid_every: int = param(
        1000, "Steps between sample grids, written where the training keeps its checkpoint; 0 = none."
    )
    weights: str = param(
        "", "Folder that `cfbench stylegan2 convert` wrote: its networks are used, and those are not trained."
    )
    weights_sha256: str = param("", "SHA-256 of the networks.safetensors in it.")

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)
        check_encoder(self)


@hookimpl
def cfbench_generators() -> Iterable[GeneratorSpec]:
    """Offer StyleGAN2 with e4e."""
    return [
        GeneratorSpec(
            name="stylegan2-e4e",
            factory="cfbench_stylegan2.model:StyleGAN2E4E",
            summary="StyleGAN2, and the e4e encoder that gives each image a style for every layer",
            params=StyleGAN2Params,
            presets=PRESETS,
            citation=(
                "Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020; "
                "Tov et al., Designing an Encoder for StyleGAN Image Manipulation, SIGGRAPH 2021"
            ),
            provides=frozenset({"latent", "sampling"}),
            dims=(2,),
            heavy=True,
        )
    ]


@hookimpl
def cfbench_commands() -> Iterable[CommandSpec]:
    """Offer `cfbench stylegan2`."""
    yield CommandSpec(
        name="stylegan2",
        factory="cfbench_stylegan2.official.command:stylegan2",
        summary="Convert published weights of StyleGAN2 and e4e.",
    )
