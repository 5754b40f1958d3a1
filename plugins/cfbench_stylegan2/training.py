"""Training the GAN: step k depends on (networks, optimisers, averages, seed, k) alone, so it resumes bit for bit."""

import copy
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cfbench.errors import NotFiniteError
from cfbench.protocols import Context
from cfbench_nets.checkpoint import read_checkpoint, write_checkpoint
from cfbench_nets.padding import pad
from cfbench_nets.pool import ImagePool, shuffled
from cfbench_nets.seeds import generator as random_generator
from cfbench_nets.seeds import on_device
from cfbench_stylegan2.augment import AdaptiveP, augmented
from cfbench_stylegan2.grids import COLUMNS, GRIDS, write_grid
from cfbench_stylegan2.losses import discriminator_loss, generator_loss, path_lengths, path_penalty, r1_penalty
from cfbench_stylegan2.networks.discriminator import Discriminator
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.plugin import StyleGAN2Params

#: Seconds between checkpoints (0: one after every step), unless writing takes a larger share of the time.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 30.0, 0.05
#: Steps between looks at the losses, and between adjustments of the augmentation's p: each waits for a GPU.
CHECK_EVERY, ADJUST_EVERY = 16, 4
#: Path lengths are taken over a batch this much smaller.
PATH_SHRINK = 2
#: Rows of a sample grid.
ROWS = 4


def trained(
    params: StyleGAN2Params, generator: StyleGenerator, discriminator: Discriminator, pool: ImagePool, context: Context
) -> tuple[StyleGenerator, Discriminator]:
    """Train on square images of the pool; return the averaged generator and the discriminator, in evaluation mode.

    Writes `gan.safetensors`, from where it resumes, and sample grids into `context.folder`. Raises NotFiniteError
    when a loss is no number.
    """
    loop = _Loop(params, generator, discriminator, pool, context)
    for step in range(loop.restore(), params.steps):
        loop.step(step)
        done = step + 1
        if done % CHECK_EVERY == 0 or done == params.steps:
            loop.check(done)
        loop.keep(done)
        context.progress(done, params.steps, "training the GAN")
    return loop.average.eval(), loop.discriminator.eval()


def ema_decay(batch: int, half_life: float) -> float:
    """Return the decay per step under which a weight's share halves every `half_life` images."""
    return 0.5 ** (batch / half_life)


def lazy_adam(weights: list[nn.Parameter], lr: float, every: int, device: str) -> torch.optim.Adam:
    """Return Adam with betas (0, .99), corrected for a regularisation in a step of its own after every `every` steps.

    With c = every / (every + 1), both betas are raised to c and the rate is multiplied by it; 0: no such step.
    """
    c = every / (every + 1) if every else 1.0
    fused = torch.device(device).type in {"cpu", "cuda"}
    return torch.optim.Adam(weights, lr=lr * c, betas=(0.0**c, 0.99**c), fused=fused)


