"""The identity loss of e4e where images are no faces: cosine between features of a self-supervised ResNet-50."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from cfbench.assets import locate, verify
from cfbench.errors import DataError
from cfbench.specs import Asset
from cfbench_stylegan2.e4e.perceptual import Distance, as_rgb

#: MoCo v2, 800 epochs on ImageNet without labels; the checksum is the published prefix of its MD5.
MOCO = Asset(
    name="moco_v2_800ep_pretrain.pth.tar",
    url="https://dl.fbaipublicfiles.com/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",
    checksum="md5:a04e12f8",
    place="torch",
    licence="CC-BY-NC-4.0 (facebookresearch/moco)",
)
#: Where the query encoder's weights are in its state.
_PREFIX = "module.encoder_q."
#: Pixels that the network sees.
_SIDE = 224


def require_moco() -> None:
    """Raise DataError or ChecksumError, saying what to do, if the published weights are not there."""
    path = locate(MOCO)
    if not path.is_file():
        raise DataError(
            f"encoder_identity moco needs {path}: download it from {MOCO.url}, or set encoder_identity to none"
        )
    verify(path, MOCO.checksum)


def moco_distance(device: str) -> Distance:
    """Return 1 - cosine of the pooled features of MoCo v2's ResNet-50 (He et al. 2020; Tov et al. 2021).

    Raises DataError or ChecksumError without its weights. Nothing is downloaded or unpickled.
    """
    require_moco()
    found = torch.load(locate(MOCO), map_location="cpu", weights_only=True)
    return cosine_distance(resnet(found["state_dict"]).to(device))


def resnet(state: Mapping[str, Tensor]) -> nn.Module:
    """Return the query encoder of a MoCo checkpoint, up to the pooled features. Raises DataError if it is none."""
    from torchvision.models import resnet50  # takes a second to import

    wanted = {
        name.removeprefix(_PREFIX): value
        for name, value in state.items()
        if name.startswith(_PREFIX) and not name.startswith(f"{_PREFIX}fc.")
    }
    with torch.device("meta"):
        network = resnet50()
    network.fc = nn.Identity()
    try:
        network.load_state_dict(wanted, assign=True)
    except RuntimeError as error:
        raise DataError(f"expected the ResNet-50 of a MoCo checkpoint: {error}") from error
    ready: nn.Module = network.eval().requires_grad_(False)
    return ready


def cosine_distance(network: nn.Module) -> Distance:
    """Return the mean of 1 - cosine(f(x), f(y)) for images in [-1, 1], resized by nearest pixels as published."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        features = network(F.interpolate(as_rgb(torch.cat([x, y])), size=(_SIDE, _SIDE)))
        a, b = F.normalize(features, dim=1).chunk(2)
        return 1 - (a * b).sum(dim=1).mean()

    return distance
