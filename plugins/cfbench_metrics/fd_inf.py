"""The Frechet distance of infinitely many images, extrapolated."""

from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.protocols import Context
from cfbench.types import Reference, View
from cfbench_metrics.dealing import DEALS, shuffled
from cfbench_metrics.features import require_equal
from cfbench_metrics.frechet import frechet_distances
from cfbench_metrics.panel import Side, made_side, real_panel, real_side
from cfbench_metrics.params import Subsets

#: Sizes of the subsets, as shares of all images; five or more have to be large enough.
_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_FEWEST = 5


def subset_sizes(cases: int, features: int, per_feature: float) -> list[int]:
    """Return the sizes to extrapolate from.

    Raises:
        UndefinedError: fewer than five subsets have enough cases.
    """
    sizes = [n for n in (int(share * cases + 1e-9) for share in _SHARES) if n >= max(2, per_feature * features)]
    if len(sizes) < _FEWEST:
        needed = ceil(max(2, per_feature * features) / _SHARES[-_FEWEST])
        raise UndefinedError(
            f"an extrapolation needs {_FEWEST} subsets of {per_feature:g} cases for each of the {features} features: "
            f"{needed} cases, got {cases}; use kid-judge"
        )
    return sizes


def intercept(sizes: list[int], distances: Float[Tensor, "k r"]) -> Float[Tensor, " r"]:
    """Return the least-squares line of distances on `1 / N` at `1 / N = 0`."""
    u = 1 / torch.tensor(sizes, dtype=torch.float64)
    centred = u - u.mean()
    slope = (centred[:, None] * distances).sum(0) / centred.square().sum()
    return distances.mean(0) - slope * u.mean()


def extrapolated_distance(made: Side, real: Side, judge: str, per_feature: float) -> Float[Tensor, " r"]:
    """Return the intercept of the Frechet distance of N images on 1 / N, under each row of weights.

    FD-infinity (Chong and Forsyth, CVPR 2020), in the judges' features, where a test set is large enough for it: seven
    subsets of .4 to all of the cases, the same patients on both sides, averaged over five orders. Lower is better;
    below 0 by chance. In simulations (Gaussians, 32 features, true distance .49) the plain distance is 4.9 for 135
    cases and 9.8 for 64, the extrapolated one .51 and .63, with standard deviations of .4 and .6.

    Traps: the published code starts at 5,000 images, far beyond any test set here; the line holds only where
    covariances have full rank; subsets cannot be weighted, so counterfactuals, whose targets mix the grades in other
    proportions than their cases, have no such number; reconstructions share their patients with the real side.

    Raises:
        UndefinedError: the sets are of unequal size, or too small.
    """
    require_equal(len(made.keys), len(real.keys))
    rows = zip(made.weights, real.weights, strict=True)
    return torch.stack([_of_row(made, real, judge, per_feature, w, v) for w, v in rows])


def _of_row(
    made: Side, real: Side, judge: str, per_feature: float, w: Float[Tensor, " n"], v: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    x, y = made.features[judge], real.features[judge]
    sizes = subset_sizes(int(min((w > 0).sum(), (v > 0).sum())), x.shape[1], per_feature)
    curves = []
    for seed in range(DEALS):
        a, b = _present(made.keys, w, seed), _present(real.keys, v, seed)
        curves.append(torch.cat([_plain(x[a[:n]], y[b[:n]]) for n in sizes]))
    return intercept(sizes, torch.stack(curves).mean(0)[:, None])[0]


def _present(keys: Int64[Tensor, " n"], weights: Float[Tensor, " n"], seed: int) -> Int64[Tensor, " m"]:
    order = shuffled(keys, seed)
    return order[weights[order] > 0]


def _plain(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, " 1"]:
    one = torch.ones(1, len(x), dtype=torch.float64)
    return frechet_distances(x, y, one, one)


@dataclass(frozen=True)
class ExtrapolatedDistance:
    """`fd-inf`, averaged over judges; see `extrapolated_distance`."""

    params: Subsets

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
        """Return one extrapolated distance per row of 0/1 weights."""
        real = real_side(reference, reference_weights)
        made = made_side(view, weights, real)
        least = self.params.per_feature
        return torch.stack([extrapolated_distance(made, real, judge, least) for judge in made.features]).mean(0)
