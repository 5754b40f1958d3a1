"""Offer the sentinels: what a metric must not prefer to a good explanation."""

from collections.abc import Iterable
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import AttributionSpec


def _sentinel(name: str, summary: str, *needs: Literal["images", "truth"]) -> AttributionSpec:
    return AttributionSpec(
        name=name,
        factory=f"cfbench_sentinels.attribution:{name}",
        summary=summary,
        needs=frozenset(needs),
        provides=frozenset({"counterfactual"}),
        fits=False,
    )


@hookimpl
def cfbench_attributions() -> Iterable[AttributionSpec]:
    """Offer `identity`, `truth` and `blur`."""
    yield _sentinel("identity", "the image itself: nothing changes, so nothing flips", "images")
    yield _sentinel("truth", "the exact counterfactual of a phantom: the best possible answer", "truth")
    yield _sentinel("blur", "Gaussian blur, sigma 5 % of the shortest side: a change without a meaning", "images")
