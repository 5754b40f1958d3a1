"""LPIPS, the learned perceptual distance, with its official weights or not at all."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lpips as library
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cfbench.errors import DataError, UndefinedError
from cfbench.protocols import Context
from cfbench.specs import NoParams
from cfbench.types import Images, Values, View
from cfbench_metrics import weights
from cfbench_metrics.checkpoint import load_asset, load_verified
from cfbench_metrics.color import rgb
from cfbench_metrics.columns import pair_of

#: AlexNet's convolutions in torchvision's numbering, and the slice of the lpips trunk that holds each.
_CONVOLUTIONS = {0: "slice1", 3: "slice2", 6: "slice3", 8: "slice4", 10: "slice5"}
#: Pairs that go through the network at a time.
_BATCH = 16


def load_network(device: str) -> nn.Module:
    """Return LPIPS v0.1 on AlexNet with the published trunk and heads, both verified.

    Neither torchvision nor lpips downloads or unpickles anything.

    Raises:
        ChecksumError: a weight file is another one.
        DataError: the trunk is not there, or the file has other tensors than AlexNet.
    """
    heads = load_verified(Path(library.__file__).parent / "weights" / "v0.1" / "alex.pth", weights.LPIPS_HEADS)
    trunk = _trunk(load_asset(weights.ALEXNET))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision in a way that it calls deprecated
        network = library.LPIPS(net="alex", version="0.1", pretrained=False, pnet_rand=True, verbose=False)
    found = network.load_state_dict({**heads, **trunk}, strict=False)
    # what may be missing are the fixed channel scales and `lins.*`, second names of the heads
    lost = [key for key in found.missing_keys if not key.startswith(("scaling_layer.", "lins."))]
    if lost or found.unexpected_keys:
        raise DataError(f"the installed lpips has other tensors than LPIPS v0.1: {lost + found.unexpected_keys}")
    ready: nn.Module = network.eval().requires_grad_(False).to(device)
    return ready


def _trunk(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename torchvision's convolutions to those of lpips' trunk."""
    try:
        return {
            f"net.{part}.{number}.{kind}": state[f"features.{number}.{kind}"]
            for number, part in _CONVOLUTIONS.items()
            for kind in ("weight", "bias")
        }
    except KeyError as error:
        raise DataError(f"{weights.ALEXNET.name} has no tensor {error}; expected torchvision's AlexNet") from error


@torch.inference_mode()
def perceptual_distance(network: nn.Module, x: Images, y: Images) -> Values:
    """Return LPIPS of each line: `sum_l mean_hw sum_c w_lc (x_lc - y_lc)^2`, on unit-normalised AlexNet activations.

    Zhang et al., CVPR 2018, version 0.1, by the `lpips` package. Images in [0, 1], turned into RGB in [-1, 1] (grey
    replicated). From 0 for equal images to 7.734 at most (activations are not negative, so that a layer gives at most
    its two largest weights), in practice below 1.5; lower is better where closeness is the aim. Defined from one line
    on, and from 32 px on.

    Traps: the identity wins; [0, 1] images fed without rescaling give another, smaller number; the network has seen
    photographs only.
    """
    device = next(network.parameters()).device
    parts = [
        network(2 * rgb(a).to(device) - 1, 2 * rgb(b).to(device) - 1).flatten().cpu()
        for a, b in zip(torch.split(x, _BATCH), torch.split(y, _BATCH), strict=True)
    ]
    return torch.cat(parts)


def resized(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Return images whose shorter side is 64 px, bilinear, corners not aligned, antialiased where it shrinks."""
    height, width = x.shape[2:]
    shorter = min(height, width)
    size = (round(height * 64 / shorter), round(width * 64 / shorter))
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)


@dataclass
class LPIPS:
    """`lpips`; see `perceptual_distance`."""

    params: NoParams
    _network: nn.Module | None = field(default=None, init=False, repr=False)

    def score(self, view: View, context: Context) -> Values:
        """Return one distance per line. Raises UndefinedError below 32 px, ChecksumError for other weights."""
        x, x_out = pair_of(view)
        if self._network is None:
            self._network = load_network(context.device)
        return perceptual_distance(self._network, *self._prepared(x, x_out))

    def _prepared(self, x: Images, x_out: Images) -> tuple[Tensor, Tensor]:
        if min(x.shape[2:]) < 32:
            raise UndefinedError(f"AlexNet needs 32 pixels on each side, got {tuple(x.shape[2:])}; use lpips-resized")
        return x, x_out


@dataclass
class ResizedLPIPS(LPIPS):
    """`lpips-resized`: LPIPS of images that are first brought to 64 px, for those below 32 px.

    Trap: not comparable with `lpips`; interpolated pixels have no fine texture, so it is blind to it.
    """

    def _prepared(self, x: Images, x_out: Images) -> tuple[Tensor, Tensor]:
        return resized(rgb(x)), resized(rgb(x_out))
