"""The smallest change that flips the explained classifier, and nothing else: what validity under it alone is worth."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.protocols import Context, DifferentiableClassifier, Models
from cfbench.specs import DatasetInfo, Task
from cfbench.types import Batch, Code, Explanation, Images, Targets, Values
from cfbench_nets.classify.grades import log_odds
from cfbench_sentinels.attribution import images_of
from cfbench_sentinels.plugin import AdversarialParams
from cfbench_sentinels.silent import Silent
from cfbench_sentinels.wanted import wants_positive

#: Times that a flip is sought, pulled back towards x, and begun anew from its own tangent plane.
ROUNDS = 8
#: A line rests after so many rounds in a row that brought its flip nearer by less than this share.
IDLE, GAIN = 2, 1e-3
#: Places that are tried on the way between x and a flip.
PULLS = 4
#: Furthest that a pixel moves in one step of a search: beyond it a tangent says little.
REACH = 0.1
#: Share by which a step aims beyond the margin, as the decision bends away from its tangent.
OVERSHOOT = 0.02
#: Rise of the score that a step aims at, at least: a smaller one is lost in the last digits of the pixels.
LEAST_RISE = 1e-3

#: Slope below which a score is flat; it must not divide by 0.
FLAT = 1e-12

#: Positions of images among those that were asked about.
Rows = Int[Tensor, " b"]
#: Images, and the rows that they are of, to a number that is to rise above 0, differentiable.
Score = Callable[[Images, Rows], Values]


class Adversarial(Silent):
    """Flip the explained classifier's decision to the target's class by the least change in L2 or L-infinity.

    A search along tangent planes (DeepFool: Moosavi-Dezfooli et al. 2016) in the box [0, 1], then projections of x
    onto the tangent plane at the nearest flip found, so long as they come nearer.
    """

    def __init__(self, params: AdversarialParams, data: DatasetInfo, task: Task) -> None:  # noqa: ARG002 - a factory
        self.params, self.task = params, task

    def explain(
        self,
        models: Models,
        batch: Batch,
        code: Code | None,  # noqa: ARG002 - protocol
        targets: Targets,
        context: Context,
    ) -> Explanation:
        """Return the perturbed images; a line whose decision never flipped says so, and keeps its own image."""
        if targets.kind not in ("flip", "grade"):
            raise UndefinedError(f"adversarial answers targets of kind 'flip' and 'grade', not {targets.kind!r}")
        if not isinstance(models.classifier, DifferentiableClassifier):
            raise UndefinedError("adversarial needs an explained classifier that lets gradients through")
        network, x = models.classifier.network, images_of(batch).to(context.device)
        side = torch.where(wants_positive(targets, self.task), 1.0, -1.0).to(x)

        def score(near: Images, rows: Rows) -> Values:
            return side[rows] * log_odds(network(near), self.task) - self.params.margin

        x_cf, flipped = smallest_flip(score, x, self.params)
        failed = f"the classifier's decision did not flip within {ROUNDS} searches of {self.params.steps} steps"
        return Explanation(x_cf, tuple("ok" if ok else failed for ok in flipped.tolist()))


def smallest_flip(score: Score, x: Images, params: AdversarialParams) -> tuple[Images, Bool[Tensor, " b"]]:
    """Return images in [0, 1] near x with score >= 0, and where they were found; elsewhere x itself."""
    every = torch.arange(len(x), device=x.device)
    at_x = score_of(score, x, every)
    best, size = x.clone(), torch.where(at_x >= 0, 0.0, torch.inf)
    share, idle = torch.ones_like(size), torch.zeros_like(every)
    live = every[at_x < 0]
    for done in range(ROUNDS):
        if not len(live):
            break
        start = best[live]
        if done:
            start = start + _wide(share[live], start) * (_projected(score, x[live], start, live, params) - start)
        found, flips = _pulled(score, x[live], at_x[live], _searched(score, start, live, params), live)
        before, change = size[live], distance(found - x[live], params)
        nearer = flips & (change < before)
        best[live[nearer]], size[live[nearer]] = found[nearer], change[nearer]
        # A decision that bends leads past the nearest point: half the way then.
        share[live[~nearer]] /= 2
        idle[live] = torch.where(size[live] > (1 - GAIN) * before, idle[live] + 1, 0)
        live = live[idle[live] < IDLE]
    return best, size.isfinite()


def distance(change: Images, params: AdversarialParams) -> Values:
    """Return the size of each image's change: L2, or L-infinity."""
    flat = change.flatten(1)
    return flat.norm(dim=1) if params.norm == "l2" else flat.abs().amax(dim=1)


