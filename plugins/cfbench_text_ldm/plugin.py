"""Offers the text-conditioned latent diffusion `text-ldm`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import GeneratorSpec, param
from cfbench_text_ldm.checks import check
from cfbench_text_ldm.presets import PRESETS


@dataclass(frozen=True)
class TextLdmParams:
    """Parameters of the latent diffusion.

    The defaults are the shape and the noise schedule of Stable Diffusion v1, trained from scratch. Raises SuiteError
    for values that cannot work.
    """

    weights: str = param(
        "",
        "Folder, or name on the Hugging Face hub, of a pipeline in diffusers' layout to start from, its autoencoder "
        "frozen; empty: everything is trained from scratch.",
    )
    revision: str = param("", "Commit of `weights` on the hub: 40 hexadecimal digits.")
    weights_sha256: str = param("", "Digest of the weights in a folder; the error without it says which.")
    text_encoder: str = param(
        "", "Folder or hub name of a BERT to read prompts with; empty: the pipeline's own, or one from scratch."
    )
    text_revision: str = param("", "Its commit on the hub.")
    text_sha256: str = param("", "Digest of its weights in a folder.")
    download: bool = param(False, "Fetch from the hub what its cache lacks; otherwise nothing ever is.")
    size: int = param(0, "Side in pixels that images are resized to and back; 0: their own side, padded where needed.")

    ae_channels: int = param(128, "Channels of the autoencoder's first level.")
    ae_mult: tuple[int, ...] = param(
        (1, 2, 4, 4), "Channels of each level, in multiples of the first's; each but the first halves the image."
    )
    ae_blocks: int = param(2, "Residual blocks per level.")
    latent_channels: int = param(4, "Channels of the latent images.")
    kl_weight: float = param(1e-6, "Weight of the KL divergence against the absolute error, both summed over an image.")
    ae_steps: int = param(100_000, "Optimiser steps of the autoencoder.")
    ae_batch: int = param(32, "Images per optimiser step.")
    ae_lr: float = param(1e-4, "Its learning rate, or the peak.")
    ae_ema: float = param(0.999, "Decay of its averaged weights, warmed up.")

    token_length: int = param(77, "Tokens that a prompt is padded or cut to; there is no attention mask.")
    text_width: int = param(768, "Width of the text encoder that is trained from scratch.")
    text_layers: int = param(12, "Its layers.")
    text_heads: int = param(12, "Its attention heads.")

    channels: int = param(320, "Channels of the U-Net's first level.")
    channel_mult: tuple[int, ...] = param((1, 2, 4, 4), "Channels of each level, in multiples of the first's.")
    attention: tuple[bool, ...] = param(
        (True, True, True, False), "Whether the U-Net attends to itself and to the words at each level."
    )
    res_blocks: int = param(2, "Residual blocks per level.")
    heads: int = param(8, "Attention heads.")
    groups: int = param(32, "Groups of every group norm.")

    objective: Literal["epsilon", "v"] = param("epsilon", "What the U-Net predicts.")
    schedule: Literal["scaled_linear", "linear", "cosine"] = param("scaled_linear", "Noise schedule.")
    T: int = param(1000, "Steps of the noise schedule.")
    steps: int = param(100_000, "Optimiser steps of U-Net and text encoder on all cases; 0 = only the stages, if any.")
    batch: int = param(64, "Images per optimiser step.")
    lr: float = param(1e-4, "Learning rate of AdamW, or its peak.")
    rate: Literal["constant", "one-cycle"] = param("constant", "Course of the learning rate, the autoencoder's too.")
    weight_decay: float = param(0.01, "Weight decay, the stages' too.")
    ema: float = param(0.9999, "Decay of the averaged weights, warmed up.")
    null_prompt: float = param(0.1, "Share of training images whose prompt is emptied: what guidance departs from.")
    phrases: Literal["all", "subsets"] = param(
        "all", "Train on whole texts, or on random non-empty subsets of their comma-separated phrases."
    )
    label_words: float = param(
        0.0, "Share of the times that a training image is told by the dataset's words for its labels, not by its text."
    )
    leave_out: tuple[str, ...] = param((), "Training cases whose text mentions any of these words are left out.")
    precision: Literal["float32", "bfloat16"] = param("float32", "Arithmetic of the trainings' forward passes.")

    stage_words: tuple[str, ...] = param(
        (), "DreamBooth stages, in order: the words in the texts of a stage's cases; empty words take all cases."
    )
    stage_prompts: tuple[str, ...] = param((), "The prompt that each stage teaches; empty: each case's own text.")
    stage_classes: tuple[str, ...] = param((), "The prompt of each stage's prior images.")
    stage_steps: tuple[int, ...] = param((), "Optimiser steps of each stage.")
    stage_lr: float = param(5e-5, "Constant learning rate of the stages.")
    stage_batch: int = param(2, "Images of the class, and as many prior images, per optimiser step.")
    stage_null_prompt: float = param(0.0, "Share of prompts emptied in the stages; published: none.")
    prior_weight: float = param(1.0, "Weight of the prior images' error; 0 = no prior preservation.")
    prior_images: int = param(100, "Images that the model draws before each stage, to be kept able to.")

    sampler: Literal["ddim", "pndm"] = param("ddim", "DDIM, or PLMS with the steps of diffusers' PNDM scheduler.")
    start: Literal["noised", "inverted"] = param(
        "noised", "What editing starts from: the image with drawn noise (SDEdit), or DDIM inversion without words."
    )
    sample_steps: int = param(50, "Steps from noise to a sample.")
    guidance: float = param(4.0, "Guidance of samples; at or below 1 there is none.")

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        check(self)

    def missing(self) -> str:
        """Return which published weights are not on this machine and what to do, or nothing; asked before a run."""
        from cfbench_text_ldm.stock import missing

        return missing(self)


@hookimpl
def cfbench_generators() -> Iterable[GeneratorSpec]:
    """Offer the latent diffusion."""
    return [
        GeneratorSpec(
            name="text-ldm",
            factory="cfbench_text_ldm.model:TextLdm",
            libraries=("diffusers", "transformers"),
            install="pip install 'cfbench[ldm]'",
            loads=("pytorch_lightning", "cfbench_text_ldm.preload"),
            summary="latent diffusion under words: KL autoencoder, text encoder, U-Net; img2img with guidance",
            params=TextLdmParams,
            presets=PRESETS,
            citation="Rombach et al., High-resolution image synthesis with latent diffusion models, CVPR 2022; "
            "Siddiqui et al., Sci. Rep. 2025",
            provides=frozenset({"latent", "sampling", "editing"}),
            dims=(2,),
            heavy=True,
        )
    ]
