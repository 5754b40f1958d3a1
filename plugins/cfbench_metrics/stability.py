"""How far an explanation moves when its image gets noise that nobody sees."""

import torch

from cfbench.errors import UndefinedError
from cfbench.types import Maps, Values, View
from cfbench_metrics.adapters import PerLine
from cfbench_metrics.columns import answers_of
from cfbench_metrics.l1 import mean_absolute_difference
from cfbench_metrics.params import Noise


def shift_under_noise(view: View) -> Values:
    """Return `mean |G(x, t) - G(x + e, t)|` of each line, e Gaussian noise of the metric's sigma (x + e in [0, 1]).

    The stability of explanations under changed inputs (Alvarez-Melis and Jaakkola, arXiv 1806.08049; of
    counterfactuals: RobustX, arXiv 2502.13751), with L1, on average and not at its worst. Images in [0, 1], so in
    [0, 1]; lower is better. One draw of noise per case, the same for all methods; random parts of a method draw the
    same numbers both times. Defined from one line on. A line without an answer under noise is failed.

    Traps: what ignores its image gets 0, and the identity gets no more than the noise itself (some .8 sigma): read it
    with `flip`. Methods that keep the detail of x (in x_T, by a skip connection) carry the noise over, and are no worse
    for it: values below sigma mean that nothing is amplified.
    """
    return mean_absolute_difference(*answers_of(view))


def stability(params: Noise) -> PerLine:  # noqa: ARG001 - the host makes the noise
    """Make `stability`; see `shift_under_noise`."""
    return PerLine(shift_under_noise)


def correlation_of_maps(a: Maps, b: Maps) -> Values:
    """Return Pearson's correlation over the pixels of each pair of maps, in [-1, 1].

    NaN where a is flat (there is nothing to be kept), 0 where b alone is.
    """
    x, y = (each.flatten(1).double() for each in (a, b))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    lengths = torch.linalg.vector_norm(x, dim=1), torch.linalg.vector_norm(y, dim=1)
    flat = [(each.flatten(1).amax(1) == each.flatten(1).amin(1)) for each in (a, b)]
    product = (x * y).sum(1) / (lengths[0] * lengths[1])
    return product.clamp(-1, 1).masked_fill(flat[1], 0).masked_fill(flat[0], torch.nan)


def map_stability_of(view: View) -> Values:
    """Return the correlation of each line's heat map with the one of the same image with noise (see `stability`).

    After Alvarez-Melis and Jaakkola, arXiv 1806.08049, with a correlation for their distance, because maps have no
    common scale. In [-1, 1], higher is better; no value for a flat map.

    Traps: a map that ignores its image gets 1, and edges nearly so: read it with `auprc` or `deletion-blur`.
    """
    if view.heat is None or view.perturbed is None or view.perturbed.heat is None:
        raise UndefinedError(f"the {view.name} view has no maps under noise; does this method make maps?")
    return correlation_of_maps(view.heat, view.perturbed.heat)


def map_stability(params: Noise) -> PerLine:  # noqa: ARG001 - the host makes the noise
    """Make `map-stability`; see `map_stability_of`."""
    return PerLine(map_stability_of)
