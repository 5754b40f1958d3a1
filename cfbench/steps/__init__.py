"""Steps: each does one piece of a plan's work on tensors and leaves files in its draft folder."""

from collections.abc import Callable, Mapping

from cfbench.steps import codes, explain, fits, gallery, judge, measure, reference
from cfbench.steps.work import Work

#: Kind of step to the function that does it.
STEPS: Mapping[str, Callable[[Work], None]] = {
    "fit_generator": fits.fit_generator,
    "fit_attribution": fits.fit_attribution,
    "fit_judge": fits.fit_judge,
    "encode": codes.encode,
    "invert": codes.invert,
    "reconstruct": codes.reconstruct,
    "sample": codes.sample,
    "predict": explain.predict,
    "explain": explain.explain,
    "judge": judge.judge,
    "reference": reference.reference,
    "measure": measure.measure,
    "gallery": gallery.gallery,
}