class _Loop:
    def __init__(
        self,
        params: StyleGAN2Params,
        generator: StyleGenerator,
        discriminator: Discriminator,
        pool: ImagePool,
        context: Context,
    ) -> None:
        self.params, self.pool, self.context = params, pool, context
        self.generator, self.discriminator = generator.train(), discriminator.train()
        self.average = copy.deepcopy(generator).requires_grad_(False)
        r1_every, path_every = params.r1_every if params.r1 else 0, params.path_every if params.path else 0
        device = context.device
        self.optimisers = {
            "generator": lazy_adam(list(generator.parameters()), params.lr, path_every, device),
            "discriminator": lazy_adam(list(discriminator.parameters()), params.lr, r1_every, device),
        }
        self.path_mean = torch.zeros((), device=device)
        self.ada = AdaptiveP(params.augment_p, params.augment_target, params.augment_images, device)
        self.sum = torch.zeros((), device=device)
        self.saved, self.pause = time.monotonic(), CHECKPOINT_SECONDS

    def step(self, step: int) -> None:
        """Do one step of the discriminator and one of the generator, and the regularisations that are due."""
        p, seed = self.params, self.context.seed
        random = on_device(random_generator(seed, "gan", step), self.context.device)
        real = self._real(step, random)
        self._discriminate(real, random)
        if p.r1 and step % p.r1_every == 0:
            penalty = r1_penalty(self.discriminator, self._seen(real, random))
            self._descend("discriminator", penalty * (p.r1 / 2 * p.r1_every))
        self._generate(random)
        if p.path and step % p.path_every == 0:
            self._shorten(random)
        self._follow()
        if p.augment == "adaptive" and (step + 1) % ADJUST_EVERY == 0:
            self.ada.adjust()

    def _discriminate(self, real: Tensor, random: torch.Generator) -> None:
        with torch.no_grad():
            fake = self.generator.synthesis(*self._latents(self.params.batch, random))
        logits = self.discriminator(self._seen(real, random))
        self.ada.observe(logits)
        loss = discriminator_loss(logits, self.discriminator(self._seen(fake, random)))
        self._descend("discriminator", loss)

    def _generate(self, random: torch.Generator) -> None:
        fake = self.generator.synthesis(*self._latents(self.params.batch, random))
        self.discriminator.requires_grad_(requires_grad=False)
        self._descend("generator", generator_loss(self.discriminator(self._seen(fake, random))))
        self.discriminator.requires_grad_(requires_grad=True)

    def _shorten(self, random: torch.Generator) -> None:
        ws, noise = self._latents(max(1, self.params.batch // PATH_SHRINK), random)
        lengths = path_lengths(self.generator.synthesis(ws, noise), ws, random)
        penalty, self.path_mean = path_penalty(lengths, self.path_mean)
        self._descend("generator", penalty * (self.params.path * self.params.path_every))

    def _latents(self, n: int, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return styles "n l s", mixed where the dice say so, and noise maps."""
        g = self.generator
        device = self.context.device
        z = torch.randn(2 * n, g.style_dim, generator=random, device=device)
        mixed, cut = torch.rand(2, generator=random, device=device)
        first, second = g.mapping(z).split(n)
        # The layer from which the second style takes over; num_ws: nowhere.
        layer = torch.where(mixed < self.params.mixing, 1 + (cut * (g.num_ws - 1)).floor(), g.num_ws)
        late = torch.arange(g.num_ws, device=device) >= layer
        ws = torch.where(late[:, None], second[:, None], first[:, None])
        return ws, g.draw_noise(n, random)

    def _real(self, step: int, random: torch.Generator) -> Tensor:
        x = self.pool.take(shuffled(len(self.pool), self.params.batch, self.context.seed, step))
        x = pad(x, self.generator.side) * 2 - 1
        if self.params.flip:
            mirrored = torch.rand(len(x), generator=random, device=x.device) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return x

    def _seen(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Return images as the discriminator sees them."""
        p = self.params
        return x if p.augment == "off" else augmented(x, self.ada.p, p.augment_kinds, random)

    def _descend(self, name: str, loss: Float[Tensor, ""]) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        self.sum += loss.detach()

    def _follow(self) -> None:
        """Move the averaged generator."""
        decay = ema_decay(self.params.batch, self.params.ema_images)
        new = [weight.detach() for weight in self.generator.parameters()]
        torch._foreach_lerp_(list(self.average.parameters()), new, 1 - decay)

    def check(self, done: int) -> None:
        """Raise NotFiniteError if a loss of the last steps was no number."""
        if not torch.isfinite(self.sum):
            raise NotFiniteError(_advice(done, self.params))
        self.sum.zero_()

    def keep(self, done: int) -> None:
        """Write a sample grid and a checkpoint where they are due."""
        p, last = self.params, done == self.params.steps
        if p.grid_every and (done % p.grid_every == 0 or last):
            write_grid(self.context.folder / GRIDS.replace("*", f"{done:07d}"), self._samples())
        if last or time.monotonic() - self.saved >= self.pause:
            self.check(done)
            start = time.monotonic()
            write_checkpoint(self._path, self._state(), {**self._facts(), "done": done})
            self.saved = time.monotonic()
            if CHECKPOINT_SECONDS:
                self.pause = max(CHECKPOINT_SECONDS, (self.saved - start) / CHECKPOINT_SHARE)

    @torch.no_grad()
    def _samples(self) -> Float[Tensor, "b c h w"]:
        """Return samples of the averaged generator in [0, 1], of the same codes each time."""
        g = self.average
        z = torch.randn(ROWS * COLUMNS, g.style_dim, generator=random_generator(self.context.seed, "grid"))
        ws = g.mapping(z.to(self.context.device))
        return (g.synthesis(ws[:, None].expand(-1, g.num_ws, -1)) + 1).mul(0.5)

    @property
    def _path(self) -> Path:
        return self.context.folder / "gan.safetensors"

    def _facts(self) -> dict[str, int | str]:
        # The encoder's parameters change nothing here.
        own = {name: value for name, value in vars(self.params).items() if not name.startswith("encoder_")}
        return {"seed": self.context.seed, "side": self.generator.side, "params": repr(sorted(own.items()))}

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}

    def _state(self) -> dict[str, Tensor]:
        state = {"path_mean": self.path_mean, **{f"ada.{name}": value for name, value in self.ada.state().items()}}
        for name, module in self._modules().items():
            state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            for number, moments in optimiser.state_dict()["state"].items():
                state |= {f"adam.{name}.{number}.{key}": value for key, value in moments.items()}
        return state

    def restore(self) -> int:
        """Return the number of steps that are already done; 0 without a sound checkpoint of this very training."""
        found = read_checkpoint(self._path, self._facts())
        if found is None:
            return 0
        tensors, facts = found
        for name, module in self._modules().items():
            module.load_state_dict(_below(tensors, name))
        for name, optimiser in self.optimisers.items():
            _restore_adam(optimiser, _below(tensors, f"adam.{name}"))
        self.path_mean = tensors["path_mean"].to(self.context.device)
        self.ada.restore(_below(tensors, "ada"))
        return int(facts["done"])


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _restore_adam(optimiser: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    """Put moments back, laid out in memory as their weights: a fused optimiser walks both in storage order."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, key = name.split(".")
        like = weights[int(number)]
        value = torch.empty_like(like).copy_(value) if value.shape == like.shape else value  # noqa: PLW2901
        moments.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


def _advice(done: int, params: StyleGAN2Params) -> str:
    return (
        f"GAN training, steps {max(0, done - CHECK_EVERY) + 1} to {done} of {params.steps}: a loss is not a finite "
        f"number; check the images for NaN, or try a smaller lr than {params.lr:g} or a larger r1 than {params.r1:g}"
    )
