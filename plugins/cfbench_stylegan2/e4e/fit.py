"""Training the encoder for a generator that is left as it is.

Step k depends on (weights, optimisers, pools of codes, seed, k) alone, so a training that was killed goes on bit for
bit from its last checkpoint.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cfbench.errors import NotFiniteError
from cfbench.protocols import Context
from cfbench_nets.checkpoint import read_checkpoint, write_checkpoint
from cfbench_nets.padding import pad
from cfbench_nets.pool import ImagePool, shuffled
from cfbench_nets.rates import learning_rate
from cfbench_nets.seeds import generator as random_generator
from cfbench_nets.seeds import on_device, seed_of, seeded
from cfbench_stylegan2.e4e.critic import Critic, LatentDiscriminator
from cfbench_stylegan2.e4e.encoder import Encoder
from cfbench_stylegan2.e4e.loss import code_loss, distances, image_loss
from cfbench_stylegan2.e4e.optimisers import Adam, Ranger
from cfbench_stylegan2.e4e.params import EncoderParams
from cfbench_stylegan2.e4e.schedule import active_deltas
from cfbench_stylegan2.networks.generator import StyleGenerator

#: Seconds between checkpoints (0: one after every step), unless writing takes a larger share of the time.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 30.0, 0.05


def new_encoder(params: EncoderParams, channels: int, generator: StyleGenerator, context: Context) -> Encoder:
    """Return an encoder for this generator with weights drawn from `context.seed`; its mean is zero."""
    with seeded(context.seed, "encoder weights"):
        encoder = Encoder(params, channels, generator.num_ws, generator.style_dim, generator.side)
    return encoder.to(context.device)


def fitted_encoder(
    params: EncoderParams,
    generator: StyleGenerator,
    pool: ImagePool,
    context: Context,
    discriminator: nn.Module | None = None,
) -> Encoder:
    """Return an encoder for this generator, trained on the pool, in evaluation mode.

    Images of the pool are in [0, 1], square, and padded to the generator's side. `discriminator` is the one that the
    generator was trained with, for encoder_perceptual `discriminator`. Writes `encoder-training.safetensors` into
    `context.folder`, from where it resumes.

    Raises SuiteError or DataError if a loss lacks its network, NotFiniteError when the loss is no number.
    """
    loop = _Loop(params, generator, pool, context, discriminator)
    for step in range(loop.restore(), params.encoder_steps):
        loop.step(step)
        loop.keep(step + 1)
        context.progress(step + 1, params.encoder_steps, "training the encoder")
    return loop.encoder.eval()


class _Loop:
    def __init__(
        self,
        params: EncoderParams,
        generator: StyleGenerator,
        pool: ImagePool,
        context: Context,
        discriminator: nn.Module | None,
    ) -> None:
        self.params, self.pool, self.context = params, pool, context
        self.generator = generator.requires_grad_(requires_grad=False).eval()
        self.distances = distances(params, discriminator, context.device)
        self.encoder = new_encoder(params, pool.take([0]).shape[1], generator, context).train()
        mean = generator.mean_latent(params.encoder_mean_samples, random_generator(context.seed, "mean latent"))
        self.encoder.mean.copy_(mean.expand_as(self.encoder.mean))
        optimiser = Ranger if params.encoder_optimiser == "ranger" else Adam
        self.optimiser = optimiser(self.encoder.parameters())
        self.critic = self._critic() if params.encoder_critic_weight else None
        self.saved, self.pause = time.monotonic(), CHECKPOINT_SECONDS

    def step(self, step: int) -> None:
        """Do one step of the latent discriminator, if there is one, and one of the encoder."""
        p = self.params
        random = random_generator(self.context.seed, "encoder", step)
        x = self._images(step, random)
        deltas = active_deltas(p, step, self.encoder.num_ws)
        ws = self.encoder(x, deltas)
        if self.critic is not None:
            real = self.generator.mapping(torch.randn(len(x), self.encoder.style_dim, generator=random).to(x))
            self.critic.learn(step, real, ws.detach()[:, : deltas + 1], random)
        noise = self.generator.draw_noise(len(x), on_device(random, self.context.device))
        loss = image_loss(p, self.distances, self.generator.synthesis(ws, noise), x)
        loss = loss + code_loss(p, self.critic, ws, self.encoder.mean, deltas)
        if not torch.isfinite(loss):
            raise NotFiniteError(_advice(step, p))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step(learning_rate(p.encoder_rate, p.encoder_lr, step, p.encoder_steps))

    def keep(self, done: int) -> None:
        """Write a checkpoint where it is due."""
        if done < self.params.encoder_steps and time.monotonic() - self.saved < self.pause:
            return
        start = time.monotonic()
        write_checkpoint(self._path(), self._state(), {**self._facts(), "done": done})
        self.saved = time.monotonic()
        if CHECKPOINT_SECONDS:
            self.pause = max(CHECKPOINT_SECONDS, (self.saved - start) / CHECKPOINT_SHARE)

    def restore(self) -> int:
        """Return the number of steps already done; 0 without a sound checkpoint of this very training."""
        found = read_checkpoint(self._path(), self._facts())
        if found is None:
            return 0
        tensors, facts = found
        self.encoder.load_state_dict(_below(tensors, "net"))
        self.optimiser.restore(_below(tensors, "optimiser"))
        if self.critic is not None:
            self.critic.restore(_below(tensors, "critic"))
        return int(facts["done"])

    def _critic(self) -> Critic:
        with seeded(self.context.seed, "critic weights"):
            network = LatentDiscriminator(self.encoder.style_dim)
        network = network.to(self.context.device).requires_grad_(requires_grad=False)
        return Critic(self.params, network, self.encoder.style_dim, self.context.device)

    def _images(self, step: int, random: torch.Generator) -> Tensor:
        """Return the images of a step, padded, in [-1, 1]."""
        x = self.pool.take(shuffled(len(self.pool), self.params.encoder_batch, seed_of(self.context.seed, "e4e"), step))
        x = pad(x.to(self.context.device), self.generator.side) * 2 - 1
        if self.params.encoder_flip:
            mirrored = (torch.rand(len(x), generator=random) < 0.5).to(x.device)
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return x

    def _path(self) -> Path:
        return self.context.folder / "encoder-training.safetensors"

    def _facts(self) -> dict[str, int | str]:
        own = {name: value for name, value in vars(self.params).items() if name.startswith("encoder_")}
        return {"seed": self.context.seed, "params": repr(sorted(own.items()))}

    def _state(self) -> dict[str, Tensor]:
        state = {f"net.{name}": value for name, value in self.encoder.state_dict().items()}
        state |= {f"optimiser.{name}": value for name, value in self.optimiser.state().items()}
        if self.critic is not None:
            state |= {f"critic.{name}": value for name, value in self.critic.state().items()}
        return state


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _advice(step: int, params: EncoderParams) -> str:
    return (
        f"step {step} of {params.encoder_steps} of the encoder's training: the loss is not a finite number; check the "
        f"images and the generator for NaN, or try a smaller encoder_lr than {params.encoder_lr:g}"
    )
