"""Structural similarity over several scales: the published one, and one for images that are too small for it."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from cfbench.errors import UndefinedError
from cfbench.specs import NoParams
from cfbench.types import Images, Values
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import pair_of
from cfbench_metrics.window import gaussian_window, line_by_line

#: Exponents of the scales, finest first (Wang, Simoncelli and Bovik 2003, table 1).
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def five_scales(x: Images, y: Images) -> Values:
    """Return MS-SSIM of each line: `prod_j cs_j^w_j` over scales 1 to 5, luminance on the last.

    Wang, Simoncelli and Bovik, Asilomar 2003, by pytorch-msssim: window 11, sigma 1.5, average pooling by 2,
    negative terms set to 0, images in [0, 1]. Range [0, 1], higher is better, 1 for equal images.

    Traps: it does not exist up to 160 px, where libraries fail or silently change the window; use `ms-ssim-3scale`
    there, whose values must not be compared with these.

    Raises:
        UndefinedError: a side is below 161 pixels.
    """
    from pytorch_msssim import ms_ssim as implementation

    if min(x.shape[2:]) < 161:
        raise UndefinedError(f"MS-SSIM needs 161 pixels on each side, got {tuple(x.shape[2:])}; use ms-ssim-3scale")
    options = {"data_range": 1.0, "size_average": False, "win": gaussian_window(x, size=11), "weights": list(WEIGHTS)}
    return line_by_line(lambda a, b: implementation(a, b, **options), x, y)


def three_scales(x: Images, y: Images) -> Values:
    """Return MS-SSIM over the first three scales only, for images of 28 px and more.

    The weights .0448, .2856, .3001 divided by their sum, window 7 (sigma 1.5; at 28 px the third scale has 7 pixels),
    all else as `five_scales`. Range [0, 1], higher is better, 1 for equal images. Works on volumes.

    Trap: another metric than MS-SSIM, hence another name. It sees no structure above some 30 pixels.

    Raises:
        UndefinedError: a side is below 28 pixels.
    """
    if min(x.shape[2:]) < 28:
        raise UndefinedError(f"three scales need 28 pixels on each side, got {tuple(x.shape[2:])}; use ssim")
    return line_by_line(_three_scales, x, y)


def _three_scales(x: Images, y: Images) -> Values:
    used = WEIGHTS[:3]
    product = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
    for scale, weight in enumerate(used):
        last = scale == len(used) - 1
        product = product * _similarity(x, y, luminance=last).clamp(min=0) ** (weight / sum(used))
        x, y = (x, y) if last else (_halved(x), _halved(y))
    return product.mean(1)


def _similarity(x: Images, y: Images, *, luminance: bool) -> Float[Tensor, "b c"]:
    """Return SSIM of each channel, or without luminance its contrast and structure term alone.

    The library gives no access to that term, but it is what is left of SSIM when C1 goes to infinity.
    """
    from pytorch_msssim import ssim as implementation

    constants = (0.01, 0.03) if luminance else (1e6, 0.03)
    one, other = x.flatten(0, 1)[:, None], y.flatten(0, 1)[:, None]
    window = gaussian_window(one, size=7)
    each: Tensor = implementation(one, other, data_range=1.0, size_average=False, win=window, K=constants)
    return each.reshape(x.shape[:2])


def _halved(x: Images) -> Float[Tensor, "b c *half"]:
    """Average over blocks of 2, as pytorch-msssim does (an odd side is padded by zeros)."""
    pool = functional.avg_pool2d if x.ndim == 4 else functional.avg_pool3d
    return pool(x, kernel_size=2, padding=[side % 2 for side in x.shape[2:]])


def ms_ssim(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `ms-ssim`; see `five_scales`."""
    return PerLine(lambda view: five_scales(*pair_of(view)))


def ms_ssim_3scale(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `ms-ssim-3scale`; see `three_scales`."""
    return PerLine(lambda view: three_scales(*pair_of(view)))
