"""FID and KID: how far a set of images is from the real ones, seen through Inception.

Trap of both: Inception has seen photographs only, and ranks medical images unlike experts.
"""

from cfbench.specs import NoParams
from cfbench_metrics.frechet import frechet_distances
from cfbench_metrics.image_distance import ImageDistance
from cfbench_metrics.inception import inception_features
from cfbench_metrics.kernel import kernel_distances


def fid(params: NoParams) -> ImageDistance:  # noqa: ARG001 - a factory's signature
    """Make `fid`; see `frechet_distances`.

    From 100 cases on; below 2048 read it beside `fid-floor`, and `kid` rather. Sets of unequal size are refused.
    """
    return ImageDistance(inception_features, frechet_distances, biased=True)


def kid(params: NoParams) -> ImageDistance:  # noqa: ARG001 - a factory's signature
    """Make `kid`; see `kernel_distances`. From 50 cases on, with its interval."""
    return ImageDistance(inception_features, kernel_distances, biased=False)
