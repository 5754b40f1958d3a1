"""Distances between sets of images as something fixed sees them: a published network, or a list of features."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.protocols import Context
from cfbench.types import Images, Reference, View
from cfbench_metrics.columns import answered
from cfbench_metrics.features import Distance, checked, require_equal
from cfbench_metrics.panel import kept

#: `(images, context) -> features`, one row per image.
Look = Callable[[Images, Context], Tensor]


def seen_by(name: str, look: Look) -> Callable[[View, Context], Reference]:
    """Return what keeps the patients of real images and their features, by the name of who sees them (for floors)."""

    def seen(view: View, context: Context) -> Reference:
        if view.x is None:
            raise UndefinedError("this dataset has no images to compare with")
        return kept(view.patients, {name: look(view.x, context)})

    return seen


@dataclass(frozen=True)
class ImageDistance:
    """A distance between the features of the lines that have an answer and those of the real test images.

    Real images of counterfactuals are weighted by the host to the grades that were asked for (`matched`).

    Traps: a counterfactual inherits everything but the change from a real image of the same set, which flatters every
    method alike (a split of the patients would not).
    """

    look: Look
    distance: Distance
    #: Whether the distance is biased by N, so that both sets must be of one size.
    biased: bool
    #: Fewest images per feature on either side.
    per_feature: float = 0

    def reference(self, view: View, context: Context) -> Reference:
        """Keep the features of the real images, `features` float[m, d]."""
        if view.x is None:
            raise UndefinedError("this dataset has no images to compare with")
        return Reference({"features": self.look(view.x, context)})

    def compute(
        self,
        view: View,
        reference: Reference | None,
        weights: Float[Tensor, "r n"],
        reference_weights: Float[Tensor, "r m"],
        context: Context,
    ) -> Float[Tensor, " r"]:
        """Return one distance per row of weights. Raises UndefinedError without images, ChecksumError as needed."""
        if view.x_out is None or reference is None:
            raise UndefinedError(f"the {view.name} view lacks images, or real ones to compare with")
        lines = answered(view)
        real = checked(reference.tensors["features"], whose="real")
        if self.biased:
            require_equal(int(lines.sum()), len(real))
        self._require_enough(min(int(lines.sum()), len(real)), real.shape[1])
        images = view.x_out if lines.all() else view.x_out[lines]  # no copy of a whole view without need
        features = checked(self.look(images, context), whose="answered")
        return self.distance(features, real, weights[:, lines], reference_weights)

    def _require_enough(self, cases: int, features: int) -> None:
        needed = self.per_feature * features
        if cases < needed:
            raise UndefinedError(
                f"{needed:g} images are needed on each side for {features} features, got {cases}; use a kernel distance"
            )
