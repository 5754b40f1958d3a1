"""Flip rate: whether a counterfactual is of the class that was asked for, in the eyes of judges."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.specs import NoParams
from cfbench.types import Values, View
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import judges_of, mass_on, targets_of, task_of
from cfbench_metrics.detection import member


def flipped(positive: Float[Tensor, " b"], wanted: Bool[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Return which probabilities of the positive class lie on the wanted side of 1/2; 1/2 itself is on neither."""
    return torch.where(wanted, positive > 0.5, positive < 0.5)


def flip_rate(view: View) -> Values:
    """Return the share of judges for whom each line's `x_out` is of the target's class (oracle validity).

    `mean_k 1[sum of O_k(x_out) over positive grades > 1/2]` for a positive target, `< 1/2` for a negative one
    (validity: ACE and DiME; oracle score: Hvilshoj et al., arXiv 2111.00177). Over all attempts, also those that
    failed or whose factual image the judges get wrong. Range [0, 1], higher is better; NaN where the target is
    unknown. Means little below ten lines.

    Traps: adversarial noise flips the classifier that it was made for, so the judges must not be the method's guide;
    a judge that shares its training with the guide follows it.
    """
    task, target = task_of(view), targets_of(view)
    wanted = member(target, task.positive)
    votes = [
        flipped(mass_on(judged.proba.cpu(), task.grades, task.positive), wanted) for judged in judges_of(view).values()
    ]
    return torch.stack(votes).double().mean(0).where(~target.isnan(), torch.nan)


def flip(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `flip`; see `flip_rate`."""
    return PerLine(flip_rate)
