"""How a dataset's images become those of the networks, and back: padded or resized, grey repeated to colours."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.errors import SuiteError
from cfbench.types import Images, Masks
from cfbench_nets.padding import crop, pad, padded_side


@dataclass(frozen=True)
class Frame:
    """What is done to images, as plain data: it is saved beside the weights."""

    channels: int
    #: Side of the dataset's images and of the networks', in pixels.
    side: int
    working: int
    #: Channels of the networks' images.
    colours: int
    how: Literal["as they are", "padded", "resized"]

    def inward(self, x: Images) -> Float[Tensor, "b colours working working"]:
        """Return images in [0, 1] as the networks see them, in [-1, 1]."""
        x = x.expand(-1, self.colours, -1, -1) if self.channels == 1 else x
        return self._onto(x) * 2 - 1

    def outward(self, x: Float[Tensor, "b colours working working"]) -> Images:
        """Undo `inward`, and keep to [0, 1]; colours are averaged back to grey."""
        x = (x.float() + 1) / 2
        x = x.mean(dim=1, keepdim=True) if self.channels == 1 else x
        x = _resized(x, self.side) if self.how == "resized" else crop(x, (self.side, self.side))
        return x.clamp(0, 1)

    def cells(self, keep: Masks, side: int) -> Bool[Tensor, "b 1 cells cells"]:
        """Return the cells of a latent image of this side all of whose pixels are kept."""
        whole = self._onto(keep.float())
        return -F.adaptive_max_pool2d(-whole, side) > 1 - 1e-5

    def _onto(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        return _resized(x, self.working) if self.how == "resized" else pad(x, self.working)


def frame_of(channels: int, space: tuple[int, ...], colours: int, size: int, multiple: int) -> Frame:
    """Return the frame for a dataset's images and networks that need a multiple of some pixels.

    Raises SuiteError for images that are not square, colours that do not fit, or a size that is no multiple.
    """
    if len(space) != 2 or space[0] != space[1]:
        raise SuiteError(f"text-ldm expects square images, not {space}; pad or crop them in the dataset")
    if channels not in (1, colours):
        raise SuiteError(f"text-ldm: these weights draw {colours} channels, and the dataset's images have {channels}")
    if size % multiple:
        raise SuiteError(f"text-ldm: size must be a multiple of {multiple} pixels for these networks, not {size}")
    side, working = space[0], size or padded_side(space[0], multiple)
    if side == working:
        return Frame(channels, side, working, colours, "as they are")
    return Frame(channels, side, working, colours, "resized" if size else "padded")


def _resized(x: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c side side"]:
    """Bilinear, with antialiasing where it shrinks."""
    return torch.nn.functional.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
