"""A training loop on Lightning that resumes bit for bit: step k depends on (weights, optimiser state, seed, k) alone.

How to use it, in a plugin's `fit`::

    pool = ImagePool(train.cases)                                   # cfbench_nets.pool

    def loss(step: int, random: torch.Generator) -> Tensor:         # `random` is seeded from (context.seed, step)
        index = shuffled(len(pool), batch, context.seed, step)      # each image once per pass, in a new order
        x = pool.take(index).to(context.device)
        noise = torch.randn(x.shape, generator=random).to(x)        # draw on the CPU, then move
        return mse(module(x + noise), x)

    with seeded(context.seed, "weights"):                           # initial weights without the global random state
        module = Net()
    train_module(module, loss, Recipe(steps=500, lr=1e-3), context)

Afterwards `module` is in evaluation mode on `context.device` and holds the averaged weights if `recipe.ema` is set.
Every `CHECKPOINT_SECONDS`, or less often where that would take more than `CHECKPOINT_SHARE` of the time, the state goes
to `context.folder/training.safetensors`; called again after a kill, with the same folder, seed and recipe, it goes on
from there. Dropout and the like draw from the global random state, which is
seeded for the step and put back after it.
"""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import pytorch_lightning as lightning
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from cfbench.errors import NotFiniteError
from cfbench.protocols import Context
from cfbench_nets.checkpoint import read_checkpoint, write_checkpoint
from cfbench_nets.ema import Ema
from cfbench_nets.rates import learning_rate
from cfbench_nets.recipe import Recipe, StepLoss, check_precision
from cfbench_nets.seeds import generator, seeded

#: Seconds between checkpoints; a kill loses no more work than this (0: a checkpoint after every step).
CHECKPOINT_SECONDS = 30.0
#: Unless writing one takes a larger share of the time: the state of 128 M parameters is 2 GB.
CHECKPOINT_SHARE = 0.05
#: What changes in a loss scaler: a power of two, and a count. A double holds both exactly.
SCALE = {"scale": float, "_growth_tracker": int}


def train_module(module: nn.Module, loss: StepLoss, recipe: Recipe, context: Context) -> None:
    """Train in place.

    Raises NotFiniteError, naming the step, when the loss stops being a number; SuiteError for float16 on a CPU.
    """
    check_precision(recipe.precision, context.device)
    loop = _Loop(module.to(context.device).train(), loss, recipe, context)
    if loop.first < recipe.steps:
        with _quiet():
            _trainer(recipe, context, loop.scaler).fit(loop, train_dataloaders=range(loop.first, recipe.steps))
    module.load_state_dict((loop.ema.module if loop.ema else module).state_dict())
    module.to(context.device).eval()


