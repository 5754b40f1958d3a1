"""Features of DINOv2, a network that has learnt without labels, and distances between sets of images in them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cfbench.errors import ChecksumError, DataError
from cfbench.protocols import Context
from cfbench.types import Images
from cfbench_metrics.color import rgb
from cfbench_metrics.floor import Floor
from cfbench_metrics.frechet import frechet_distances
from cfbench_metrics.image_distance import ImageDistance, seen_by
from cfbench_metrics.kernel import kernel_distances
from cfbench_metrics.networks import FILES, Dinov2, Dinov2Floor
from cfbench_nets.hub import digest, library

#: Images that go through the network at a time.
_BATCH = 16


@dataclass(frozen=True)
class Seer:
    """A network and the channels' means and spreads that it was trained with."""

    network: nn.Module
    mean: tuple[float, ...]
    spread: tuple[float, ...]


def load_seer(params: Dinov2, device: str) -> Seer:
    """Return transformers' DINOv2 with the verified files of `params`.

    Raises:
        ChecksumError: a file is another one.
        DataError: files are not there, or are those of another kind of network.
        OfflineError: the hub's cache lacks them.
        PluginError: transformers is not installed.
    """
    folder = params.files()
    _verify(folder, params.sha256)
    config, images = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (FILES[0], FILES[2]))
    _require_dinov2(config, params.side)
    transformers = library("transformers", "DINOv2")
    with torch.random.fork_rng(devices=[]):
        network, loaded = transformers.Dinov2Model.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    if loaded["missing_keys"]:  # they would be random numbers
        raise DataError(f"{folder / FILES[1]} lacks tensors of DINOv2: {', '.join(sorted(loaded['missing_keys'])[:5])}")
    ready: nn.Module = network.eval().requires_grad_(False).to(device)
    return Seer(ready, tuple(images["image_mean"]), tuple(images["image_std"]))


def _verify(folder: Path, expected: tuple[str, ...]) -> None:
    for name, checksum in zip(FILES, expected, strict=True):
        found = digest([folder / name])
        if found != checksum:
            raise ChecksumError(
                f"{folder / name} has the SHA-256 {found}, expected {checksum}; if this is the network that is meant, "
                "state the checksums of its files in `sha256`"
            )


def _require_dinov2(config: dict[str, Any], side: int) -> None:
    if config.get("model_type") != "dinov2":
        raise DataError(f"expected a network of the type dinov2 (without registers), got {config.get('model_type')!r}")
    if side % config["patch_size"]:
        raise DataError(f"side must be a multiple of the network's patch, {config['patch_size']} pixels, got {side}")


def prepared(
    x: Images, side: int, mean: tuple[float, ...], spread: tuple[float, ...]
) -> Float[Tensor, "b 3 {side} {side}"]:
    """Return RGB images in [0, 1] (grey replicated) as the network wants them: of one size, in standard deviations.

    The whole image, bicubic, antialiased where it shrinks, overshoot cut off at 0 and 1. transformers' own processor
    resizes the shorter side and cuts off what lies outside the middle square; nothing of a medical image is cut here.
    """
    sized = functional.interpolate(rgb(x), size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    middle, width = (torch.tensor(each, dtype=x.dtype).reshape(3, 1, 1) for each in (mean, spread))
    return (sized.clamp(0, 1) - middle) / width


@dataclass(frozen=True)
class Dinov2Features:
    """The class token of each 2D image after the last layer norm (ViT-S: 384 numbers); batches of 16."""

    params: Dinov2

    @torch.inference_mode()
    def __call__(self, x: Images, context: Context) -> Float[Tensor, "b d"]:
        """Return the features of images in [0, 1]; raises as `load_seer`, and UndefinedError for volumes."""
        seer = load_seer(self.params, context.device)
        parts = []
        for batch in torch.split(x, _BATCH):
            ready = prepared(batch.cpu(), self.params.side, seer.mean, seer.spread)
            parts.append(seer.network(ready.to(context.device)).pooler_output.cpu())
            context.progress(sum(map(len, parts)), len(x), "DINOv2 features")
        return torch.cat(parts)


def fd_dinov2(params: Dinov2) -> ImageDistance:
    """Make `fd-dinov2`: `frechet_distances` in DINOv2's features (Oquab et al., TMLR 2024, by transformers).

    After the FDD of Stein et al., NeurIPS 2023, who use ViT-L. From 100 images on; with 384 features read it beside
    `fd-dinov2-floor`. Sets of unequal size are refused.

    Traps: a number of these very weights and this size of image, none of the published FDD; the default has seen
    photographs only.
    """
    return ImageDistance(Dinov2Features(params), frechet_distances, biased=True)


def kid_dinov2(params: Dinov2) -> ImageDistance:
    """Make `kid-dinov2`: `kernel_distances` in DINOv2's features. From 50 images on, with its interval."""
    return ImageDistance(Dinov2Features(params), kernel_distances, biased=False)


def fd_dinov2_floor(params: Dinov2Floor) -> Floor:
    """Make `fd-dinov2-floor`: what `fd-dinov2` is between real images and as many others; see `real_floor`."""
    return Floor(seen_by("dinov2", Dinov2Features(params)), params.at)
