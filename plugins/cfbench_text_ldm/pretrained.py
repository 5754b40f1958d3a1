"""Published weights: a folder in diffusers' layout, or a pinned commit on the Hugging Face hub and in its cache.

Nothing but safetensors is read as weights. Nothing is fetched unless asked for.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cfbench.errors import DataError, SuiteError
from cfbench_nets.hub import Published, digest, require_files, snapshot
from cfbench_text_ldm.parts import TEXT, TOKENS, UNET, VAE
from cfbench_text_ldm.schedule import FIRST, LAST

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams

#: Files of each network's folder.
DIFFUSION = ("config.json", "diffusion_pytorch_model.safetensors")
READER = ("config.json", "model.safetensors")
#: Files that a tokenizer may have; which ones depends on its kind.
TOKEN_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
SCHEDULER = "scheduler/scheduler_config.json"
PIPELINE = (SCHEDULER, *(f"{part}/{name}" for part in (UNET, VAE) for name in DIFFUSION))
OWN_TEXT = tuple(f"{TEXT}/{name}" for name in READER)
OWN_TOKENS = tuple(f"{TOKENS}/{name}" for name in TOKEN_FILES)


def pipeline_folder(params: "TextLdmParams") -> Path:
    """Return the folder of the pipeline that `weights` names; with its text encoder unless another one is named."""
    own = not params.text_encoder
    needed = (*PIPELINE, *(OWN_TEXT if own else ()))
    wanted = (params.weights, params.revision, params.weights_sha256)
    return _folder("weights", "revision", wanted, needed, OWN_TOKENS if own else (), params.download)


def reader_folder(params: "TextLdmParams") -> Path:
    """Return the folder of the BERT that `text_encoder` names."""
    wanted = (params.text_encoder, params.text_revision, params.text_sha256)
    return _folder("text_encoder", "text_revision", wanted, READER, TOKEN_FILES, params.download)


def check_schedule(folder: Path, params: "TextLdmParams") -> None:
    """Raise SuiteError where the pipeline's noise schedule is not the one that the parameters name."""
    found = json.loads((folder / SCHEDULER).read_text(encoding="utf-8"))
    wanted: dict[str, object] = {
        "num_train_timesteps": params.T,
        "beta_schedule": params.schedule,
        "prediction_type": {"epsilon": "epsilon", "v": "v_prediction"}[params.objective],
    }
    if params.schedule == "scaled_linear":
        wanted |= {"beta_start": FIRST, "beta_end": LAST}
    # Old configurations do not name what is predicted: it is epsilon.
    found.setdefault("prediction_type", "epsilon")
    wrong = [
        f"{name} is {found.get(name)!r}, not {value!r}" for name, value in wanted.items() if found.get(name) != value
    ]
    if wrong:
        raise SuiteError(
            f"text-ldm: {folder / SCHEDULER} is of another schedule than these parameters: {'; '.join(wrong)}; set "
            "T, schedule and objective to what the weights were trained with"
        )


def _folder(
    name: str, pin: str, wanted: tuple[str, str, str], needed: tuple[str, ...], maybe: tuple[str, ...], download: bool
) -> Path:
    """Return a folder that has the needed files: the one named, or the hub's snapshot."""
    where, revision, known = wanted
    folder = Path(where).expanduser()
    if folder.is_dir():
        require_files("text-ldm", folder, needed)
        _check_digest(name, folder, needed, known)
        return folder
    if where.count("/") != 1 or where.startswith((".", "/", "~")):
        raise DataError(f"text-ldm: {name}: there is no folder {where}; expected one with {', '.join(needed)}")
    if not revision:
        raise SuiteError(f"text-ldm: {name} is {where} on the hub: {pin} must pin its commit")
    return snapshot(Published("text-ldm", where, revision, needed, maybe), download=download)


def _check_digest(name: str, folder: Path, needed: tuple[str, ...], known: str) -> None:
    found = digest(folder / file for file in needed)
    if found != known:
        field = {"weights": "weights_sha256", "text_encoder": "text_sha256"}[name]
        said = f"not {known}" if known else "and the suite does not say so"
        raise SuiteError(
            f"text-ldm: the digest of {folder} is {found}, {said}: set {field} to it if these are the weights that "
            "are meant (results of other weights are kept apart by it)"
        )
