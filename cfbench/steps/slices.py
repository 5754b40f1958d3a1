"""A volume as people look at it: three slices through one point, side by side."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

#: Black pixels between slices.
GAP = 2


def middle(masks: list[Shaped[Tensor, "1 *space"]], space: tuple[int, ...]) -> tuple[int, ...]:
    """Return where to cut: the centre of mass of what the masks cover together, or the middle of the image.

    The same for every picture of a case, whatever the method, so that they compare.
    """
    covered = [mask[0].bool() for mask in masks if bool(mask.any())]
    if not covered:
        return tuple(side // 2 for side in space)
    places = torch.stack(covered).any(dim=0).nonzero().double()
    return tuple(int(place) for place in places.mean(dim=0).round())


def flat(image: Float[Tensor, "c *space"], at: tuple[int, ...]) -> Float[Tensor, "c h w"]:
    """Return an image as it is, and a volume [c, d, h, w] as its slices across d, h and w, side by side.

    Volumes go upwards along their first axis (`cfbench_volumes`), so slices along it are turned: up is up in all three.
    """
    if image.ndim == 3:
        return image
    d, h, w = at
    slices = (image[:, d], image[:, :, h].flip(1), image[..., w].flip(1))
    height = max(one.shape[1] for one in slices)
    sheet = image.new_zeros(image.shape[0], height, sum(one.shape[2] for one in slices) + 2 * GAP)
    left = 0
    for one in slices:
        top = (height - one.shape[1]) // 2
        sheet[:, top : top + one.shape[1], left : left + one.shape[2]] = one
        left += one.shape[2] + GAP
    return sheet
