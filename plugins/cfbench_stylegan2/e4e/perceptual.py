"""Perceptual distances between images in [-1, 1]: by official LPIPS, or by the features of a discriminator."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cfbench.assets import locate, verify
from cfbench.errors import DataError
from cfbench.specs import Asset

#: A distance: images, images -> their mean distance.
Distance = Callable[[Tensor, Tensor], Tensor]
#: The trunk of LPIPS: torchvision's AlexNet (`AlexNet_Weights.IMAGENET1K_V1`).
ALEXNET = Asset(
    name="alexnet-owt-7be5be79.pth",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    checksum="sha256:7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    size=244_408_911,
    place="torch",
    licence="BSD-3-Clause (torchvision)",
)
#: The linear heads of LPIPS v0.1 for AlexNet; they come with the `lpips` wheel.
HEADS = "sha256:df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
#: AlexNet's convolutions in torchvision's numbering, and the slice of the lpips trunk that holds each.
_CONVOLUTIONS = {0: "slice1", 3: "slice2", 6: "slice3", 8: "slice4", 10: "slice5"}
#: Added to norms, as LPIPS does.
_EPSILON = 1e-10


def require_lpips() -> None:
    """Raise DataError or ChecksumError, saying what to do, if AlexNet's official weights are not there."""
    path = locate(ALEXNET)
    if not path.is_file():
        raise DataError(
            f"encoder_perceptual lpips needs {path}: `cfbench data fetch` gets it for suites with the metric lpips "
            f"(from {ALEXNET.url}); or set encoder_perceptual to discriminator"
        )
    verify(path, ALEXNET.checksum)


def lpips_distance(device: str) -> Distance:
    """Return LPIPS v0.1 on AlexNet (Zhang et al. 2018) with its official weights; grey images count as RGB.

    Raises DataError or ChecksumError without them. Nothing is downloaded or unpickled.
    """
    require_lpips()
    import lpips as library

    heads = _verified(Path(library.__file__).parent / "weights" / "v0.1" / "alex.pth", HEADS)
    trunk = _verified(locate(ALEXNET), ALEXNET.checksum)
    renamed = {
        f"net.{part}.{number}.{kind}": trunk[f"features.{number}.{kind}"]
        for number, part in _CONVOLUTIONS.items()
        for kind in ("weight", "bias")
    }
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision in a way that it calls deprecated
        network = library.LPIPS(net="alex", version="0.1", pretrained=False, pnet_rand=True, verbose=False)
    network.load_state_dict({**heads, **renamed}, strict=False)
    network.eval().requires_grad_(False).to(device)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return network(as_rgb(x), as_rgb(y)).mean()

    return distance


def feature_distance(discriminator: nn.Module) -> Distance:
    """Return the distance between features of a discriminator, which has learnt the images and no labels.

    As LPIPS, without learnt weights: after the first layer and each residual block, features are divided by their norm
    over channels; the squared differences are summed over channels and averaged over pixels, then over the layers.
    """
    layers = discriminator.get_submodule("convs")
    if not isinstance(layers, nn.Sequential):
        raise TypeError("expected a discriminator whose layers are a sequence, convs")
    layers.eval().requires_grad_(False)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        both, per_layer = torch.cat([x, y]), []
        for layer in layers:
            both = layer(both)
            a, b = (both / (both.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)).chunk(2)
            per_layer.append((a - b).square().sum(dim=1).mean())
        return torch.stack(per_layer).mean()

    return distance


def as_rgb(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
    """Return grey images with three equal channels, colour images as they are."""
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def _verified(path: Path, checksum: str) -> Mapping[str, Tensor]:
    verify(path, checksum)
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