class _Loop(lightning.LightningModule):
    """Lightning's view of the training: one batch is one step number."""

    def __init__(self, module: nn.Module, loss: StepLoss, recipe: Recipe, context: Context) -> None:
        super().__init__()
        self.net, self.loss, self.recipe, self.context = module, loss, recipe, context
        self.ema = None if recipe.ema is None else Ema(module, recipe.ema)
        self.optimiser = _optimiser(module, recipe)
        self.scaler = GradScaler(torch.device(context.device).type) if recipe.precision == "float16" else None
        self.path = context.folder / "training.safetensors"
        self.first = self._restore()
        self.saved, self.pause = time.monotonic(), CHECKPOINT_SECONDS

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimiser

    def training_step(self, step: int) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe.rate, self.recipe.lr, step, self.recipe.steps)
        seed = self.context.seed
        with seeded(seed, "layers", step):
            loss = self.loss(step, generator(seed, "step", step))
        if not torch.isfinite(loss):
            raise NotFiniteError(_advice(step, self.recipe))
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: object,  # noqa: ARG002 - Lightning's signature
        gradient_clip_val: float | None = None,  # noqa: ARG002
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        # Lightning refuses this for fused optimisers under mixed precision; without a loss scaler it is sound, and
        # with one the optimiser is not fused and the gradients have been unscaled before.
        nn.utils.clip_grad_norm_(self._weights(), self.recipe.clip)

    def on_train_batch_end(self, _outputs: object, batch: int, _batch_idx: int) -> None:
        if self.ema is not None:
            self.ema.update(batch)
        done = batch + 1
        if done < self.recipe.steps and time.monotonic() - self.saved >= self.pause:
            self._save(done)
        self.context.progress(done, self.recipe.steps, "training")

    def on_train_end(self) -> None:
        self._save(self.recipe.steps)

    def _facts(self) -> dict[str, int | str]:
        return {"steps": self.recipe.steps, "seed": self.context.seed, "recipe": repr(self.recipe)}

    def _save(self, done: int) -> None:
        start = time.monotonic()
        write_checkpoint(self.path, self._state(), {**self._facts(), "done": done})
        self.saved = time.monotonic()
        if CHECKPOINT_SECONDS:
            self.pause = max(CHECKPOINT_SECONDS, (self.saved - start) / CHECKPOINT_SHARE)

    def _state(self) -> dict[str, Tensor]:
        state = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        if self.ema is not None:
            state |= {f"ema.{name}": value for name, value in self.ema.module.state_dict().items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{number}.{name}": value for name, value in moments.items()}
        if self.scaler is not None:
            scale = self.scaler.state_dict()
            state |= {f"scaler.{name}": torch.tensor(scale[name], dtype=torch.float64) for name in SCALE}
        return state

    def _restore(self) -> int:
        """Return the number of steps that are already done; 0 without a sound checkpoint of this very training."""
        found = read_checkpoint(self.path, self._facts())
        if found is None:
            return 0
        tensors, facts = found
        wanted = {name: value.shape for name, value in _below(self._state(), "net").items()}
        if {name: value.shape for name, value in _below(tensors, "net").items()} != wanted:
            return 0
        self.net.load_state_dict(_below(tensors, "net"))
        if self.ema is not None:
            self.ema.module.load_state_dict(_below(tensors, "ema"))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, "optimiser").items():
            number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = _laid_out_like(self._weights()[int(number)], value)
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        if self.scaler is not None:
            scale = _below(tensors, "scaler")
            changed = {name: kind(scale[name].item()) for name, kind in SCALE.items()}
            self.scaler.load_state_dict({**self.scaler.state_dict(), **changed})
        return int(facts["done"])

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.optimiser.param_groups for weight in group["params"]]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _laid_out_like(weight: Tensor, value: Tensor) -> Tensor:
    """Return the value in the memory layout of the weight: fused optimisers walk both in storage order, unchecked."""
    return torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value


def _optimiser(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights = [p for p in module.parameters() if p.requires_grad]
    # A fused optimiser would unscale float16 gradients itself, after they have been clipped.
    fused = recipe.precision != "float16"
    return torch.optim.AdamW(weights, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)


def _advice(step: int, recipe: Recipe) -> str:
    return (
        f"training step {step} of {recipe.steps}: the loss is not a finite number; check the images for NaN, "
        f"or try a smaller lr than {recipe.lr:g}" + (", or float32" if recipe.precision != "float32" else "")
    )


def _trainer(recipe: Recipe, context: Context, scaler: GradScaler | None) -> lightning.Trainer:
    device = torch.device(context.device)
    plain: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if recipe.precision == "bfloat16" else "32-true"
    return lightning.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=1 if device.index is None else [device.index],
        precision=plain if scaler is None else None,
        plugins=None if scaler is None else MixedPrecision("16-mixed", device.type, scaler),
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        # Bit-identical repetition on a GPU; the CPU needs no switch.
        deterministic=None if device.type == "cpu" else "warn",
        default_root_dir=context.folder,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's banners (progress has its own channel) and a warning about its own use of torch."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            yield
    finally:
        log.setLevel(level)
