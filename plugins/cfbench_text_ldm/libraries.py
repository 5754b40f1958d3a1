"""The door to diffusers and transformers: imported late, told to stay quiet and offline, and missed with a sentence."""

import importlib
import os
from typing import Any

from cfbench.errors import PluginError

#: Neither counts who uses it, nor looks anything up, nor draws bars of its own: set before the first import.
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DISABLE_TELEMETRY": "YES",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def library(name: str) -> Any:
    """Return `diffusers`, `transformers`, `tokenizers` or `huggingface_hub`.

    Raises PluginError, naming the extra to install, where it is missing.
    """
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"text-ldm needs the library {name}, and {error.name} is not installed: pip install 'cfbench[ldm]'"
        ) from error
