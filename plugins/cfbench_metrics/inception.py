"""Features of the Inception network that FID and KID are defined on."""

from unittest.mock import patch

import torch
from jaxtyping import Float
from pytorch_fid import inception as library
from torch import Tensor, nn

from cfbench.protocols import Context
from cfbench.types import Images
from cfbench_metrics import weights
from cfbench_metrics.checkpoint import load_asset
from cfbench_metrics.color import rgb

#: Images that go through the network at a time: 299 x 299 pixels each, whatever their own size.
_BATCH = 16


def load_network(device: str) -> nn.Module:
    """Return pytorch-fid's Inception, up to its last pooling, with the verified weights.

    Raises:
        ChecksumError: the weight file is another one.
        DataError: it is not there.
    """
    state = load_asset(weights.INCEPTION)
    # pytorch-fid's builder downloads and unpickles its weights by itself; it is handed the verified ones instead
    with (
        patch.object(library, "load_state_dict_from_url", lambda *_, **__: state),
        torch.random.fork_rng(devices=[]),
    ):
        network = library.InceptionV3([library.InceptionV3.DEFAULT_BLOCK_INDEX])
    ready: nn.Module = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    return ready


@torch.inference_mode()
def inception_features(x: Images, context: Context) -> Float[Tensor, "b 2048"]:
    """Return the 2048 pooled features of each image.

    As pytorch-fid: RGB in [0, 1] (grey replicated), bilinear to 299 x 299 without antialiasing, then [-1, 1]. Unlike
    its command line no 8-bit file lies between: values are not rounded to 1/255.
    """
    network = load_network(context.device)
    parts = []
    for batch in torch.split(x, _BATCH):
        parts.append(network(rgb(batch).to(context.device))[0].flatten(1).cpu())
        context.progress(sum(map(len, parts)), len(x), "Inception features")
    return torch.cat(parts)
