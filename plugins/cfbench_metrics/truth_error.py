"""Distance from the exact counterfactual, which phantoms know."""

from cfbench.specs import NoParams
from cfbench.types import Images, View
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import pair_of, truth_of
from cfbench_metrics.l1 import mean_absolute_difference


def exact(view: View) -> tuple[Images, Images]:
    """Return the images under test and the exact counterfactuals."""
    return pair_of(view)[1], truth_of(view).x


def truth_error(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `truth-error`: `mean |x_out - x*|` over channels and pixels, x* the exact counterfactual of the line.

    Images in [0, 1], so in [0, 1]; lower is better, 0 for the exact one. Phantoms only. Defined from one line on.

    Trap: most pixels don't change, so the identity already has a small error: read it beside the identity's.
    """
    return PerLine(lambda view: mean_absolute_difference(*exact(view)))
