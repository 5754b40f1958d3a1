"""Flip rates: whether a counterfactual is of the class that was asked for, and in whose eyes."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.specs import NoParams
from cfbench.types import Judged, Values, View
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import answered, controls_of, explained_of, judges_of, mass_on, targets_of, task_of
from cfbench_metrics.detection import member


def flipped(positive: Float[Tensor, " b"], wanted: Bool[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Return which probabilities of the positive class lie on the wanted side of 1/2; 1/2 itself is on neither."""
    return torch.where(wanted, positive > 0.5, positive < 0.5)


def share_of_votes(view: View, panel: Mapping[str, Judged]) -> Values:
    """Return the share of a panel for whom each line's `x_out` is of the target's class; NaN where it is unknown.

    `mean_k 1[sum of O_k(x_out) over positive grades > 1/2]` for a positive target, `< 1/2` for a negative one.
    """
    task, target = task_of(view), targets_of(view)
    wanted = member(target, task.positive)
    votes = [flipped(mass_on(judged.proba.cpu(), task.grades, task.positive), wanted) for judged in panel.values()]
    return torch.stack(votes).double().mean(0).where(~target.isnan(), torch.nan)


def flip_rate(view: View) -> Values:
    """Return the share of judges for whom each line's `x_out` is of the target's class (oracle validity, OV).

    Validity: ACE and DiME; oracle score: Hvilshoj et al., arXiv 2111.00177. Over all attempts, also those that failed
    or whose factual image the judges get wrong. Range [0, 1], higher is better; NaN where the target is unknown.
    Means little below ten lines.

    Traps: adversarial noise flips the classifier that it was made for, so the judges must not be the method's guide;
    a judge that shares its training with the guide follows it; an average image of the target's class, which is
    nobody's, can flip more judges than the exact counterfactual of a mild case (`docs/metric-validity.md`).
    """
    return share_of_votes(view, judges_of(view))


def explained_flip_rate(view: View) -> Values:
    """Return whether the classifier that is explained sees the target's class in each line's `x_out` (FR_f).

    The flip rate of ACE and DiME (`cf acc`) and of COIN (`counter_acc`), over all attempts. 0 or 1, higher is better;
    NaN where the target is unknown. Means little below ten lines.

    Trap: adversarial noise scores 1. It says that the method moves this classifier, not that anybody else would see a
    change; read it with `flip` and `flip-gap`.
    """
    return share_of_votes(view, {"explained": explained_of(view)[1]})


def flip_gap(view: View) -> Values:
    """Return `flip-explained - flip` of each line: how much more the explained classifier believes than the judges.

    In [-1, 1]; near 0 for the truth and for a method that changes nothing, near 1 for adversarial noise. A failed line
    flips for nobody, so it has no gap: the mean is exactly the difference of the two rates.

    Trap: no quality by itself (identity has none), hence without a better direction.
    """
    gap = explained_flip_rate(view) - flip_rate(view)
    return gap.where(answered(view) | gap.isnan(), 0.0)


def control_flip_rate(view: View) -> Values:
    """Return the share of judges with random weights for whom each line's `x_out` is of the target's class.

    What a network that has learned nothing sees: the level that a flip rate has to be read above (sanity control of
    Adebayo et al., NeurIPS 2018, applied to judges). In [0, 1]; a failed line counts 0, as in `flip`.

    Trap: a random network tends to put all images on one side, which gives the share of targets on that side.
    """
    share = share_of_votes(view, controls_of(view))
    return share.where(answered(view) | share.isnan(), 0.0)


def flip(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `flip`; see `flip_rate`."""
    return PerLine(flip_rate)


def flip_explained(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `flip-explained`; see `explained_flip_rate`."""
    return PerLine(explained_flip_rate)


def make_flip_gap(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `flip-gap`; see `flip_gap`."""
    return PerLine(flip_gap)


def flip_control(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `flip-control`; see `control_flip_rate`."""
    return PerLine(control_flip_rate)
