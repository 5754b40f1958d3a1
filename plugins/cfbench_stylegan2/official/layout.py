"""What a checkpoint's tensors say of its networks, and where each tensor goes.

The public PyTorch implementation of StyleGAN2 (rosinality) names its tensors as our networks do; so do the encoders of
e4e's authors. What remains is to find the sizes, to check the filters, and to name everything that does not fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from cfbench.errors import DataError
from cfbench_nets.archive import Archive
from cfbench_nets.conversion import Place
from cfbench_nets.pickled import StoredTensor
from cfbench_stylegan2.networks.fir import kernel
from cfbench_stylegan2.networks.sides import Pyramid, pyramid

#: What the public implementation does not store and nothing in the shapes shows: the learnt constant's side, and the
#: learning rate of the mapping, by which its weights are scaled when they are used.
CONSTANT, MAPPING_LR = 4, 0.01
#: Largest size that is believed, and most doublings and mapping layers.
_LARGEST, _MOST = 2**14, 32
#: Last part of the names of FIR filters, and of counts that nothing needs.
_FILTER, _COUNT = ".kernel", ".num_batches_tracked"


@dataclass(frozen=True)
class Sizes:
    """Sizes of the generator of a checkpoint."""

    pyramid: Pyramid
    channels: int
    style_dim: int
    mapping_layers: int


def sizes(stored: Mapping[str, StoredTensor], prefix: str) -> Sizes:
    """Return the sizes that the shapes of a generator's tensors tell. Raises DataError if they tell none."""
    doublings = _count(stored, f"{prefix}to_rgbs.%d.bias", range(_MOST))
    mapping = _count(stored, f"{prefix}style.%d.weight", range(1, _MOST))
    first = _shape(stored, f"{prefix}input.input", 4)
    if first[2:] != (CONSTANT, CONSTANT) or not doublings or not mapping:
        raise DataError(
            f"the tensors of {prefix.rstrip('.')} are not those of a StyleGAN2 that starts from {CONSTANT} x "
            f"{CONSTANT} pixels: {doublings} doublings, {mapping} mapping layers, constant {first}"
        )
    side = int(CONSTANT * 2**doublings)
    last = _shape(stored, f"{prefix}convs.{2 * doublings - 1}.conv.weight", 5)[1]
    return Sizes(
        pyramid(side, CONSTANT, last * side, first[1]),
        _shape(stored, f"{prefix}to_rgb1.conv.weight", 5)[1],
        _shape(stored, f"{prefix}style.1.weight", 2)[0],
        mapping,
    )


def encoder_stages(stored: Mapping[str, StoredTensor]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return blocks and width of each stage of an encoder's backbone: blocks in a row that have the same width."""
    name = "encoder.body.%d.res_layer.1.weight"
    blocks = _count(stored, name, range(_MOST * _MOST))
    widths = [_shape(stored, name % number, 4)[0] for number in range(blocks)]
    runs = [(width, len(list(run))) for width, run in groupby(widths)]
    return tuple(n for _, n in runs), tuple(width for width, _ in runs)


def places(networks: nn.ModuleDict, theirs: Mapping[str, str]) -> dict[str, Place]:
    """Return where each tensor of the checkpoint goes; `theirs` has their prefix for each of our networks."""
    found = {}
    for name, value in networks.state_dict().items():
        network, _, rest = name.partition(".")
        if not name.endswith(_COUNT):
            shape = tuple(value.shape)
            found[f"{theirs[network]}{rest}"] = Place(name, shape, shape)
    return found


def is_ignored(name: str) -> bool:
    """Return whether a tensor is known not to be needed: filters, which are checked, and counts of batches."""
    return name.endswith((_FILTER, _COUNT))


def check_filters(archive: Archive, stored: Mapping[str, StoredTensor], generator: str) -> None:
    """Raise DataError naming a stored FIR filter that is not (1, 3, 3, 1).

    Filters of the generator (names that begin so) double a size and sum to 4, others sum to 1.
    """
    for name, value in stored.items():
        if name.endswith(_FILTER):
            wanted = kernel(gain=4 if name.startswith(generator) else 1)
            if value.shape != (4, 4) or not torch.allclose(archive.read(name, value), wanted, atol=1e-4):
                raise DataError(
                    f"{archive.path}: {name} is another filter than (1, 3, 3, 1), which this generator has: "
                    "the same weights would make other images"
                )


def _shape(stored: Mapping[str, StoredTensor], name: str, dimensions: int) -> tuple[int, ...]:
    shape = stored[name].shape if name in stored else ()
    if len(shape) != dimensions or not all(0 < size <= _LARGEST for size in shape):
        raise DataError(f"expected a tensor {name} of {dimensions} dimensions, which every StyleGAN2 has, not {shape}")
    return shape


def _count(stored: Mapping[str, StoredTensor], pattern: str, numbers: range) -> int:
    """Return how many tensors there are before the first gap."""
    return next((i - numbers.start for i in numbers if pattern % i not in stored), 0)
