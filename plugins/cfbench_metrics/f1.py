"""F1 of the positive class."""

from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.specs import NoParams
from cfbench_metrics.adapters import OverLines
from cfbench_metrics.detection import detection, two_class_only


def weighted_f1(
    score: Float[Tensor, " n"], truth: Bool[Tensor, " n"], weights: Float[Tensor, "r n"]
) -> Float[Tensor, " r"]:
    """Return `2 TP / (2 TP + FP + FN)` of the decisions `score > 0` under each row of weights.

    The harmonic mean of precision and recall (van Rijsbergen 1979; equal to scikit-learn's `f1_score` with
    `sample_weight`), pooled over all lines. Range [0, 1], higher is better; 0 if nothing is found; NaN in a row with
    one class only. Means little below ten lines.

    Traps: it grows with prevalence (calling all lines positive gives 2 p / (1 + p)), so compare on the same lines
    only; averaged over batches it is another number, and a lower one.
    """
    weights, decision = weights.double(), score > 0
    hits = weights[:, truth & decision].sum(1)
    errors = weights[:, truth ^ decision].sum(1)
    return two_class_only(2 * hits / (2 * hits + errors), truth, weights)


def f1(params: NoParams) -> OverLines:  # noqa: ARG001 - a factory's signature
    """Make `f1`; see `weighted_f1`."""
    return OverLines(lambda view, weights: weighted_f1(*detection(view, weights)))
