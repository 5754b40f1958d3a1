"""The Frechet distance between counterfactuals and real images of other patients."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.protocols import Context
from cfbench.specs import NoParams
from cfbench.types import Reference, View
from cfbench_metrics.dealing import DEALS, deal, level, members
from cfbench_metrics.frechet import frechet_distances
from cfbench_metrics.panel import Side, made_side, real_panel, real_side, require_cases

#: Fewest cases of a half per feature, as for `fd-judge`.
_PER_FEATURE = 2


def split_distance(made: Side, real: Side, judge: str) -> Float[Tensor, " r"]:
    """Return `(FD(real A, made B) + FD(real B, made A)) / 2` under each row of weights, A and B halves of the patients.

    sFID of ACE (Jeanneret et al., CVPR 2023), in the judges' features: a counterfactual inherits all but the change
    from its own case, which flatters every method unless the real side is of other patients. Averaged over five
    seeded splits, both sides cut to one size. From 0, lower is better; the distance is that of N / 2 cases, so compare
    with `fd-judge-floor` at `half` and with nothing else. Needs two cases per feature in a half.

    Trap: biased upwards by N as every Frechet distance.

    Raises:
        UndefinedError: too few patients, or too few cases for the judge's features.
    """
    x, y = made.features[judge], real.features[judge]
    found = []
    for seed in range(DEALS):
        dealt = deal(real.keys, 2, seed)
        sides = [(members(made.keys, dealt, a, seed), members(real.keys, dealt, 1 - a, seed)) for a in (0, 1)]
        for a, b in (level(*side) for side in sides):
            require_cases(judge, len(a), _PER_FEATURE * x.shape[1], x.shape[1])
            found.append(frechet_distances(x[a], y[b], made.weights[:, a], real.weights[:, b]))
    return torch.stack(found).mean(0)


@dataclass(frozen=True)
class SplitDistance:
    """`fd-split`, averaged over judges; see `split_distance`."""

    params: NoParams

    def reference(self, view: View, context: Context) -> Reference:  # noqa: ARG002 - protocol
        """Keep the real images' patients and features."""
        return real_panel(view)

    def compute(
        self,
        view: View,
        reference: Reference | None,
        weights: Float[Tensor, "r n"],
        reference_weights: Float[Tensor, "r m"],
        context: Context,  # noqa: ARG002 - protocol
    ) -> Float[Tensor, " r"]:
        """Return one distance per row of weights."""
        real = real_side(reference, reference_weights)
        made = made_side(view, weights, real)
        return torch.stack([split_distance(made, real, judge) for judge in made.features]).mean(0)
