"""Offer PCA as a generator."""

from collections.abc import Iterable
from dataclasses import dataclass

from cfbench.hookspecs import hookimpl
from cfbench.specs import GeneratorSpec, param


@dataclass(frozen=True)
class PCAParams:
    """How much of an image the code holds."""

    z_dim: int = param(32, "number of eigen-images, which is the length of z; below the number of training cases")


@hookimpl
def cfbench_generators() -> Iterable[GeneratorSpec]:
    """Offer `pca`."""
    yield GeneratorSpec(
        name="pca",
        factory="cfbench_pca.model:PCA",
        summary="eigen-images: linear encoding and decoding, samples of a Gaussian; the quick baseline",
        params=PCAParams,
        citation="Turk and Pentland, Eigenfaces for recognition, J. Cognitive Neuroscience 1991",
        provides=frozenset({"latent", "sampling"}),
    )
