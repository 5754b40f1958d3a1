"""Whether counterfactuals teach a classifier something about patients that it has not seen."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.protocols import Context
from cfbench.specs import NoParams
from cfbench.types import Reference, View
from cfbench_metrics.auc import weighted_auc
from cfbench_metrics.columns import answered, grades_of, targets_of, task_of
from cfbench_metrics.dealing import DEALS, deal
from cfbench_metrics.panel import made_side, real_panel, real_side
from cfbench_metrics.probe import logistic, principal, say
from cfbench_metrics.transition import class_of

_CLASS = "class"
#: Fewest lines of each class to learn from, and to be tested on.
_LEAST = 5


@dataclass(frozen=True)
class Lines:
    """Lines with features, a class (1, 0; -1 takes no part), the half that their patient is in, and weights."""

    x: Float[Tensor, "n d"]
    positive: Int64[Tensor, " n"]
    half: Int64[Tensor, " n"]
    weights: Float[Tensor, "r n"]

    def of(self, half: int) -> "Lines":
        """Return the lines of one half that take part."""
        chosen = (self.half == half) & (self.positive >= 0)
        return Lines(self.x[chosen], self.positive[chosen], self.half[chosen], self.weights[:, chosen])


def gain(real: Lines, made: Lines, half: int) -> Float[Tensor, " r"]:
    """Return AUC(probe of real and made lines) - AUC(probe of real lines), learnt in one half, tested in the other.

    Only real lines are tested on. NaN in a row that leaves the tested half one class.

    Raises:
        UndefinedError: a half has fewer than five real lines of a class.
    """
    known, asked, new = real.of(half), real.of(1 - half), made.of(half)
    for lines in (known, asked):
        fewest = min(int((lines.positive == c).sum()) for c in (0, 1))
        if fewest < _LEAST:
            raise UndefinedError(f"a probe needs {_LEAST} real cases of each class in each half, got {fewest}")
    old, added, tested = (principal(each.x.double(), known.x.double()) for each in (known, new, asked))
    both = torch.cat([old, added]), torch.cat([known.positive, new.positive]).double()
    plain = logistic(old, known.positive.double(), known.weights)
    taught = logistic(*both, torch.cat([known.weights, new.weights], dim=1))
    before, after = (_aucs(say(probe, tested), asked) for probe in (plain, taught))
    return after - before


def _aucs(scores: Float[Tensor, "r n"], asked: Lines) -> Float[Tensor, " r"]:
    truth = asked.positive == 1
    rows = [weighted_auc(s, truth, w[None]) for s, w in zip(scores, asked.weights, strict=True)]
    return torch.cat(rows)


@dataclass(frozen=True)
class AugmentationUtility:
    """`augmentation-utility`: what counterfactuals, labelled with their targets, add to a probe's AUC on real images.

    After the classifier trained with synthetic images and tested on real ones (TSTR; S2, ControlCG, section 4), with a
    logistic probe on the first 32 principal components of each judge's features in place of a network: a view has no
    training images, and a metric trains no network. Half of the test patients teach (their real images, and with
    them their counterfactuals), the other half are tested on; both ways, over five seeded halves, averaged over
    judges. In [-1, 1], higher is better, 0 adds nothing. From 40 cases on.

    Traps: judges' features already separate the classes, so there is little to gain and much to lose: read it as harm
    (the identity, labelled with the other class, is below 0) before use; not the gain of training a network, and
    not comparable with published ones; adversarial images that fool the judges lose nothing here.
    """

    params: NoParams

    def reference(self, view: View, context: Context) -> Reference:  # noqa: ARG002 - protocol
        """Keep the real images' patients, features and classes."""
        return Reference({**real_panel(view).tensors, _CLASS: class_of(grades_of(view), task_of(view))})

    def compute(
        self,
        view: View,
        reference: Reference | None,
        weights: Float[Tensor, "r n"],
        reference_weights: Float[Tensor, "r m"],
        context: Context,
    ) -> Float[Tensor, " r"]:
        """Return one gain per row of weights. Raises UndefinedError with too few patients or cases of a class."""
        lines = answered(view)
        if reference is None or not lines.any():
            raise UndefinedError("no case was answered, or there are no real images, so there is nothing to learn from")
        real = real_side(reference, reference_weights)
        made = made_side(view, weights, real)
        classes = reference.tensors[_CLASS], class_of(targets_of(view)[lines], task_of(view))
        found = []
        for done, seed in enumerate(range(DEALS)):
            dealt = deal(real.keys, 2, seed)
            halves = [torch.tensor([dealt.get(key, -1) for key in side.keys.tolist()]) for side in (real, made)]
            for judge in made.features:
                sides = [
                    Lines(side.features[judge], positive, half, side.weights)
                    for side, positive, half in zip((real, made), classes, halves, strict=True)
                ]
                found += [gain(sides[0], sides[1], half) for half in (0, 1)]
            context.progress(done + 1, DEALS, "dealings")
        return torch.stack(found).mean(0)