@torch.no_grad()
def score_of(score: Score, x: Images, rows: Rows) -> Values:
    """Return the score without a gradient."""
    return score(x, rows)


def _searched(score: Score, x: Images, rows: Rows, params: AdversarialParams) -> Images:
    """Step towards the tangent plane of score 0 until it is crossed; a line that has crossed rests."""
    x, live = x.clone(), torch.arange(len(x), device=x.device)
    for _ in range(params.steps):
        value, gradient = _tangent(score, x[live], rows[live])
        behind = value < 0
        live = live[behind]
        if not len(live):
            break
        x[live] = _stepped(x[live], value[behind], gradient[behind], params)
    return x


def _stepped(x: Images, value: Values, gradient: Images, params: AdversarialParams) -> Images:
    """Return images one step nearer to the tangent plane of score 0, or just beyond it."""
    rise = (-(1 + OVERSHOOT) * value).clamp(min=LEAST_RISE)
    step = _crossing(rise, _inside(gradient, x), params)
    furthest = step.flatten(1).abs().amax(dim=1).clamp(min=REACH)
    return (x + _wide(REACH / furthest, x) * step).clamp(0, 1)


def _pulled(score: Score, x: Images, at_x: Values, found: Images, rows: Rows) -> tuple[Images, Bool[Tensor, " b"]]:
    """Return the point between x and a flip that is nearest to x and still flips, and whether there is any.

    The Illinois method: a straight line through the scores at both ends says where to look, and an end that stays
    counts half.
    """
    low, high = torch.zeros_like(at_x), torch.ones_like(at_x)
    at_low, at_high = at_x, score_of(score, found, rows)
    flips = at_high >= 0
    for _ in range(PULLS):
        share = low + (high - low) * (at_low / (at_low - at_high)).where(flips, 1)
        at_share = score_of(score, x + _wide(share, x) * (found - x), rows)
        beyond = at_share >= 0
        low, at_low = torch.where(beyond, low, share), torch.where(beyond, at_low / 2, at_share)
        high, at_high = torch.where(beyond, share, high), torch.where(beyond, at_share, at_high / 2)
    return x + _wide(high, x) * (found - x), flips


def _projected(score: Score, x: Images, found: Images, rows: Rows, params: AdversarialParams) -> Images:
    """Return the point of the tangent plane at a flip that is nearest to x, in [0, 1]."""
    value, gradient = _tangent(score, found, rows)
    gradient = _inside(gradient, found)
    at_x = value + (gradient * (x - found)).flatten(1).sum(dim=1)
    return (x + _crossing(-at_x.clamp(max=0), gradient, params)).clamp(0, 1)


def _tangent(score: Score, x: Images, rows: Rows) -> tuple[Values, Images]:
    """Return the score and its gradient."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = score(x, rows)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def _inside(gradient: Images, x: Images) -> Images:
    """Return the gradient without the pixels that are already as dark or as bright as they can be."""
    stuck = ((x <= 0) & (gradient < 0)) | ((x >= 1) & (gradient > 0))
    return gradient.masked_fill(stuck, 0)


def _crossing(rise: Values, gradient: Images, params: AdversarialParams) -> Images:
    """Return the least change that raises a linear score by so much."""
    flat = gradient.flatten(1)
    direction, slope = (
        (gradient, flat.square().sum(dim=1)) if params.norm == "l2" else (gradient.sign(), flat.abs().sum(dim=1))
    )
    return _wide(rise / slope.clamp(min=FLAT), gradient) * direction


def _wide(values: Float[Tensor, " b"] | Bool[Tensor, " b"], x: Images) -> Tensor:
    """Return one value per image in a shape that meets the images'."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
