"""A rate that falls by a factor after every so many steps (StepLR), as a chain of trainings at constant rates."""

from dataclasses import dataclass, replace

from torch import nn

from cfbench.protocols import Context
from cfbench_nets.checkpoint import read_checkpoint, write_checkpoint
from cfbench_nets.recipe import Recipe, StepLoss


@dataclass(frozen=True)
class Decay:
    """Multiply the rate by `factor` after every `every` steps."""

    every: int
    factor: float


def train_stages(module: nn.Module, loss: StepLoss, recipe: Recipe, decay: Decay | None, context: Context) -> None:
    """Train like `train_module`, stage by stage: the optimiser's state is handed over, so only the rate changes."""
    from cfbench_nets.training import train_module  # Lightning takes seconds to import; judging does without

    stages = [recipe] if decay is None else _stages(recipe, decay)
    first = _reached(stages, context)
    for i, stage in enumerate(stages[first:], first):
        if i > first:
            _hand_over(stages[i - 1], stage, context)
        train_module(module, loss, stage, context)


def _stages(recipe: Recipe, decay: Decay) -> list[Recipe]:
    """Return one recipe per constant rate; its `steps` is where it ends."""
    ends = [*range(decay.every, recipe.steps, decay.every), recipe.steps]
    return [replace(recipe, rate="constant", lr=recipe.lr * decay.factor**i, steps=end) for i, end in enumerate(ends)]


def _facts(stage: Recipe, context: Context) -> dict[str, int | str]:
    """Return how `train_module` marks the checkpoints of a stage."""
    return {"steps": stage.steps, "seed": context.seed, "recipe": repr(stage)}


def _reached(stages: list[Recipe], context: Context) -> int:
    """Return the number of the stage in which an earlier fit was killed; 0 if there was none."""
    path = context.folder / "training.safetensors"
    return next((i for i, stage in enumerate(stages) if read_checkpoint(path, _facts(stage, context))), 0)


def _hand_over(before: Recipe, stage: Recipe, context: Context) -> None:
    """Turn the last checkpoint of a stage into the first one of the next."""
    path = context.folder / "training.safetensors"
    found = read_checkpoint(path, {**_facts(before, context), "done": before.steps})
    assert found is not None  # noqa: S101 - a training ends with a checkpoint
    write_checkpoint(path, found[0], {**_facts(stage, context), "done": before.steps})
