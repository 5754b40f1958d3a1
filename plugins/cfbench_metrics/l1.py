"""Mean absolute difference of images."""

from cfbench.specs import NoParams
from cfbench.types import Images, Values
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import pair_of


def mean_absolute_difference(x: Images, y: Images) -> Values:
    """Return `mean |x - y|` over channels and pixels of each line.

    Images in [0, 1] inside the dataset's window, so in [0, 1]; lower is better where closeness is the aim. Defined
    from one line on.

    Trap: the identity wins; a counterfactual has to differ. Read it with `flip` and beside the reconstruction's.
    """
    return (x - y).abs().flatten(1).double().mean(1)


def l1(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `l1`; see `mean_absolute_difference`."""
    return PerLine(lambda view: mean_absolute_difference(*pair_of(view)))
