"""The lines and classes that detection metrics are about.

Positive is a line whose true grade is in `task.positive`. Lines whose grade is in `task.exclude` (grade 1 of the
vertebra papers: neither healthy nor fractured) or unknown (NaN) are left out. A positive score says positive.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.types import Values, View
from cfbench_metrics.columns import grades_of, task_of


def member(grade: Values, values: tuple[float, ...]) -> Bool[Tensor, " b"]:
    """Return which grades are among the values; NaN never is."""
    return torch.isin(grade.double(), torch.tensor(values, dtype=torch.float64))


def detection(view: View, weights: Float[Tensor, "r n"]) -> tuple[Values, Bool[Tensor, " m"], Float[Tensor, "r m"]]:
    """Return score, truth and weights of the m lines that count.

    Raises:
        UndefinedError: there is no score, one that is not finite, or only one class.
    """
    grade, task, score = grades_of(view), task_of(view), view.predicted.score
    if score is None:
        raise UndefinedError("this method gives no score of the positive class, so it has no detection metrics")
    kept = ~grade.isnan() & ~member(grade, task.exclude)
    score, truth = score[kept].double(), member(grade[kept], task.positive)
    if not score.isfinite().all():
        raise UndefinedError(f"{int((~score.isfinite()).sum())} of {len(score)} scores are not finite")
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        raise UndefinedError(
            f"{positives} of {len(truth)} lines are positive (grades {task.positive}); both classes are needed"
        )
    return score, truth, weights[:, kept]


def two_class_only(
    value: Float[Tensor, " r"], truth: Bool[Tensor, " m"], weights: Float[Tensor, "r m"]
) -> Float[Tensor, " r"]:
    """Return the values with NaN in rows whose draw has one class only."""
    both = (weights[:, truth].sum(1) > 0) & (weights[:, ~truth].sum(1) > 0)
    return value.where(both, torch.nan)
