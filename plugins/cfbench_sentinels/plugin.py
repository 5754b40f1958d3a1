"""Offer the sentinels: what a metric must not prefer to a good explanation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import AttributionSpec, param

Need = Literal["images", "truth", "explained", "gradients"]
Match = Literal["class", "grade"]


@dataclass(frozen=True)
class AdversarialParams:
    """How the smallest change that flips the classifier is sought."""

    norm: Literal["l2", "linf"] = param(
        "l2", "what is kept small: 'l2' (the root of the summed squares) or 'linf' (the largest change of a pixel)"
    )
    margin: float = param(0.1, "log-odds beyond the decision that a flip must reach")
    steps: int = param(20, "gradient steps of each of the eight searches, at most")


@dataclass(frozen=True)
class RealParams:
    """Which training images answer."""

    match: Literal["class", "grade"] = param(
        "class", "what answers a flip: images of the target's class, or only those of the grade that is asked for"
    )


def _sentinel(name: str, summary: str, *needs: Need) -> AttributionSpec:
    return AttributionSpec(
        name=name,
        factory=f"cfbench_sentinels.attribution:{name}",
        summary=summary,
        needs=frozenset(needs),
        provides=frozenset({"counterfactual"}),
        fits=False,
        sentinel=True,
    )


def _map(name: str, factory: str, summary: str, *needs: Need) -> AttributionSpec:
    return AttributionSpec(
        name=name,
        factory=f"cfbench_sentinels.maps:{factory}",
        summary=summary,
        needs=frozenset({"images", *needs}),
        provides=frozenset({"heat"}),
        fits=False,
        sentinel=True,
    )


def _from_training(name: str, factory: str, summary: str) -> AttributionSpec:
    return AttributionSpec(
        name=name,
        factory=factory,
        summary=summary,
        params=RealParams,
        needs=frozenset({"images"}),
        provides=frozenset({"counterfactual"}),
        sentinel=True,
    )


@hookimpl
def cfbench_attributions() -> Iterable[AttributionSpec]:
    """Offer `identity`, `truth`, `blur`, `adversarial`, `nearest`, `class-mean`, and maps."""
    yield _sentinel("identity", "the image itself: nothing changes, so nothing flips", "images")
    yield _sentinel("truth", "the exact counterfactual of a phantom: the best possible answer", "truth")
    yield _sentinel("blur", "Gaussian blur, sigma 5 % of the shortest side: a change without a meaning", "images")
    yield AttributionSpec(
        name="adversarial",
        factory="cfbench_sentinels.adversarial:Adversarial",
        summary="the least change that flips the explained classifier: a flip without a meaning",
        params=AdversarialParams,
        citation="Moosavi-Dezfooli et al., DeepFool, CVPR 2016",
        heavy=True,
        needs=frozenset({"images", "explained", "gradients"}),
        provides=frozenset({"counterfactual"}),
        fits=False,
        sentinel=True,
    )
    yield _from_training(
        "nearest",
        "cfbench_sentinels.nearest:Nearest",
        "the nearest real training image of the class or grade: a perfect image of somebody else",
    )
    yield _from_training(
        "class-mean",
        "cfbench_sentinels.class_mean:ClassMean",
        "the mean training image of the class or grade: nobody's image",
    )
    yield _map("random-map", "random_map", "smooth noise: what a heat map scores that knows nothing")
    yield _map("edge-map", "edge_map", "Sobel's gradient: what a heat map scores that only knows the image")
    yield _map("truth-map", "truth_map", "what the exact counterfactual of a phantom changes, and by how much", "truth")
