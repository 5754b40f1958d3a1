"""Checkpoints of StyleGAN2 and e4e, read without unpickling them, as a folder that params `weights` names."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cfbench.errors import DataError
from cfbench_nets.archive import Archive, open_archive
from cfbench_nets.conversion import (
    Converted,
    Place,
    check_fit,
    misfits,
    new_folder,
    read_weight,
    refuse_existing,
    sha256_of,
)
from cfbench_nets.pickled import StoredTensor
from cfbench_stylegan2.e4e.encoder import Encoder
from cfbench_stylegan2.networks.discriminator import Discriminator
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.official.layout import (
    CONSTANT,
    MAPPING_LR,
    Sizes,
    check_filters,
    encoder_stages,
    is_ignored,
    places,
    sizes,
)
from cfbench_stylegan2.official.networks import MEANING, WEIGHTS, meaning
from cfbench_stylegan2.plugin import StyleGAN2Params

#: The averaged generator, which is evaluated, or that of the last step.
Copy = Literal["g_ema", "g"]
#: What e4e's authors call their encoder; that of pSp has the same tensors and combines them otherwise.
_E4E = "Encoder4Editing"
#: Pixels that their encoder sees.
_SIDE = 256


@dataclass(frozen=True)
class _Checkpoint:
    """What is taken from a checkpoint."""

    stored: Mapping[str, StoredTensor]
    #: Our networks, without weights, and where the tensors of the file go.
    networks: nn.ModuleDict
    places: Mapping[str, Place]
    #: What the generator's tensors are called.
    generator: str
    params: StyleGAN2Params
    #: What the weights mean, and what the file says of its training.
    meaning: Mapping[str, object]
    facts: Mapping[str, object]


def convert(source: Path, out: Path, copy: Copy = "g_ema") -> Converted:
    """Write the folder `out` from a checkpoint of StyleGAN2, or from one of e4e, which has encoder and generator.

    Raises DataError if `out` exists, if the file is no such checkpoint, or with the name and both shapes of every
    tensor that is missing, left over or of another shape.
    """
    refuse_existing(out)
    with open_archive(source) as archive:
        found = _e4e(archive) if "state_dict" in _content(archive) else _stylegan2(archive, copy)
        check_fit(
            f"{source} has other tensors than the networks that it names",
            misfits(found.stored, found.places, is_ignored),
        )
        check_filters(archive, found.stored, found.generator)
        weights = {place.ours: read_weight(archive, n, found.stored[n], place) for n, place in found.places.items()}
    about = {
        **found.facts,
        "networks": ", ".join(sorted(found.networks)),
        "source": source.name,
        "sha256": sha256_of(source),
    }
    with new_folder(out) as folder:
        _write(folder, found, weights, about)
    count = sum(weight.numel() for weight in found.networks.parameters())
    return Converted(out, sha256_of(out / WEIGHTS), count, about)


def suite_params(folder: Path) -> dict[str, object]:
    """Return the params that a suite needs for converted weights, beside `weights` and its digest."""
    said = json.loads((folder / MEANING).read_text(encoding="utf-8"))
    found: dict[str, object] = said["params"]
    return found


def _stylegan2(archive: Archive, copy: Copy) -> _Checkpoint:
    """Return what the public implementation of StyleGAN2 stored: a generator, and its discriminator if it is there."""
    stored = {f"{copy}.{name}": value for name, value in archive.tensors(copy).items()}
    found = sizes(stored, f"{copy}.")
    params, generator = _params(found), _generator(found)
    networks = nn.ModuleDict({"generator": generator})
    if isinstance(_content(archive).get("d"), dict):
        stored |= {f"d.{name}": value for name, value in archive.tensors("d").items()}
        with torch.device("meta"):
            networks["discriminator"] = Discriminator(found.pyramid, found.channels)
    wanted = places(networks, {"generator": f"{copy}.", "discriminator": "d."})
    return _Checkpoint(
        stored, networks, wanted, f"{copy}.", params, meaning(params, generator, found.channels), {"copy": copy}
    )


def _e4e(archive: Archive) -> _Checkpoint:
    """Return what e4e's authors stored: the encoder, the generator that it encodes for, and the mean latent."""
    content, stored = _content(archive), dict(archive.tensors("state_dict"))
    options = content.get("opts")
    options = options if isinstance(options, dict) else {}
    if options.get("encoder_type") != _E4E:
        raise DataError(
            f"{archive.path}: expected a checkpoint of e4e, whose opts say encoder_type {_E4E}, not "
            f"{options.get('encoder_type')}: other encoders (pSp) have the same tensors and mean other codes by them"
        )
    found = sizes(stored, "decoder.")
    blocks, widths = encoder_stages(stored)
    params = replace(_params(found), encoder_blocks=blocks, encoder_widths=widths, encoder_side=_SIDE)
    generator = _generator(found)
    with torch.device("meta"):
        encoder = Encoder(params, found.channels, found.pyramid.num_ws, found.style_dim, found.pyramid.side)
    networks = nn.ModuleDict({"generator": generator, "encoder": encoder})
    wanted = places(networks, {"generator": "decoder.", "encoder": "encoder."})
    # The mean latent is an entry of its own; without one, codes begin at zero.
    mean = wanted.pop("encoder.mean")
    if options.get("start_from_latent_avg"):
        wanted["latent_avg"] = mean
        if isinstance(stored_mean := content.get("latent_avg"), StoredTensor):
            stored["latent_avg"] = stored_mean
    facts = {name: options[name] for name in ("dataset_type", "stylegan_size") if name in options}
    return _Checkpoint(stored, networks, wanted, "decoder.", params, meaning(params, generator, found.channels), facts)


def _generator(found: Sizes) -> StyleGenerator:
    with torch.device("meta"):
        return StyleGenerator(found.pyramid, found.channels, found.style_dim, found.mapping_layers, MAPPING_LR)


def _params(found: Sizes) -> StyleGAN2Params:
    return StyleGAN2Params(
        constant_side=CONSTANT,
        channel_base=found.pyramid.channel_base,
        channel_max=found.pyramid.channel_max,
        style_dim=found.style_dim,
        mapping_layers=found.mapping_layers,
        mapping_lr=MAPPING_LR,
    )


def _content(archive: Archive) -> Mapping[object, object]:
    if not isinstance(archive.content, dict):
        raise DataError(f"{archive.path}: expected a training's checkpoint: a dictionary with an entry g_ema")
    return archive.content


def _write(folder: Path, found: _Checkpoint, weights: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
    """Write weights, what they mean, and where they come from. What no checkpoint has (counts of batches) is zero."""
    whole = {
        name: weights[name] if name in weights else torch.zeros(value.shape, dtype=value.dtype)
        for name, value in found.networks.state_dict().items()
    }
    save_file(whole, folder / WEIGHTS)
    defaults = asdict(StyleGAN2Params())
    own = {name: value for name, value in asdict(found.params).items() if value != defaults[name]}
    said = {
        **found.meaning,
        "encoder_side": found.params.encoder_side,
        "networks": sorted(found.networks),
        "params": own,
    }
    (folder / MEANING).write_text(json.dumps(said, indent=1), encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps(dict(about), indent=1), encoding="utf-8")
