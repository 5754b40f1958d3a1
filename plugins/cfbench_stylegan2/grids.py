"""Grids of images as PNG: what a training looks like from outside."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

#: Images side by side, and their distance in pixels.
COLUMNS, GAP = 8, 2
#: Names of a training's grids; * is the number of steps done.
GRIDS = "samples-*.png"


def write_grid(path: Path, x: Float[Tensor, "b c h w"]) -> None:
    """Write images in [0, 1] (grey, or the first three channels) in rows of `COLUMNS`."""
    b, c, h, w = x.shape
    rows, shown = -(-b // COLUMNS), 3 if c >= 3 else 1
    sheet = np.full((rows * (h + GAP) + GAP, COLUMNS * (w + GAP) + GAP, shown), 255, np.uint8)
    tiles = (x[:, :shown].clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    for place, tile in enumerate(tiles):
        top, left = GAP + place // COLUMNS * (h + GAP), GAP + place % COLUMNS * (w + GAP)
        sheet[top : top + h, left : left + w] = tile
    Image.fromarray(sheet[:, :, 0] if shown == 1 else sheet).save(path)
