"""Turn a formula into what the host calls."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from cfbench.protocols import Context
from cfbench.types import Reference, Values, View


@dataclass(frozen=True)
class PerLine:
    """A `CaseMetric` whose formula needs nothing but the view."""

    formula: Callable[[View], Values]

    def score(self, view: View, context: Context) -> Values:  # noqa: ARG002 - protocol
        """Return one value per line."""
        return self.formula(view)


@dataclass(frozen=True)
class OverLines:
    """A `SetMetric` whose formula needs nothing but the view and its weights, no set of real images."""

    formula: Callable[[View, Float[Tensor, "r n"]], Float[Tensor, " r"]]

    def reference(self, view: View, context: Context) -> Reference:  # noqa: ARG002 - protocol
        """Keep nothing."""
        return Reference({})

    def compute(
        self,
        view: View,
        reference: Reference | None,  # noqa: ARG002 - protocol
        weights: Float[Tensor, "r n"],
        reference_weights: Float[Tensor, "r m"],  # noqa: ARG002 - protocol
        context: Context,  # noqa: ARG002 - protocol
    ) -> Float[Tensor, " r"]:
        """Return one value per row of weights."""
        return self.formula(view, weights)
