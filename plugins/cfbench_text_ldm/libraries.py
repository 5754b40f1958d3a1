"""The door to diffusers and transformers: imported late, and missed with a sentence."""

from typing import Any

from cfbench_nets import hub


def library(name: str) -> Any:
    """Return `diffusers`, `transformers`, `tokenizers` or `huggingface_hub` (see `cfbench_nets.hub.library`)."""
    return hub.library(name, "text-ldm")
