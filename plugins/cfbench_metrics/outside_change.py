"""How much of a change lies where nothing should have changed."""

import torch

from cfbench.specs import NoParams
from cfbench.types import Images, Masks, Values, View
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import pair_of, truth_of


def share_outside(x: Images, x_out: Images, mask: Masks) -> Values:
    """Return `sum of |x_out - x| outside the mask / sum of |x_out - x|` of each line.

    The mask holds the pixels that the exact counterfactual changes (phantoms only). Range [0, 1], lower is better;
    NaN where nothing changed at all. Defined from one line on.

    Traps: the error of a reconstruction is counted too, so read it beside the reconstruction's `l1`; a tiny change in
    the right place has share 0, so read it with `flip`.
    """
    change = (x_out - x).abs().double()
    total = change.flatten(1).sum(1)
    outside = (change * ~mask).flatten(1).sum(1)
    return outside / total.where(total > 0, torch.nan)


def _of_view(view: View) -> Values:
    return share_outside(*pair_of(view), truth_of(view).mask)


def outside_change(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `outside-change`; see `share_outside`."""
    return PerLine(_of_view)
