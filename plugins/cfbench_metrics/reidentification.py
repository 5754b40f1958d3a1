"""Whether a counterfactual is still recognised as its patient's, among the images of all others."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import Context
from cfbench.specs import NoParams
from cfbench.types import Images, Reference, View
from cfbench_metrics.columns import answered
from cfbench_metrics.dealing import keys_of

#: Longest side, in pixels, that images are averaged down to before they are compared.
SIDE = 16
_IMAGES, _PATIENTS = "images", "patients"


def coarse(x: Images) -> Float[Tensor, "b d"]:
    """Return each image as a vector of length 1: averaged down to 16 pixels on its longest side, its mean taken off.

    Products of such vectors are Pearson correlations of coarse images. No network, so nothing has learnt the disease.
    An image without contrast is next to the zero vector.

    Raises:
        NotFiniteError: a pixel is not a number.
    """
    if not x.isfinite().all():
        raise NotFiniteError("images to tell patients by are not finite")
    space = x.shape[2:]
    size = [max(1, round(side * min(1, SIDE / max(space)))) for side in space]
    flat = functional.interpolate(x.cpu().double(), size=size, mode="area").flatten(1)
    return functional.normalize(flat - flat.mean(1, keepdim=True), dim=1, eps=1e-4)


def recall_at_1(
    queries: Float[Tensor, "n d"],
    gallery: Float[Tensor, "m d"],
    same: Float[Tensor, "n m"],
    w: Float[Tensor, "r n"],
    v: Float[Tensor, "r m"],
) -> Float[Tensor, " r"]:
    """Return the share of queries whose nearest image in the gallery is of the same patient, under each row of weights.

    Nearest is the largest product; of several, the share of them that are of the patient. Images of weight 0 are not
    in the gallery, and queries of weight 0 are not asked. In [0, 1]; NaN in a row that leaves either side nothing.
    """
    alike = queries @ gallery.T
    found = []
    for query, image in zip(w.double(), v.double(), strict=True):
        there = alike.masked_fill(image <= 0, -torch.inf)
        best = (there >= there.amax(1, keepdim=True) - 1e-9) & (image > 0)
        hit = (best * same).sum(1) / best.sum(1)
        found.append((query * hit).sum() / query.sum())
    return torch.stack(found)


@dataclass(frozen=True)
class Reidentification:
    """`re-identification`: recall at 1 of the patient, the counterfactual asked, the factual images as gallery.

    After the identity metrics of face counterfactuals (FVA: Rodriguez et al., ICCV 2021; ACE), whose face network has
    no meaning here. The gallery holds the case's own factual image. From 20 cases on; at chance about the patient's
    share of the gallery. Higher keeps more of the patient, hence the identity wins: it ranks only among methods that
    are valid. Read as privacy, lower is better.

    Traps: it falls with the size of the gallery, so compare at equal N; correlation of coarse pixels ignores fine
    detail and sees large lesions and positions, so a true counterfactual of a large finding may lose its patient: its
    own row is the level to reach.
    """

    params: NoParams

    def reference(self, view: View, context: Context) -> Reference:  # noqa: ARG002 - protocol
        """Keep the coarse real images and their patients."""
        if view.x is None:
            raise UndefinedError("this dataset has no images to tell patients by")
        return Reference({_IMAGES: coarse(view.x), _PATIENTS: keys_of(view.patients)})

    def compute(
        self,
        view: View,
        reference: Reference | None,
        weights: Float[Tensor, "r n"],
        reference_weights: Float[Tensor, "r m"],
        context: Context,  # noqa: ARG002 - protocol
    ) -> Float[Tensor, " r"]:
        """Return one recall per row of weights. Raises UndefinedError without images, answers or two patients."""
        if view.x_out is None or reference is None:
            raise UndefinedError(f"the {view.name} view lacks images, or real ones to tell patients by")
        lines = answered(view)
        if not lines.any():
            raise UndefinedError("no case was answered, so there is nobody to recognise")
        gallery, patients = reference.tensors[_IMAGES], reference.tensors[_PATIENTS]
        asked = keys_of(view.patients)[lines]
        _require_patients(patients, asked)
        same = (asked[:, None] == patients).double()
        return recall_at_1(coarse(view.x_out[lines]), gallery, same, weights[:, lines], reference_weights)


def _require_patients(gallery: Int64[Tensor, " m"], asked: Int64[Tensor, " n"]) -> None:
    """Raise UndefinedError where there is nobody to be mistaken for, or a patient who is not there to be found."""
    if len(gallery.unique()) < 2:
        raise UndefinedError(f"telling patients apart needs two of them, got {len(gallery.unique())}")
    if not torch.isin(asked, gallery).all():
        raise UndefinedError("some patients have no factual image to be recognised by")
