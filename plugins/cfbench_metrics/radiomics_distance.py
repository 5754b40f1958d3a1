"""The Frechet distance between sets of images in radiomics features, and its floor."""

from jaxtyping import Float
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.protocols import Context
from cfbench.specs import NoParams
from cfbench.types import Images
from cfbench_metrics.floor import Floor
from cfbench_metrics.frechet import frechet_distances
from cfbench_metrics.image_distance import ImageDistance, seen_by
from cfbench_metrics.params import FloorSize
from cfbench_metrics.radiomics import radiomics_features

#: Spread of a feature over real images, of its own size, below which it is taken for constant.
_FLAT = 1e-9


def in_real_spreads(
    x: Float[Tensor, "n d"], real: Float[Tensor, "m d"]
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """Return both sets in standard deviations of the real images; features that are alike in all of them are left out.

    Raises:
        UndefinedError: all are, or there are fewer than two real images.
    """
    if len(real) < 2:
        raise UndefinedError(f"the spread of radiomics features needs two real images, got {len(real)}")
    mean, spread = real.mean(0), real.std(0)
    varied = spread > _FLAT * mean.abs().clamp(min=1)
    if not varied.any():
        raise UndefinedError("the real images do not differ in any radiomics feature")
    scaled = [((each - mean) / spread.where(varied, 1.0))[:, varied] for each in (x, real)]
    return scaled[0], scaled[1]


def radiomics_distances(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], w: Float[Tensor, "r n"], v: Float[Tensor, "r m"]
) -> Float[Tensor, " r"]:
    """Return the Frechet distance in radiomics features, each in its standard deviations over the real images y.

    After the radiomic feature distance of Konz and Osuala (FRD, arXiv 2412.01496), with 30 features of the IBSI on the
    whole image instead of some 464 on the image and its wavelets, and without the logarithm: not their number. From
    0, lower is better; from 2 images per feature on. Scaled by all real images once, not anew in each row.

    Traps: biased upwards by N as every Frechet distance (read it beside its floor, at equal N); features of the whole
    image hardly see a small lesion, so that this is about texture and grey values; blur and noise move it most.
    """
    scaled, real = in_real_spreads(x.double(), y.double())
    return frechet_distances(scaled, real, w, v)


def fd_radiomics(params: NoParams) -> ImageDistance:  # noqa: ARG001 - a factory's signature
    """Make `fd-radiomics`; see `radiomics_distances`. From 60 images on; sets of unequal size are refused."""
    return ImageDistance(radiomics_features, radiomics_distances, biased=True, per_feature=2)


def fd_radiomics_floor(params: FloorSize) -> Floor:
    """Make `fd-radiomics-floor`: what `fd-radiomics` is between real images and as many others; see `real_floor`."""
    return Floor(seen_by("radiomics", _scaled), params.at)


def _scaled(x: Images, context: Context) -> Float[Tensor, "m k"]:
    found = radiomics_features(x, context)
    return in_real_spreads(found, found)[1]
