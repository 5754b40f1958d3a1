"""Area under the ROC curve, of scores and of hard decisions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.specs import NoParams
from cfbench_metrics.adapters import OverLines
from cfbench_metrics.detection import detection, two_class_only

#: Rows times lines held at a time (32 MiB in float64). Part of no result.
_BLOCK = 1 << 22


def weighted_auc(
    score: Float[Tensor, " n"], truth: Bool[Tensor, " n"], weights: Float[Tensor, "r n"]
) -> Float[Tensor, " r"]:
    """Return `P(s+ > s-) + P(s+ = s-) / 2` under each row of weights.

    The probability that a positive line scores higher than a negative one, ties counting half (Mann-Whitney; Hanley
    and McNeil 1982; equal to scikit-learn's `roc_auc_score` with `sample_weight`). Range [0, 1], higher is better, .5
    is chance; NaN in a row with one class only. Needs one line of each class, means little below ten.

    Trap: papers have called the AUC of hard decisions "AUC"; that is `auc-hard` here.
    """
    order = torch.argsort(score)
    values, truth, weights = score[order], truth[order], weights[:, order].double()
    begin = torch.searchsorted(values, values)
    end = torch.searchsorted(values, values, right=True)
    rows = max(1, _BLOCK // max(1, len(values)))
    blocks = [_mann_whitney(block, truth, begin, end) for block in torch.split(weights, rows)]
    return two_class_only(torch.cat(blocks), truth, weights)


def _mann_whitney(
    weights: Float[Tensor, "r n"], truth: Bool[Tensor, " n"], begin: Tensor, end: Tensor
) -> Float[Tensor, " r"]:
    """Return the AUC of lines that are sorted by score; line i ties with lines begin[i] to end[i] - 1."""
    negative = weights * ~truth
    below = torch.nn.functional.pad(negative.cumsum(1), (1, 0))
    beaten = (below[:, begin[truth]] + below[:, end[truth]]) / 2
    positive = weights[:, truth]
    return (positive * beaten).sum(1) / (positive.sum(1) * negative.sum(1))


def balanced_accuracy(
    score: Float[Tensor, " n"], truth: Bool[Tensor, " n"], weights: Float[Tensor, "r n"]
) -> Float[Tensor, " r"]:
    """Return `(sensitivity + specificity) / 2` of the decisions `score > 0` under each row of weights.

    This is the area under the ROC curve of 0/1 predictions, which S0 (Atad et al., MELBA 2024) reports as "AUC":
    its notebooks pass `roc_auc_score` hard labels. Compare the papers' AUC with this number and no other. Range
    [0, 1], higher is better, .5 is chance; NaN in a row with one class only. Means little below ten lines.

    Trap: it depends on the threshold 0; a shifted score has the same `auc` and another `auc-hard`.
    """
    weights, decision = weights.double(), (score > 0).double()
    sensitivity = weights[:, truth] @ decision[truth] / weights[:, truth].sum(1)
    specificity = weights[:, ~truth] @ (1 - decision[~truth]) / weights[:, ~truth].sum(1)
    return two_class_only((sensitivity + specificity) / 2, truth, weights)


def auc(params: NoParams) -> OverLines:  # noqa: ARG001 - a factory's signature
    """Make `auc`; see `weighted_auc`."""
    return OverLines(lambda view, weights: weighted_auc(*detection(view, weights)))


def auc_hard(params: NoParams) -> OverLines:  # noqa: ARG001 - a factory's signature
    """Make `auc-hard`; see `balanced_accuracy`."""
    return OverLines(lambda view, weights: balanced_accuracy(*detection(view, weights)))
