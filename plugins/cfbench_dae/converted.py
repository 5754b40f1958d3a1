"""Weights that `cfbench dae convert` wrote, loaded for a suite that names their digest."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from cfbench_nets.converted import converted_weights
from cfbench_nets.weights import load_weights

#: File with the weights, as the generator saves itself.
WEIGHTS = "dae.safetensors"


def load_converted(network: nn.Module, folder: Path, sha256: str, meaning: Mapping[str, object]) -> None:
    """Load converted weights into a network of the same template.

    `meaning` is what the weights must have been trained for (objective, schedule, T, channels), as in `dae.json`; the
    size of the images may differ, as long as attention stays where it was. Raises ChecksumError if the weights are not
    those with this SHA-256, and DataError if anything else does not fit.
    """
    lasting = {name: value for name, value in meaning.items() if name != "space"}
    load_weights(network, converted_weights(folder / WEIGHTS, sha256, lasting, "cfbench dae convert"))
