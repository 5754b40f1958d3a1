"""Published networks: files of a pinned commit on the Hugging Face hub, in its cache, or in a folder.

Nothing but safetensors is read as weights. Nothing is fetched unless asked for. Imports nothing heavy by itself.
"""

import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cfbench.errors import DataError, OfflineError, PluginError

#: Neither counts who uses it, nor looks anything up, nor draws bars of its own: set before the first import.
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DISABLE_TELEMETRY": "YES",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Published:
    """Files of a repository on the hub at one commit, and who needs them."""

    who: str
    repo: str
    revision: str
    needed: tuple[str, ...]
    #: Files that are taken if they are there.
    maybe: tuple[str, ...] = ()


def library(name: str, who: str) -> Any:
    """Return `diffusers`, `transformers`, `tokenizers` or `huggingface_hub`, told to stay quiet.

    Raises PluginError, naming the extra to install, where it is missing.
    """
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"{who} needs the library {name}, and {error.name} is not installed: pip install 'cfbench[ldm]'"
        ) from error


def snapshot(files: Published, *, download: bool) -> Path:
    """Return the folder of a commit's files in the hub's cache, fetched first if `download`.

    Raises OfflineError, saying what to fetch and where to put it.
    """
    hub = library("huggingface_hub", files.who)
    try:
        path = hub.snapshot_download(
            files.repo,
            revision=files.revision,
            allow_patterns=[*files.needed, *files.maybe],
            local_files_only=not download,
        )
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        tried = (
            f"the hub did not give it ({error})" if download else "it is not in the hub's cache, and download is off"
        )
        raise OfflineError(_fetch(files, tried)) from error
    missing = [file for file in files.needed if not (Path(path) / file).is_file()]
    if missing:
        raise OfflineError(_fetch(files, f"{path} lacks {', '.join(missing)}"))
    return Path(path)


def require_files(who: str, folder: Path, needed: tuple[str, ...]) -> None:
    """Raise DataError unless the folder has the needed files; says why pickles are none."""
    missing = [file for file in needed if not (folder / file).is_file()]
    if not missing:
        return
    pickles = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.bin"))
    hint = (
        f"; it has {', '.join(pickles)}, which may run code when loaded and are not read: take the safetensors that "
        "the model's page offers, or convert them where you trust them"
        if pickles
        else ""
    )
    raise DataError(f"{who}: the folder {folder} lacks {', '.join(missing)}{hint}")


def digest(files: Iterable[Path]) -> str:
    """Return a SHA-256 over the contents of some files, in the order of their paths."""
    total = sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                total.update(block)
    return total.hexdigest()


def _fetch(files: Published, tried: str) -> str:
    """Say what to fetch, and where to put it."""
    cache = library("huggingface_hub", files.who).constants.HF_HUB_CACHE
    patterns = " ".join(f"'{pattern}'" for pattern in (*files.needed, *files.maybe))
    maybe = f"; whichever of {', '.join(files.maybe)} there is" if files.maybe else ""
    return (
        f"{files.who} needs {files.repo} at commit {files.revision}: {tried}. Set download: true, or where there is a "
        f"network:\n  hf download {files.repo} --revision {files.revision} --include {patterns}\n"
        f"and bring the cache folder {cache} here; or add `--local-dir FOLDER`, bring that folder, and name it in the "
        f"suite. Needed: {', '.join(files.needed)}{maybe}."
    )
