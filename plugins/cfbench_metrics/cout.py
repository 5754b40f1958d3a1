"""Counterfactual transition: whether the explained classifier is moved by the pixels that changed most."""

from dataclasses import dataclass

import torch

from cfbench.protocols import Context
from cfbench.types import Values, View
from cfbench_metrics.columns import explained_of, mass_on, pair_of, targets_of, task_of
from cfbench_metrics.composites import area_under_course, classify_of, places
from cfbench_metrics.detection import member
from cfbench_metrics.params import Course


@dataclass(frozen=True)
class Cout:
    """Makes `cout`; see `score`."""

    params: Course

    def score(self, view: View, context: Context) -> Values:
        """Return `AUPC(target's class) - AUPC(the other class)` of each line, in [-1, 1]; higher is better.

        COUT of Khorram and Fuxin (Cycle-consistent counterfactuals by latent transformations, CVPR 2022): pixels of
        `x_out` replace those of x in the order of `sum over channels |x_out - x|`, largest change first, and AUPC is
        the area under the classifier's probability of a class along the way. A counterfactual that flips with few,
        strong pixels comes near 1; one that never flips is negative. NaN where the target is unknown or the classifier
        gets x wrong: there is no transition to look at.

        Traps: it is the explained classifier that decides, so adversarial noise scores well; read it with `flip`. A
        method that changes all pixels a little, as every autoencoder does, is ordered by what it changes most.
        """
        (x, x_out), task, target = pair_of(view), task_of(view), targets_of(view)
        place = places((x_out - x).abs().sum(1, keepdim=True), context.seed)
        area = area_under_course(classify_of(view), x, x_out, place, self.params.steps)
        positive = mass_on(area, task.grades, task.positive)
        wanted = member(target, task.positive)
        found = torch.where(wanted, 2 * positive - 1, 1 - 2 * positive)
        before = mass_on(explained_of(view)[0].proba, task.grades, task.positive)
        right = torch.where(wanted, before < 0.5, before > 0.5)
        return found.where(right & ~target.isnan(), torch.nan)


def cout(params: Course) -> Cout:
    """Make `cout`."""
    return Cout(params)
