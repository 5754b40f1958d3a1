"""Structural similarity."""

from cfbench.errors import UndefinedError
from cfbench.specs import NoParams
from cfbench.types import Images, Values
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import pair_of
from cfbench_metrics.window import gaussian_window, line_by_line


def structural_similarity(x: Images, y: Images) -> Values:
    """Return SSIM of each line: `(2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2))`, averaged.

    Wang et al., IEEE TIP 2004, by pytorch-msssim: Gaussian window of 11 pixels and sigma 1.5 (a cube of 11 in 3D),
    population variance, no padding (a border of 5 pixels is not looked at), mean over channels, C1 = .01^2 and
    C2 = .03^2 for images in [0, 1], in float64. Range [-1, 1], higher is better, 1 for equal images.

    Traps: other windows and paddings give other numbers (torchmetrics up to .008 away, scikit-image's default .02);
    identity wins; a true counterfactual of a large lesion is rightly far from 1, so compare with the ground truth's.

    Raises:
        UndefinedError: a side is below 11 pixels.
    """
    from pytorch_msssim import ssim as implementation

    if min(x.shape[2:]) < 11:
        raise UndefinedError(f"SSIM's window needs 11 pixels on each side, got {tuple(x.shape[2:])}")
    window = gaussian_window(x, size=11)
    return line_by_line(lambda a, b: implementation(a, b, data_range=1.0, size_average=False, win=window), x, y)


def ssim(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `ssim`; see `structural_similarity`."""
    return PerLine(lambda view: structural_similarity(*pair_of(view)))
