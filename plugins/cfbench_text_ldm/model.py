"""Text-conditioned latent diffusion as a generator: codes, samples under the training's words, and edits under any."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cfbench.errors import DataError
from cfbench.protocols import Cases, Context
from cfbench.specs import DatasetInfo
from cfbench.types import Code, Edit, Images, Latents
from cfbench_nets.pool import ImagePool
from cfbench_nets.seeds import generator
from cfbench_text_ldm import compact, parts, pretrained, stock
from cfbench_text_ldm.chosen_cases import without
from cfbench_text_ldm.dreambooth import run_stage, stages_of
from cfbench_text_ldm.fit_autoencoder import fit_vae
from cfbench_text_ldm.fit_denoiser import fit_denoiser
from cfbench_text_ldm.frame import Frame, frame_of
from cfbench_text_ldm.latents import LatentSpace, multiple_of
from cfbench_text_ldm.libraries import library
from cfbench_text_ldm.painter import Painter
from cfbench_text_ldm.parts import Denoiser, Parts
from cfbench_text_ldm.plugin import TextLdmParams
from cfbench_text_ldm.schedule import alpha_bar
from cfbench_text_ldm.texts import Sayings, label_words, texts_of
from cfbench_text_ldm.words import Words, word_tokenizer

#: What weights mean beyond their shapes; kept beside them and compared when they are loaded.
MEANING = ("objective", "schedule", "T", "token_length")
#: Training texts that are kept to draw samples under, at most.
KEPT_TEXTS = 1000


class TextLdm:
    """Latent diffusion (Rombach et al., CVPR 2022) that draws and edits (SDEdit) square images under words.

    Raises SuiteError for images that are not square, PluginError where diffusers or transformers are not installed.
    """

    def __init__(self, params: TextLdmParams, data: DatasetInfo) -> None:
        for name in ("diffusers", "transformers"):
            library(name)
        self.params, self.data = params, data
        frame_of(1, data.space, 1, 0, 1)
        self.painter: Painter | None = None
        self.texts: tuple[str, ...] = ()
        self.cut_texts = 0

    def fit(self, train: Cases, valid: Cases, context: Context) -> None:  # noqa: ARG002 - nothing is tuned on valid
        """Learn images with their texts: autoencoder, then U-Net and text encoder, then the stages.

        With `weights`, the autoencoder is theirs and frozen. Raises SuiteError where the dataset has no words,
        DataError if no case is left to learn from, OfflineError, which says what to fetch, where weights are missing.
        """
        p = self.params
        cases, texts = without(train, texts_of(train, self.data), p.leave_out)
        pool = ImagePool(cases, context.device)
        painter = self._started(pool, texts, context)
        self.cut_texts = painter.parts.words.cut(set(texts))
        if p.steps:
            sayings = Sayings(texts, label_words(cases, self.data), p.label_words, p.phrases == "subsets")
            fit_denoiser(painter.parts, painter.space, p, pool, sayings, context)
        for number, stage in enumerate(stages_of(p)):
            run_stage(number, stage, painter, p, cases, texts, context)
        painter.parts.to(context.device)
        self.painter, self.texts = painter, _some(texts, context.seed)

    def save(self, folder: Path) -> None:
        """Write networks, tokenizer (diffusers' layout, safetensors and JSON) and what they mean."""
        painter = self._fitted()
        painter.parts.save(folder)
        about = {**self._meaning(), "frame": vars(painter.space.frame)}
        about |= {"texts": self.texts, "cut_texts": self.cut_texts}
        (folder / "text-ldm.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    def load(self, folder: Path, context: Context) -> None:
        """Restore what `save` wrote. Raises DataError naming what does not fit these params and this dataset."""
        found, wanted = json.loads((folder / "text-ldm.json").read_text(encoding="utf-8")), self._meaning()
        wrong = [
            f"{name} is {found.get(name)}, not {wanted[name]}" for name in wanted if found.get(name) != wanted[name]
        ]
        if wrong:
            raise DataError(f"{folder} holds weights of another kind: {'; '.join(wrong)}. Fit again or use its params")
        denoiser = Denoiser(parts.load_unet(folder / stock.UNET), parts.load_text(folder / stock.TEXT))
        words = parts.load_tokenizer(folder / stock.TOKENS)
        self.painter = self._painter(parts.load_vae(folder / stock.VAE), denoiser, words, context)
        self.texts, self.cut_texts = tuple(found["texts"]), found["cut_texts"]

    def encode(self, x: Images, context: Context) -> Latents:
        """Return the means of the scaled latents, flattened: c * h * w numbers."""
        return self._fitted().space.mean(x, context.device).flatten(1)

    def invert(self, x: Images, z: Latents, context: Context) -> Mapping[str, Tensor]:  # noqa: ARG002 - protocol
        """Return nothing: z is all that decoding needs."""
        return {}

    def draw(self, ids: Sequence[str], context: Context) -> Mapping[str, Tensor]:  # noqa: ARG002 - protocol
        """Return nothing: z is all that decoding needs."""
        return {}

    def decode(self, code: Code, context: Context) -> Images:
        """Return the autoencoder's images of z, in [0, 1]."""
        space = self._fitted().space
        return space.decode(code.z.reshape(-1, *space.shape), context.device)

    def sample(self, n: int, context: Context) -> Images:
        """Draw images under prompts that are drawn from the training's texts.

        Image i and its prompt depend on `context.seed` and i alone.
        """
        ids = [f"sample {i}" for i in range(n)]
        return self._fitted().paint(self.prompts(n, context), ids, context)

    def prompts(self, n: int, context: Context) -> list[str]:
        """Return the prompts that `sample` draws its images under."""
        drawn = [torch.randint(2**62, (), generator=generator(context.seed, "prompt", i)) for i in range(n)]
        return [self.texts[int(number) % len(self.texts)] for number in drawn]

    def edit(self, x: Images, ids: Sequence[str], edit: Edit, context: Context) -> Images:
        """Return the images edited, in [0, 1]; each image's noise depends on `context.seed` and its id alone.

        Strength 0 is the autoencoder's reconstruction, strength 1 an image from noise alone. Words that are not read
        (too long, or unknown) are warned of, and kept in `prompts.json` in `context.folder`. Raises DataError for a
        strength outside [0, 1] and other impossible requests.
        """
        return self._fitted().edit(x, ids, edit, context)

    def _started(self, pool: ImagePool, texts: Sequence[str], context: Context) -> Painter:
        """Return a painter with the autoencoder ready, and U-Net and text encoder as they start."""
        p, seed = self.params, context.seed
        if p.weights:
            folder = pretrained.pipeline_folder(p)
            pretrained.check_schedule(folder, p)
            vae, unet = parts.load_vae(folder / stock.VAE), parts.load_unet(folder / stock.UNET)
            text, tokenizer = self._reader(folder, texts, seed)
            return self._painter(vae, Denoiser(unet, text), tokenizer, context)
        vae = compact.new_vae(p, self.data.channels, seed).to(context.device)
        text, tokenizer = self._reader(None, texts, seed)
        unet = compact.new_unet(p, p.latent_channels, text.config.hidden_size, seed)
        fit_vae(vae, p, pool, self._frame(vae, unet), context)
        return self._painter(vae, Denoiser(unet, text), tokenizer, context)

    def _reader(self, pipeline: Path | None, texts: Sequence[str], seed: int) -> tuple[Any, Any]:
        """Return the text encoder and its tokenizer: a BERT of the suite's, the pipeline's own, or a new one."""
        p = self.params
        if p.text_encoder:
            folder = pretrained.reader_folder(p)
            return parts.load_text(folder), parts.load_tokenizer(folder)
        if pipeline is not None:
            return parts.load_text(pipeline / stock.TEXT), parts.load_tokenizer(pipeline / stock.TOKENS)
        told = (word for words in self.data.prompts.values() for word in words.values() if p.label_words)
        tokenizer = word_tokenizer([*texts, *told, *p.stage_prompts, *p.stage_classes], p.token_length)
        return compact.new_bert(p, tokenizer, seed), tokenizer

    def _painter(self, vae: Any, denoiser: Denoiser, tokenizer: Any, context: Context) -> Painter:
        p = self.params
        words, levels = Words(tokenizer, p.token_length), alpha_bar(p.schedule, p.T)
        whole = Parts(vae, denoiser, words, levels, p.objective).to(context.device)
        return Painter(whole, LatentSpace(vae, self._frame(vae, denoiser.unet)), p)

    def _frame(self, vae: Any, unet: Any) -> Frame:
        multiple = multiple_of(vae, unet)
        return frame_of(self.data.channels, self.data.space, vae.config.in_channels, self.params.size, multiple)

    def _fitted(self) -> Painter:
        if self.painter is None:
            raise DataError("this text-ldm has no weights yet: call fit() or load() first")
        return self.painter

    def _meaning(self) -> dict[str, object]:
        kept = {name: getattr(self.params, name) for name in MEANING}
        return {**kept, "channels": self.data.channels, "space": list(self.data.space)}


def _some(texts: Sequence[str], seed: int) -> tuple[str, ...]:
    """Return the texts that samples are drawn under: all that say something, or a random thousand of them."""
    said = [text for text in texts if text] or [""]
    order = torch.randperm(len(said), generator=generator(seed, "kept texts")).tolist()
    return tuple(said[i] for i in sorted(order[:KEPT_TEXTS]))
