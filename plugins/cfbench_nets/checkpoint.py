"""A training state in one safetensors file: written atomically, checked by digest when it is read, never a pickle."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 over names, dtypes, shapes and bytes."""
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(dtype=uint8).numpy().tobytes())
    return digest.hexdigest()


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, int | str]) -> None:
    """Write tensors and a few facts. A kill at any moment leaves the old file or the new one, never half of one."""
    # A copy of each: safetensors refuses tensors that share memory or are not laid out row by row.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    save_file(plain, temporary, {"facts": json.dumps(dict(facts)), "sha256": _digest(plain)})
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read_checkpoint(
    path: Path, facts: Mapping[str, int | str]
) -> tuple[dict[str, Tensor], dict[str, int | str]] | None:
    """Return tensors and facts, or None if there is no sound checkpoint with these facts (then one starts anew)."""
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (FileNotFoundError, SafetensorError):
        return None
    found: dict[str, int | str] = json.loads(meta.get("facts", "{}"))
    if meta.get("sha256") != _digest(tensors) or any(found.get(key) != value for key, value in facts.items()):
        return None
    return tensors, found
