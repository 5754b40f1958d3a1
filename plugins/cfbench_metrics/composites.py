"""Images between two images, pixel by pixel in the order of a map, and what the explained classifier says of them."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.types import Images, Judged, Values, View

Classify = Callable[[Images], Judged]


def classify_of(view: View) -> Classify:
    """Return the way to ask the classifier that is explained."""
    if view.classify is None:
        raise UndefinedError(
            f"the {view.name} view cannot ask the explained classifier; give the suite `explains:` to measure this"
        )
    return view.classify


def places(evidence: Float[Tensor, "b 1 *space"], seed: int) -> Float[Tensor, "b 1 *space"]:
    """Return each pixel's place, from 0 (the most evidence) to almost 1; ties are broken by a draw that is fixed.

    Broken by position instead, a flat map would be read from the upper left to the lower right.
    """
    flat = evidence.flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed)).to(flat.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    place = torch.empty_like(flat)
    steps = torch.arange(flat.shape[1], device=flat.device, dtype=flat.dtype) / flat.shape[1]
    return place.scatter_(1, order, steps.expand_as(flat)).reshape(evidence.shape)


def area_under_course(
    classify: Classify, start: Images, end: Images, place: Float[Tensor, "b 1 *space"], steps: int
) -> Float[Tensor, "b k"]:
    """Return the area under each class's probability while pixels of `end` replace those of `start`, first place first.

    The trapezoidal rule over `steps + 1` composites, the first being `start` and the last `end`; in [0, 1]. A composite
    that is the one before it, as after the last changed pixel, is not classified again.
    """
    last, course = start, [classify(start).proba.double()]
    for i in range(1, steps + 1):
        composite = torch.where(place < i / steps, end, start)
        new = (composite != last).flatten(1).any(dim=1)
        proba = course[-1].clone()
        if new.any():
            proba[new] = classify(composite[new]).proba.double()
        course.append(proba)
        last = composite
    return torch.trapezoid(torch.stack(course), dx=1 / steps, dim=0)


def flat(evidence: Float[Tensor, "b 1 *space"]) -> Values:
    """Return 1 for maps that order nothing, else 0."""
    each = evidence.flatten(1)
    return (each.amax(1) == each.amin(1)).double()
