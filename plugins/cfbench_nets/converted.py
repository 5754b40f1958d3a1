"""Weights that a conversion wrote, found for a suite that names their digest."""

import json
from collections.abc import Mapping
from pathlib import Path

from cfbench.errors import ChecksumError, DataError
from cfbench_nets.conversion import sha256_of


def converted_weights(path: Path, sha256: str, meaning: Mapping[str, object], command: str) -> Path:
    """Return `path`, a safetensors file, after checking that it is the one that the suite means.

    `meaning` is what the weights must have been trained for, compared with the JSON file of the same name beside it;
    `command` is the one that writes such a folder. Raises ChecksumError if the file has another SHA-256, and DataError
    if it is not there or means something else.
    """
    if not path.is_file():
        raise DataError(f"expected weights in {path}: give the folder that `{command}` wrote")
    found = sha256_of(path)
    if found != sha256.lower():
        raise ChecksumError(f"{path} has the SHA-256 {found}, not {sha256 or 'none'}: set weights_sha256 to its own")
    said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    differ = [name for name in meaning if said.get(name) != meaning[name]]
    if differ:
        wrong = "; ".join(f"{name} is {said.get(name)}, not {meaning[name]}" for name in differ)
        raise DataError(f"{path.parent} holds weights of another kind: {wrong}")
    return path
