"""Training to the best validation loss, with an early end where it no longer improves."""

import logging
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cfbench.protocols import Context
from cfbench_nets.classify.best import Best
from cfbench_nets.classify.schedule import Schedule
from cfbench_nets.classify.stages import train_stages
from cfbench_nets.recipe import StepLoss

log = logging.getLogger(__name__)


class _PatienceLost(Exception):  # noqa: N818 - it ends a training, and is no error
    """Leaves the training loop."""


def train_to_best(
    net: nn.Module, loss: StepLoss, check: Callable[[], float] | None, schedule: Schedule, context: Context, name: str
) -> None:
    """Train in place and leave the weights with the least `check()`, which sees the network in evaluation mode.

    Without `check`, the last weights stay. `name` tells one judge's checkpoints from another's. Whether the training
    ends early depends on the steps of the best and of the present check alone, so a killed one resumes alike.
    """
    best = Best(net, context, name)

    def look(step: int) -> None:
        if check is None:
            return
        since = step - best.offer(_evaluated(net, check), step)
        if schedule.patience is not None and since >= schedule.patience:
            raise _PatienceLost

    def watched(step: int, random: torch.Generator) -> Float[Tensor, ""]:
        if step in schedule.checks:
            look(step)
        return loss(step, random)

    try:
        train_stages(net, watched, schedule.recipe, schedule.decay, context)
        look(schedule.recipe.steps)
    except _PatienceLost:
        log.info("training ended early: validation has not improved for %d steps", schedule.patience)
    best.restore()
    net.to(context.device).eval()


def _evaluated(net: nn.Module, check: Callable[[], float]) -> float:
    """Return the check's loss; batch norms and dropout learn and draw nothing meanwhile."""
    training = net.training
    net.eval()
    try:
        return check()
    finally:
        net.train(training)
