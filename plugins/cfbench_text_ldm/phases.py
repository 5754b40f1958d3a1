"""Phases of a training: each in a folder of its own, so that a kill loses none that is done."""

import re
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cfbench.protocols import Context
from cfbench_nets.recipe import Recipe
from cfbench_nets.seeds import on_device, seed_of

Loss = Callable[[int, torch.Generator], Float[Tensor, ""]]


def phase(context: Context, what: str, params: object) -> Context:
    """Return the context of one phase: its folder, progress that says what is done, a seed of all parameters.

    So a phase never resumes from what other parameters left in the same folder.
    """
    folder = context.folder / re.sub(r"\W+", "-", what)
    folder.mkdir(parents=True, exist_ok=True)

    def progress(done: int, total: int, part: str) -> None:
        context.progress(done, total, what if part == "training" else f"{what}: {part}")

    return replace(context, seed=seed_of(context.seed, what, repr(params)), folder=folder, progress=progress)


def learn(module: nn.Module, loss: Loss, recipe: Recipe, context: Context) -> None:
    """Train in place and resume; the loss is given the step and a generator on the context's device."""
    from cfbench_nets.training import train_module  # Lightning takes seconds to import; only fits need it

    def on_its_device(step: int, random: torch.Generator) -> Float[Tensor, ""]:
        return loss(step, on_device(random, context.device))

    train_module(module, on_its_device, recipe, context)
