"""Where published weights lie: a folder in diffusers' layout, or a pinned commit in the hub's cache.

Looked up when a suite is planned, so that weights which are not there are a skip that says what to fetch, and again
when they are read. Imports nothing heavy. Nothing is fetched unless asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cfbench.errors import DataError, OfflineError, SuiteError
from cfbench_nets.hub import Published, require_files, snapshot

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams

#: The networks' folders, as a pipeline of diffusers has them.
UNET, VAE, TEXT, TOKENS = "unet", "vae", "text_encoder", "tokenizer"
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


@dataclass(frozen=True)
class Wanted:
    """Weights that the parameters name."""

    #: Parameter that names them.
    name: str
    #: Parameter that pins their commit on the hub.
    pin: str
    #: Parameter that gives the digest of their folder.
    digest: str
    #: Folder, or name on the hub.
    where: str
    revision: str
    sha256: str
    needed: tuple[str, ...]
    #: Files that are taken if they are there.
    maybe: tuple[str, ...]

    @property
    def folder(self) -> Path | None:
        """The named folder, if `where` is one."""
        folder = Path(self.where).expanduser()
        return folder if folder.is_dir() else None


def pipeline(params: "TextLdmParams") -> Wanted:
    """Return the pipeline that `weights` names; with its text encoder unless another one is named."""
    own = not params.text_encoder
    return Wanted(
        name="weights",
        pin="revision",
        digest="weights_sha256",
        where=params.weights,
        revision=params.revision,
        sha256=params.weights_sha256,
        needed=(*PIPELINE, *(OWN_TEXT if own else ())),
        maybe=OWN_TOKENS if own else (),
    )


def reader(params: "TextLdmParams") -> Wanted:
    """Return the BERT that `text_encoder` names."""
    return Wanted(
        name="text_encoder",
        pin="text_revision",
        digest="text_sha256",
        where=params.text_encoder,
        revision=params.text_revision,
        sha256=params.text_sha256,
        needed=READER,
        maybe=TOKEN_FILES,
    )


def located(wanted: Wanted, *, download: bool) -> Path:
    """Return a folder that has the needed files: the one named, or the hub's snapshot.

    Raises:
        DataError: there is no such folder, or it lacks some.
        SuiteError: a name on the hub without its commit.
        OfflineError: the hub's cache lacks them, and they were not to be fetched or could not be.
    """
    if wanted.folder:
        require_files("text-ldm", wanted.folder, wanted.needed)
        return wanted.folder
    if wanted.where.count("/") != 1 or wanted.where.startswith((".", "/", "~")):
        raise DataError(
            f"text-ldm: {wanted.name}: there is no folder {wanted.where}; expected one with {', '.join(wanted.needed)}"
        )
    if not wanted.revision:
        raise SuiteError(f"text-ldm: {wanted.name} is {wanted.where} on the hub: {wanted.pin} must pin its commit")
    return snapshot(
        Published("text-ldm", wanted.where, wanted.revision, wanted.needed, wanted.maybe), download=download
    )


def missing(params: "TextLdmParams") -> str:
    """Return which weights are not on this machine and what to do, or nothing; the hub is not asked."""
    named = [pipeline(params)] * bool(params.weights) + [reader(params)] * bool(params.text_encoder)
    for wanted in named:
        if params.download and not wanted.folder:
            continue
        try:
            located(wanted, download=False)
        except (DataError, OfflineError) as error:
            return str(error)
    return ""
