"""The autoencoder as a latent generator: z alone decodes, so a reconstruction shows what z holds, and no more."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.errors import DataError
from cfbench.protocols import Cases, Context
from cfbench.specs import DatasetInfo
from cfbench.types import Code, Images, Latents
from cfbench_autoencoder.network import Autoencoder
from cfbench_autoencoder.plugin import AutoencoderParams
from cfbench_nets.chunks import in_chunks
from cfbench_nets.mirror import mirrored
from cfbench_nets.pool import ImagePool, shuffled
from cfbench_nets.recipe import Recipe
from cfbench_nets.seeds import seeded
from cfbench_nets.stages import Shape
from cfbench_nets.weights import load_weights, save_weights

#: Images that go through the network at once.
CHUNK = 64


class AE:
    """Convolutional autoencoder; images and volumes of any size and channel count, padded inside to halve evenly."""

    #: What the weights are; kept beside them and compared when they are loaded.
    kind = "autoencoder"
    #: Numbers that the encoder gives for each number of z.
    heads = 1

    def __init__(self, params: AutoencoderParams, data: DatasetInfo) -> None:
        self.params, self.data = params, data
        self.network: Autoencoder | None = None

    def fit(self, train: Cases, valid: Cases, context: Context) -> None:  # noqa: ARG002 - nothing is tuned on valid
        """Learn to reconstruct; labels are not looked at."""
        p = self.params
        pool = ImagePool(train)
        network = self._build(context)

        def loss(step: int, random: torch.Generator) -> Float[Tensor, ""]:
            x = pool.take(shuffled(len(pool), p.batch, context.seed, step)).to(context.device)
            return self.objective(network, mirrored(x, random) if p.flip else x, random)

        from cfbench_nets.training import train_module  # Lightning takes seconds to import; only fits need it

        recipe = Recipe(steps=p.steps, lr=p.lr, rate=p.rate, ema=p.ema, precision=p.precision)
        train_module(network, loss, recipe, context)
        self.network = network

    def objective(
        self,
        network: Autoencoder,
        x: Float[Tensor, "b c *space"],
        random: torch.Generator,  # noqa: ARG002 - a plain code has no noise
    ) -> Float[Tensor, ""]:
        """Return what training minimises: the mean error per pixel."""
        back = network.decode(network.encode(x)).float()
        error = torch.nn.functional.mse_loss if self.params.loss == "mse" else torch.nn.functional.l1_loss
        return error(back, x)

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and what they mean (JSON)."""
        save_weights(self._fitted(), folder / "weights.safetensors")
        facts = {**self._meaning(), "padded_space": list(self._fitted().padded)}
        (folder / "weights.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def load(self, folder: Path, context: Context) -> None:
        """Restore what `save` wrote. Raises DataError naming what does not fit these params and this dataset."""
        found, wanted = json.loads((folder / "weights.json").read_text(encoding="utf-8")), self._meaning()
        wrong = [
            f"{name} is {found.get(name)}, not {wanted[name]}" for name in wanted if found.get(name) != wanted[name]
        ]
        if wrong:
            raise DataError(f"{folder} holds weights of another kind: {'; '.join(wrong)}. Fit again or use its params")
        network = self._build(context)
        load_weights(network, folder / "weights.safetensors")
        self.network = network.eval()

    def encode(self, x: Images, context: Context) -> Latents:
        """Return z."""
        network, d = self._fitted(), self.params.z_dim
        return in_chunks(lambda part: network.encode(part.to(context.device))[:, :d], x, rows=CHUNK)

    def invert(self, x: Images, z: Latents, context: Context) -> Mapping[str, Tensor]:  # noqa: ARG002 - protocol
        """Return nothing: z is all that decoding needs."""
        return {}

    def draw(self, ids: Sequence[str], context: Context) -> Mapping[str, Tensor]:  # noqa: ARG002 - protocol
        """Return nothing: z is all that decoding needs."""
        return {}

    def decode(self, code: Code, context: Context) -> Images:
        """Return the images of z, in [0, 1]."""
        network = self._fitted()
        return in_chunks(lambda z: network.decode(z.to(context.device, torch.float32)).clamp(0, 1), code.z, rows=CHUNK)

    def _build(self, context: Context) -> Autoencoder:
        p, space = self.params, self.data.space
        widths = tuple(p.channels * factor for factor in p.channel_mult)
        shape = Shape(side=max(space), widths=widths, res_blocks=p.res_blocks, attention=())
        with seeded(context.seed, "weights"):
            network = Autoencoder(self.data.channels, space, (self.heads * p.z_dim, p.z_dim), shape, p.groups)
        layout = torch.channels_last if len(space) == 2 else torch.channels_last_3d
        return network.to(context.device).to(memory_format=layout)

    def _fitted(self) -> Autoencoder:
        if self.network is None:
            raise DataError(f"this {self.kind} has no weights yet: call fit() or load() first")
        return self.network

    def _meaning(self) -> dict[str, object]:
        return {"kind": self.kind, "channels": self.data.channels, "space": list(self.data.space)}
