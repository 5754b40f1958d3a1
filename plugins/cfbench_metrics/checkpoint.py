"""Weight files are read only after their checksum, and never unpickled."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cfbench.assets import locate, verify
from cfbench.specs import Asset


def load_asset(asset: Asset) -> Mapping[str, Tensor]:
    """Return the tensors of a declared weight file.

    Raises:
        ChecksumError: it is another file.
        DataError: it is not there.
    """
    return load_verified(locate(asset), asset.checksum)


def load_verified(path: Path, checksum: str) -> Mapping[str, Tensor]:
    """Return the tensors of a file that has this checksum."""
    verify(path, checksum)
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
