"""Where files land: the cfbench cache, and torch hub's checkpoint folder, which other programs share."""

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of everything that cfbench keeps: `$CFBENCH_HOME`, or the user's cache folder of cfbench."""
    chosen = os.environ.get("CFBENCH_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("cfbench", appauthor=False)


def store_folder() -> Path:
    """Return the folder of computed artifacts."""
    return home() / "store"


def data_folder() -> Path:
    """Return the folder of downloaded data."""
    return home() / "data"


def torch_checkpoints() -> Path:
    """Return the folder where `torch.hub` keeps weights, by its own rules and without importing torch.

    `$TORCH_HOME`, else `$XDG_CACHE_HOME/torch`, else `~/.cache/torch`; below it `hub/checkpoints`.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    torch_home = os.environ.get("TORCH_HOME", str(Path(cache) / "torch"))
    return Path(torch_home).expanduser().absolute() / "hub" / "checkpoints"
