"""Steps: each does one piece of a plan's work on tensors and leaves files in its draft folder."""

from collections.abc import Callable, Mapping

from cfbench.steps import assess, audit, codes, explain, figure, fits, gallery, judge, measure, prepare, rank, reference
from cfbench.steps.work import Work

#: Kind of step to the function that does it.
STEPS: Mapping[str, Callable[[Work], None]] = {
    "prepare": prepare.prepare,
    "audit": audit.audit,
    "fit_generator": fits.fit_generator,
    "fit_attribution": fits.fit_attribution,
    "fit_explained": fits.fit_explained,
    "fit_judge": fits.fit_judge,
    "encode": codes.encode,
    "invert": codes.invert,
    "reconstruct": codes.reconstruct,
    "sample": codes.sample,
    "predict": explain.predict,
    "explain": explain.explain,
    "cycle": explain.cycle,
    "perturbed": explain.perturbed,
    "judge": judge.judge,
    "assess": assess.assess,
    "reference": reference.reference,
    "measure": measure.measure,
    "rank": rank.rank,
    "figure": figure.figure,
    "gallery": gallery.gallery,
}
