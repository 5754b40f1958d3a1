"""Converted networks, loaded for a suite that names their digest."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cfbench.errors import DataError
from cfbench.protocols import Context
from cfbench.specs import DatasetInfo
from cfbench_nets.converted import converted_weights
from cfbench_nets.weights import load_weights
from cfbench_stylegan2.e4e.encoder import Encoder
from cfbench_stylegan2.e4e.fit import new_encoder
from cfbench_stylegan2.networks.build import new_discriminator, new_generator
from cfbench_stylegan2.networks.discriminator import Discriminator
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.plugin import StyleGAN2Params

#: File with all networks, each below its name, and the one beside it that says what they mean.
WEIGHTS, MEANING = "networks.safetensors", "networks.json"


@dataclass(frozen=True)
class Networks:
    """What a folder of converted weights has; None: it has to be trained, or done without."""

    generator: StyleGenerator
    discriminator: Discriminator | None
    encoder: Encoder | None


def meaning(params: StyleGAN2Params, generator: StyleGenerator, channels: int) -> dict[str, object]:
    """Return what weights of these shapes mean, and shapes that are worth a sentence of their own."""
    return {
        "channels": channels,
        "padded_side": generator.side,
        "num_ws": generator.num_ws,
        "style_dim": params.style_dim,
        "mapping_lr": params.mapping_lr,
    }


def converted_networks(params: StyleGAN2Params, data: DatasetInfo, context: Context) -> Networks:
    """Return the networks in the folder that params `weights` names, in evaluation mode.

    Raises ChecksumError if they are not those with `weights_sha256`, and DataError if they do not fit these params and
    this dataset.
    """
    generator = new_generator(params, data, context)
    wanted = meaning(params, generator, data.channels)
    path = converted_weights(Path(params.weights) / WEIGHTS, params.weights_sha256, wanted, "cfbench stylegan2 convert")
    said = json.loads(path.with_name(MEANING).read_text(encoding="utf-8"))
    discriminator = encoder = None
    if "discriminator" in said["networks"]:
        discriminator = new_discriminator(params, data, context)
    if "encoder" in said["networks"]:
        _check_encoder(params, said, path.parent)
        encoder = new_encoder(params, data.channels, generator, context)
    parts = {"generator": generator, "discriminator": discriminator, "encoder": encoder}
    whole = nn.ModuleDict({name: part for name, part in parts.items() if part is not None})
    load_weights(whole, path)
    whole.requires_grad_(requires_grad=False).eval()
    return Networks(generator, discriminator, encoder)


def _check_encoder(params: StyleGAN2Params, said: dict[str, int], folder: Path) -> None:
    if params.encoder_side != said["encoder_side"]:
        raise DataError(
            f"{folder}: its encoder looks at images of {said['encoder_side']} pixels: set encoder_side to that, not "
            f"{params.encoder_side}"
        )
