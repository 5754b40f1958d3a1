"""Whether a sweep arrives at the grades that were asked for, in the eyes of judges."""

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.specs import NoParams
from cfbench.types import Values, View
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import answered, judges_of, targets_of, task_of


def expected_grade(proba: Float[Tensor, "b k"], grades: tuple[float, ...]) -> Values:
    """Return `sum_k p_k g_k`, the mean grade under a judge's probabilities."""
    return proba.double() @ torch.tensor(grades, dtype=torch.float64)


def furthest(target: Values, grades: tuple[float, ...]) -> Values:
    """Return the largest error that a target admits on the scale: what a line without an answer counts as."""
    return torch.maximum(target - min(grades), max(grades) - target)


def grade_error(view: View) -> Values:
    """Return `mean_k |expected grade of x_out by judge k - target|` of each line.

    The calibration idea of S0 (Atad et al., MELBA 2024), read by judges instead of the method itself. In grades, from
    0 to the length of the scale; lower is better; NaN where the target is unknown. A line without an answer gets the
    largest error that its target admits. Means little below ten lines.

    Traps: unsure judges pull every expectation to the middle of the scale, so the ground truth's own error is the
    floor to compare with; a constant middle answer does not badly.
    """
    task, target = task_of(view), targets_of(view).double()
    errors = [(expected_grade(judged.proba.cpu(), task.grades) - target).abs() for judged in judges_of(view).values()]
    return torch.stack(errors).mean(0).where(answered(view), furthest(target, task.grades))


def make_grade_error(params: NoParams) -> PerLine:  # noqa: ARG001 - a factory's signature
    """Make `grade-error`; see `grade_error`."""
    return PerLine(grade_error)
