"""Whether the explained classifier stands on the pixels that a map marks."""

from dataclasses import dataclass

import torch

from cfbench.errors import UndefinedError
from cfbench.protocols import Context
from cfbench.types import Values, View
from cfbench_metrics.composites import area_under_course, classify_of, flat, places
from cfbench_metrics.params import BlurredCourse
from cfbench_nets.classify.filters import gaussian_blur


@dataclass(frozen=True)
class Perturbation:
    """Makes `deletion` and `insertion`; see `score`."""

    params: BlurredCourse
    #: Whether marked pixels are brought in, rather than taken away.
    inserting: bool

    def score(self, view: View, context: Context) -> Values:
        """Return the area under the probability of the class that the classifier gives x, in [0, 1].

        Deletion: the pixels with the most heat are replaced first, by those of a blurred x; lower is better. Insertion:
        they come first into the blurred x; higher is better. RISE (Petsiuk, Das and Saenko, BMVC 2018), with 50 steps
        and a blurred baseline for both. NaN for a map that is the same everywhere, which orders nothing.

        Traps: the baseline decides much (LATEC: Klein et al., NeurIPS 2024), hence its name and one setting for all; a
        classifier of texture is fooled by blur itself, so read it beside `random-map`. It tells what the classifier
        stands on, not where the disease is.
        """
        if view.x is None or view.heat is None:
            raise UndefinedError(f"the {view.name} view lacks a heat map or its images")
        x, heat = view.x, view.heat
        baseline = gaussian_blur(x, self.params.sigma * min(x.shape[2:]))
        start, end = (baseline, x) if self.inserting else (x, baseline)
        classify, place = classify_of(view), places(heat, context.seed)
        own = classify(x).proba.argmax(1, keepdim=True)
        area = area_under_course(classify, start, end, place, self.params.steps).gather(1, own).squeeze(1)
        return area.where(flat(heat) == 0, torch.nan)


def deletion(params: BlurredCourse) -> Perturbation:
    """Make `deletion-blur`."""
    return Perturbation(params, inserting=False)


def insertion(params: BlurredCourse) -> Perturbation:
    """Make `insertion-blur`."""
    return Perturbation(params, inserting=True)
