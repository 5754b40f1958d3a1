"""Three channels for networks that were trained on photographs."""

from jaxtyping import Float
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.types import Images


def rgb(x: Images) -> Float[Tensor, "b 3 h w"]:
    """Return 2D images with three channels, grey ones replicated; a view, not a copy.

    Raises:
        UndefinedError: volumes, or neither one nor three channels.
    """
    if x.ndim != 4 or x.shape[1] not in {1, 3}:
        raise UndefinedError(f"this network sees 2D images of 1 or 3 channels, got the shape {tuple(x.shape[1:])}")
    return x.expand(-1, 3, -1, -1)
