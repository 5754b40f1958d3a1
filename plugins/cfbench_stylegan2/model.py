"""StyleGAN2 with e4e as a latent generator: z is W+ flattened, the rest the noise maps (none: the fixed ones)."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.errors import DataError
from cfbench.protocols import Cases, Context
from cfbench.specs import DatasetInfo
from cfbench.types import Code, Images, Latents
from cfbench_nets.chunks import in_chunks
from cfbench_nets.padding import crop, pad
from cfbench_nets.pool import ImagePool
from cfbench_nets.seeds import generator as random_generator
from cfbench_nets.weights import load_weights, save_weights
from cfbench_stylegan2.e4e.encoder import Encoder
from cfbench_stylegan2.e4e.fit import fitted_encoder, new_encoder
from cfbench_stylegan2.e4e.loss import require_weights
from cfbench_stylegan2.grids import GRIDS
from cfbench_stylegan2.networks.build import new_discriminator, new_generator, pyramid_of
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.official.networks import Networks, converted_networks
from cfbench_stylegan2.plugin import StyleGAN2Params
from cfbench_stylegan2.training import trained

#: Images that go through the networks at once.
CHUNK = 64


class StyleGAN2E4E:
    """StyleGAN2 (Karras et al., CVPR 2020) with the encoder e4e (Tov et al., SIGGRAPH 2021); square 2D images.

    Images whose side is not a constant's, doubled some times, are padded with their border's values and cropped back.
    Raises SuiteError for images that are not square, not 2D, or no larger than the constant.
    """

    def __init__(self, params: StyleGAN2Params, data: DatasetInfo) -> None:
        self.params, self.data = params, data
        self.pyramid = pyramid_of(params, data)
        self.generator: StyleGenerator | None = None
        self.encoder: Encoder | None = None
        self._grids: list[Path] = []

    def fit(self, train: Cases, valid: Cases, context: Context) -> None:  # noqa: ARG002 - nothing is tuned on valid
        """Train the GAN, then the encoder for it, as far as params `weights` has none; labels are not looked at."""
        if not self.params.weights:
            # Before the days that the GAN takes.
            require_weights(self.params)
        pool = ImagePool(train, context.device)
        found = self._networks(pool, context)
        self.generator = found.generator.eval()
        self.encoder = found.encoder or fitted_encoder(self.params, self.generator, pool, context, found.discriminator)
        self._grids = sorted(context.folder.glob(GRIDS))

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), what they mean (JSON), and the sample grids of the training (PNG)."""
        generator, encoder = self._fitted()
        save_weights(generator, folder / "generator.safetensors")
        save_weights(encoder, folder / "encoder.safetensors")
        parts = {"generator": generator, "encoder": encoder}
        counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}
        facts = {**self._meaning(), "parameters": counts, "encoder_perceptual": self.params.encoder_perceptual}
        (folder / "stylegan2.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        for grid in self._grids:
            shutil.copyfile(grid, folder / grid.name)

    def load(self, folder: Path, context: Context) -> None:
        """Restore what `save` wrote. Raises DataError naming what does not fit these params and this dataset."""
        found, wanted = json.loads((folder / "stylegan2.json").read_text(encoding="utf-8")), self._meaning()
        wrong = [
            f"{name} is {found.get(name)}, not {wanted[name]}" for name in wanted if found.get(name) != wanted[name]
        ]
        if wrong:
            raise DataError(f"{folder} holds weights of another kind: {'; '.join(wrong)}. Fit again or use its params")
        generator = new_generator(self.params, self.data, context)
        load_weights(generator, folder / "generator.safetensors")
        encoder = new_encoder(self.params, self.data.channels, generator, context)
        load_weights(encoder, folder / "encoder.safetensors")
        self.generator, self.encoder = generator.eval(), encoder.eval()

    def encode(self, x: Images, context: Context) -> Latents:
        """Return W+ flattened: num_ws styles, one after the other."""
        _, encoder = self._fitted()
        return in_chunks(lambda part: encoder(self._inward(part).to(context.device)).flatten(1), x, rows=CHUNK)

    def invert(self, x: Images, z: Latents, context: Context) -> Mapping[str, Tensor]:  # noqa: ARG002 - protocol
        """Return nothing: reconstructions use the fixed noise maps that belong to the weights, as e4e's authors do."""
        return {}

    def draw(self, ids: Sequence[str], context: Context) -> Mapping[str, Tensor]:
        """Return noise maps for each case, from the seed and its id alone."""
        shapes = self.pyramid.noise_shapes
        drawn = [self._noise(context.seed, case) for case in ids]
        return {
            name: torch.stack([maps[name] for maps in drawn]) if drawn else torch.empty(0, 1, *size)
            for name, size in shapes.items()
        }

    def decode(self, code: Code, context: Context) -> Images:
        """Return the images of W+, in [0, 1], with the noise maps in `code.rest` or, without any, the fixed ones.

        Raises DataError if some, but not all, noise maps are there.
        """
        generator, _ = self._fitted()
        names = list(self.pyramid.noise_shapes) if code.rest else []
        if set(names) != set(code.rest):
            raise DataError(
                f"stylegan2-e4e decodes with the noise maps {', '.join(self.pyramid.noise_shapes)}, or with no rest at "
                f"all, not with {', '.join(sorted(code.rest))}; take the rest from draw() or invert()"
            )

        def images(z: Tensor, *maps: Tensor) -> Tensor:
            noise = {name: value.to(context.device) for name, value in zip(names, maps, strict=True)}
            ws = z.to(context.device).unflatten(1, (generator.num_ws, generator.style_dim))
            return self._outward(generator.synthesis(ws, noise or None))

        return in_chunks(images, code.z, *(code.rest[name] for name in names), rows=CHUNK)

    def sample(self, n: int, context: Context) -> Images:
        """Draw images, untruncated, each with noise of its own. Image i depends on `context.seed` and i alone."""
        generator, _ = self._fitted()
        parts = [torch.empty(0, self.data.channels, *self.data.space)]
        for start in range(0, n, CHUNK):
            context.progress(start, n, "sampling")
            ids = [f"sample {i}" for i in range(start, min(start + CHUNK, n))]
            random = [random_generator(context.seed, "z", case) for case in ids]
            z = torch.stack([torch.randn(generator.style_dim, generator=each) for each in random])
            with torch.inference_mode():
                w = generator.mapping(z.to(context.device))
            codes = w[:, None].expand(-1, generator.num_ws, -1).flatten(1)
            parts.append(self.decode(Code(codes, self.draw(ids, context)), context))
        return torch.cat(parts)

    def _networks(self, pool: ImagePool, context: Context) -> Networks:
        """Return converted networks, or a generator and a discriminator that are trained on the pool."""
        if self.params.weights:
            return converted_networks(self.params, self.data, context)
        networks = new_generator(self.params, self.data, context), new_discriminator(self.params, self.data, context)
        return Networks(*trained(self.params, *networks, pool, context), encoder=None)

    def _noise(self, seed: int, case: str) -> dict[str, Tensor]:
        random = random_generator(seed, "noise", case)
        return {name: torch.randn(1, *size, generator=random) for name, size in self.pyramid.noise_shapes.items()}

    def _fitted(self) -> tuple[StyleGenerator, Encoder]:
        if self.generator is None or self.encoder is None:
            raise DataError("this stylegan2-e4e has no weights yet: call fit() or load() first")
        return self.generator, self.encoder

    def _meaning(self) -> dict[str, object]:
        """Return what tells these weights from others of the same shapes; `padded_side` is the networks' own."""
        return {
            "channels": self.data.channels,
            "space": list(self.data.space),
            "padded_side": self.pyramid.side,
            "num_ws": self.pyramid.num_ws,
            "style_dim": self.params.style_dim,
            "mapping_lr": self.params.mapping_lr,
            "encoder_side": self.params.encoder_side,
        }

    def _inward(self, x: Images) -> Float[Tensor, "b c side side"]:
        """Return images as the networks see them: padded, in [-1, 1]."""
        return pad(x, self.pyramid.side) * 2 - 1

    def _outward(self, x: Float[Tensor, "b c side side"]) -> Images:
        return (crop(x, self.data.space) + 1).mul(0.5).clamp(0, 1)
