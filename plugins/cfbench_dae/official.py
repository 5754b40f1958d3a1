"""The authors' checkpoints (public code of Preechakul et al. 2022, and forks of it) as weights of this generator.

A PyTorch-Lightning checkpoint is read without unpickling it, its tensors are renamed, and the folder that `DAE.save`
would write is written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cfbench.errors import DataError, SuiteError
from cfbench.specs import DatasetInfo
from cfbench_dae.converted import WEIGHTS
from cfbench_dae.model import DAE
from cfbench_dae.network import Autoencoder
from cfbench_dae.official_keys import encoder_layers, unet_layers
from cfbench_dae.plugin import DaeParams
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
from cfbench_nets.half_unet import HalfUNet
from cfbench_nets.pickled import StoredTensor

#: The averaged weights, which the paper evaluates, or those of the last step.
Copy = Literal["ema_model", "model"]
#: Tensors that the autoencoder does not need: noise for sample images, statistics of training codes.
_BUFFERS = frozenset({"x_T", "conds", "conds_mean", "conds_std"})
#: The generator of codes, for unconditional samples, which checkpoints of the latent model hold besides.
_LATENT = "latent_net."
#: Parameters that make a template.
_TEMPLATE = (
    "channels",
    "channel_mult",
    "encoder_mult",
    "res_blocks",
    "attention_resolutions",
    "z_dim",
    "time_dim",
)
#: Channels, or pixels of a side, that are believed.
_LARGEST = 2**14


def convert(
    source: Path,
    out: Path,
    params: DaeParams,
    *,
    copy: Copy = "ema_model",
    channels: int | None = None,
    side: int | None = None,
) -> Converted:
    """Write the folder `out` from a checkpoint. `channels` and `side` (pixels) are the checkpoint's own where None.

    Raises SuiteError if `params` are no template of the authors', and DataError if `out` exists, if the file is no
    checkpoint, or with the name and both shapes of every tensor that is missing, left over or of another shape.
    """
    _check_template(params)
    refuse_existing(out)
    with open_archive(source) as archive:
        stored = archive.tensors("state_dict")
        channels = channels or _size(stored, f"{copy}.input_blocks.0.0.weight", 1, "--channels")
        side = side or _size(stored, "x_T", -1, "--side")
        dae = DAE(params, DatasetInfo(channels=channels, space=(side, side), labels={}, fingerprint=""))
        with torch.device("meta"):
            dae.network = Autoencoder(params, channels, dims=2, side=max(dae.space))
        places = _places(dae.network, copy)
        what = f"{source} is not a checkpoint of this preset, number of channels and size of images"
        check_fit(what, misfits(stored, places, lambda name: _ignored(name, copy)))
        weights = {place.ours: read_weight(archive, name, stored[name], place) for name, place in places.items()}
        about = {"copy": copy, **_facts(archive, stored, places)}
    _fill(dae.network, weights)
    about |= {"source": source.name, "sha256": sha256_of(source)}
    about |= {"template": {name: getattr(params, name) for name in _TEMPLATE}}
    _write(dae, out, about)
    count = sum(value.numel() for value in weights.values())
    return Converted(out, sha256_of(out / WEIGHTS), count, about)


def _check_template(params: DaeParams) -> None:
    """Refuse parameters under which the same weights would mean something else: nothing in their shapes shows it."""
    wanted = {"groups": 32, "standardise": False, "objective": "epsilon"}
    found = {name: getattr(params, name) for name in wanted}
    wrong = [f"{name} is {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    if wrong:
        raise SuiteError(f"this preset is none of the public implementation's: {'; '.join(wrong)}")


def _size(stored: Mapping[str, StoredTensor], name: str, axis: int, option: str) -> int:
    """Return a size that the checkpoint tells."""
    shape = stored[name].shape if name in stored else ()
    if len(shape) != 4 or not 0 < shape[axis] <= _LARGEST:
        raise DataError(f"the checkpoint has no tensor {name} that would tell this size: give it as {option}")
    return shape[axis]


def _places(network: Autoencoder, copy: Copy) -> dict[str, Place]:
    """Return where each tensor of the checkpoint goes, by its full name."""
    encoder = network.encoder
    if not isinstance(encoder, HalfUNet):
        raise TypeError("expected an encoder without standardisation")
    state = network.state_dict()
    places = {}
    for theirs, ours, layers in (
        (copy, "unet", unet_layers(network.unet)),
        (f"{copy}.encoder", "encoder", encoder_layers(encoder)),
    ):
        for layer in layers:
            for kind, ones in (("weight", layer.ones), ("bias", 0)):
                name = f"{ours}.{layer.ours}.{kind}"
                here = tuple(state[name].shape)
                places[f"{theirs}.{layer.theirs}.{kind}"] = Place(name, (*here, *(1,) * ones), here)
    return places


def _ignored(name: str, copy: Copy) -> bool:
    """Return whether a tensor is known not to be needed."""
    group, _, rest = name.partition(".")
    return name in _BUFFERS or (group in {"model", "ema_model"} and (group != copy or rest.startswith(_LATENT)))


def _facts(archive: Archive, stored: Mapping[str, StoredTensor], places: Mapping[str, Place]) -> dict[str, object]:
    """Return what the checkpoint says of itself."""
    content = archive.content if isinstance(archive.content, dict) else {}
    facts = {name: content.get(name) for name in ("epoch", "global_step", "pytorch-lightning_version")}
    left = sorted({".".join(name.split(".")[:2]) for name in stored if name not in places})
    return {**{name: value for name, value in facts.items() if isinstance(value, int | str)}, "ignored": left}


def _fill(network: Autoencoder, weights: Mapping[str, Tensor]) -> None:
    """Give an empty network its weights. What no checkpoint has, the whitening, stays the identity."""
    whitening = type(network.whitening)(network.whitening.mean.numel())
    rest = {f"whitening.{name}": value for name, value in whitening.state_dict().items()}
    network.load_state_dict({**weights, **rest}, assign=True)


def _write(dae: DAE, out: Path, about: Mapping[str, object]) -> None:
    """Write the folder at once."""
    with new_folder(out) as folder:
        dae.save(folder)
        (folder / "provenance.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
