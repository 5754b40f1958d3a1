"""The diffusion autoencoder as a latent generator: z says what is in an image, x_T how exactly it looks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.errors import DataError, SuiteError, UndefinedError
from cfbench.protocols import Cases, Context
from cfbench.specs import DatasetInfo
from cfbench.types import Code, Images, Latents
from cfbench_dae.converted import load_converted
from cfbench_dae.latent import LATENT_T, LatentModel, fitted_latent, new_latent
from cfbench_dae.network import Autoencoder, working_space
from cfbench_dae.plugin import DaeParams
from cfbench_nets import ddim
from cfbench_nets.betas import alpha_bar
from cfbench_nets.chunks import in_chunks
from cfbench_nets.mirror import mirrored
from cfbench_nets.objective import clean, noised, target
from cfbench_nets.padding import crop, pad
from cfbench_nets.pool import ImagePool, shuffled
from cfbench_nets.recipe import Recipe, check_precision
from cfbench_nets.seeds import generator, on_device, seeded
from cfbench_nets.weights import load_weights, save_weights

#: Images that go through the network at once.
CHUNK = 64
#: Images that whitening is learned from, at most.
WHITENED = 4096
#: What weights mean beyond their shapes; kept beside them and compared when they are loaded.
MEANING = ("objective", "schedule", "T")


class DAE:
    """Diffusion autoencoder (Preechakul et al., CVPR 2022); images and volumes of any size and channel count.

    They are padded inside, every axis by itself, until the U-Net halves evenly; attention goes by the longest. Raises
    SuiteError for images that are too small for the encoder's levels, and for numbers of DDIM steps that do not fit T.
    """

    def __init__(self, params: DaeParams, data: DatasetInfo) -> None:
        self.params, self.data = params, data
        self.space = working_space(params, data.space)
        _check_depth(params, min(self.space))
        self.alpha_bar = alpha_bar(params.schedule, params.T)
        for T, K in (
            (params.T, params.encode_steps),
            (params.T, params.decode_steps),
            (LATENT_T, params.latent_decode_steps),
        ):
            ddim.spaced(T, K)
        self.network: Autoencoder | None = None
        self.latent: LatentModel | None = None

    def fit(self, train: Cases, valid: Cases, context: Context) -> None:  # noqa: ARG002 - nothing is tuned on valid
        """Learn to denoise images given their own codes, then, if asked, the codes; labels are not looked at.

        Raises SuiteError for float16 and `compile` on a CPU.
        """
        if not self.params.weights:
            self._check_training(context)
        pool = ImagePool(train, context.device)
        self.network = self._trained(pool, context)
        if self.params.latent_steps:
            self.latent = fitted_latent(self.params, self._codes(pool, context), context)

    def _check_training(self, context: Context) -> None:
        check_precision(self.params.precision, context.device)
        if self.params.compile and torch.device(context.device).type == "cpu":
            raise SuiteError(
                "dae: compile is for GPUs; on a CPU it takes minutes and gains nothing: set compile to false"
            )

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and what they mean (JSON), with counts that tell one template from another."""
        network = self._fitted()
        save_weights(network, folder / "dae.safetensors")
        counts = {"parameters": network.parameter_count, "attention_blocks": network.attention_count}
        facts = {**self._meaning(), "padded_space": list(self.space), **counts}
        (folder / "dae.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        if self.latent is not None:
            save_weights(self.latent, folder / "latent.safetensors")

    def load(self, folder: Path, context: Context) -> None:
        """Restore what `save` wrote. Raises DataError naming what does not fit these params and this dataset."""
        found, wanted = json.loads((folder / "dae.json").read_text(encoding="utf-8")), self._meaning()
        wrong = [
            f"{name} is {found.get(name)}, not {wanted[name]}" for name in wanted if found.get(name) != wanted[name]
        ]
        if wrong:
            raise DataError(f"{folder} holds weights of another kind: {'; '.join(wrong)}. Fit again or use its params")
        network = self._build(context)
        load_weights(network, folder / "dae.safetensors")
        self.network = network.eval()
        # Weights made elsewhere may come without a latent model; only `sample` misses it.
        if self.params.latent_steps and (folder / "latent.safetensors").is_file():
            latent = new_latent(self.params, context)
            load_weights(latent, folder / "latent.safetensors")
            self.latent = latent.eval()

    def encode(self, x: Images, context: Context) -> Latents:
        """Return z."""
        network = self._fitted()
        return in_chunks(lambda part: network.whitening(network.encoder(self._onto(part, context))), x, rows=CHUNK)

    def invert(self, x: Images, z: Latents, context: Context) -> Mapping[str, Tensor]:
        """Return x_T (of the padded size), by running DDIM backwards under z; always in float32."""
        p = self.params

        def up(part: Tensor, code: Tensor) -> Tensor:
            denoise = self._denoiser(code.to(context.device), ddim.spaced(p.T, p.encode_steps))
            return ddim.encode(
                self._onto(part, context), denoise, self.alpha_bar, p.encode_steps, p.encode_to == "zero"
            )

        return {"x_T": in_chunks(up, x, z, rows=CHUNK)}

    def draw(self, ids: Sequence[str], context: Context) -> Mapping[str, Tensor]:
        """Return a standard normal x_T for each case, from the seed and its id alone."""
        shape = (self.data.channels, *self.space)
        drawn = [torch.randn(shape, generator=generator(context.seed, "x_T", case)) for case in ids]
        return {"x_T": torch.stack(drawn) if drawn else torch.empty(0, *shape)}

    def decode(self, code: Code, context: Context) -> Images:
        """Return the images of (z, x_T), in [0, 1]. Raises DataError without x_T."""
        if "x_T" not in code.rest:
            raise DataError("dae decodes z with x_T: expected it in code.rest; take it from invert() or draw()")
        K = self.params.decode_steps

        def down(z: Tensor, x_T: Tensor) -> Tensor:
            denoise = self._denoiser(z.to(context.device), ddim.spaced(self.params.T, K))
            x = ddim.decode(x_T.to(context.device), denoise, self.alpha_bar, K)
            return (crop(x, self.data.space) + 1).mul(0.5).clamp(0, 1)

        return in_chunks(down, code.z, code.rest["x_T"], rows=CHUNK)

    def sample(self, n: int, context: Context) -> Images:
        """Draw images: z from the latent model, x_T from N(0, 1). Image i depends on `context.seed` and i alone.

        Raises UndefinedError without a latent model.
        """
        self._fitted()
        if self.latent is None:
            raise UndefinedError(
                f"this dae draws no images: it has no latent model (latent_steps is {self.params.latent_steps}); "
                "set latent_steps, such as 2000, and fit again"
            )
        parts = []
        for start in range(0, n, CHUNK):
            context.progress(start, n, "sampling")
            ids = [f"sample {i}" for i in range(start, min(start + CHUNK, n))]
            parts.append(self.decode(Code(self.latent.draw(ids, context), self.draw(ids, context)), context))
        return torch.cat(parts) if parts else torch.empty(0, self.data.channels, *self.data.space)

    def _trained(self, pool: ImagePool, context: Context) -> Autoencoder:
        """Return the autoencoder: with converted weights, or trained on images of the pool."""
        p, network = self.params, self._build(context)
        if p.weights:
            load_converted(network, Path(p.weights), p.weights_sha256, self._meaning())
        else:
            self._train(network, pool, context)
        network.eval()
        if p.whiten:
            x = pool.take(shuffled(len(pool), min(len(pool), WHITENED), context.seed, 0))
            network.whitening.learn(in_chunks(lambda part: network.encoder(self._onto(part, context)), x, rows=CHUNK))
        return network

    def _train(self, network: Autoencoder, pool: ImagePool, context: Context) -> None:
        """Learn to denoise; it resumes from `context.folder`."""
        p = self.params
        if p.compile:
            # In place: weights keep their names. Encoding and decoding, with other shapes, stay as they are.
            network.compile()
        levels = self.alpha_bar.to(context.device)

        def loss(step: int, random: torch.Generator) -> Float[Tensor, ""]:
            random = on_device(random, context.device)
            x = self._inward(pool.take(shuffled(len(pool), p.batch, context.seed, step)))
            return denoising_loss(p, network, mirrored(x, random) if p.flip else x, levels, random)

        from cfbench_nets.training import train_module  # Lightning takes seconds to import; only fits need it

        recipe = Recipe(steps=p.steps, lr=p.lr, rate=p.rate, ema=p.ema, precision=p.precision)
        train_module(network, loss, recipe, context)

    def _codes(self, pool: ImagePool, context: Context) -> Latents:
        """Return the code of every image of the pool."""
        n, codes = len(pool), []
        for start in range(0, n, CHUNK):
            context.progress(start, n, "encoding")
            codes.append(self.encode(pool.take(range(start, min(start + CHUNK, n))), context))
        return torch.cat(codes)

    def _build(self, context: Context) -> Autoencoder:
        with seeded(context.seed, "weights"):
            network = Autoencoder(self.params, self.data.channels, len(self.space), max(self.space))
        layout = torch.channels_last if len(self.data.space) == 2 else torch.channels_last_3d
        return network.to(context.device).to(memory_format=layout)

    def _fitted(self) -> Autoencoder:
        if self.network is None:
            raise DataError("this dae has no weights yet: call fit() or load() first")
        return self.network

    def _meaning(self) -> dict[str, object]:
        kept = {name: getattr(self.params, name) for name in MEANING}
        return {**kept, "channels": self.data.channels, "space": list(self.data.space)}

    def _inward(self, x: Images) -> Tensor:
        """Return images as the network sees them: padded, in [-1, 1]."""
        return pad(x, self.space) * 2 - 1

    def _onto(self, x: Images, context: Context) -> Tensor:
        return self._inward(x).to(context.device)

    def _denoiser(self, z: Tensor, steps: range) -> ddim.Denoiser:
        """Return the estimate of x_0 under z; the time embeddings of a whole trajectory are made at once."""
        unet, objective = self._fitted().unet, self.params.objective
        z = self._fitted().whitening.undo(z)
        times = dict(zip(steps, unet.embed(torch.tensor(steps, device=z.device)).split(1), strict=True))
        return lambda x_t, t, level: clean(objective, x_t, unet(x_t, times[t], z), level)


def _check_depth(params: DaeParams, side: int) -> None:
    levels = len(params.encoder_mult)
    smallest = int(2 ** (levels - 1))
    if side < smallest:
        raise SuiteError(
            f"dae: an encoder of {levels} levels needs images of {smallest} pixels or more, and these have {side} "
            "(padded): shorten encoder_mult"
        )


def denoising_loss(
    params: DaeParams,
    network: torch.nn.Module,
    x: Float[Tensor, "b c *space"],
    alpha_bar: Float[Tensor, " T"],
    random: torch.Generator,
) -> Float[Tensor, ""]:
    """Return the mean squared error of what the network predicts at random times, for images in [-1, 1].

    All on one device, the generator too.
    """
    u = torch.rand(len(x), generator=random, device=x.device) ** (1 / params.time_power)
    t = (u * len(alpha_bar)).long().clamp(max=len(alpha_bar) - 1)
    noise = torch.randn(x.shape, generator=random, device=x.device)
    level = alpha_bar[t].float().reshape(-1, *(1,) * (x.ndim - 1))
    x_t, wanted = noised(x, noise, level), target(params.objective, x, noise, level)
    return torch.nn.functional.mse_loss(network(x, x_t, t), wanted)
