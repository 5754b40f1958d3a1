"""Drawing and editing: latents from noise or from images, denoised under prompts with guidance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.errors import DataError
from cfbench.protocols import Context
from cfbench.types import Edit, Images
from cfbench_nets.objective import noised
from cfbench_nets.seeds import generator
from cfbench_text_ldm.latents import LatentSpace
from cfbench_text_ldm.parts import Parts
from cfbench_text_ldm.sampling import After, Epsilon, ascend, descend, guided, unchanged
from cfbench_text_ldm.schedule import kept, leading

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams


class Painter:
    """Uses the parts of a latent diffusion; all random numbers come from a seed and an image's id."""

    def __init__(self, parts: Parts, space: LatentSpace, params: "TextLdmParams") -> None:
        self.parts, self.space, self.params = parts, space, params

    def paint(self, prompts: Sequence[str], ids: Sequence[str], context: Context) -> Images:
        """Draw an image for each prompt, from pure noise."""
        times = leading(len(self.parts.alpha_bar), self.params.sample_steps)
        parts = []
        for part in self._parts(len(ids)):
            context.progress(part.start, len(ids), "sampling")
            z = self._noise(ids[part], "sample", context).to(context.device)
            epsilon = self._epsilon(prompts[part], self.params.guidance, context)
            with torch.inference_mode():
                z = descend(z, times, epsilon, self.parts.alpha_bar, self.params.sampler)
            parts.append(self.space.decode(z, context.device))
        return torch.cat(parts) if parts else self.space.decode(torch.empty(0, *self.space.shape), context.device)

    def edit(self, x: Images, ids: Sequence[str], edit: Edit, context: Context) -> Images:
        """Return the images edited; kept pixels come back bit for bit. Raises DataError for what cannot be asked."""
        _check(x, ids, edit)
        times = kept(len(self.parts.alpha_bar), edit.steps, edit.strength, self.params.sampler)
        parts = []
        for part in self._parts(len(ids)):
            context.progress(part.start, len(ids), "editing")
            z = self.space.mean(x[part], context.device).to(context.device)
            mask = None if edit.keep is None else self.space.frame.cells(edit.keep[part], z.shape[-1]).to(z.device)
            for repeat in range(edit.repeats if times else 0):
                noise = self._noise(ids[part], f"edit {repeat}", context).to(context.device)
                z = self._edited(z, noise, mask, edit, edit.prompts[part], times, context)
            parts.append(self.space.decode(z, context.device))
        out = torch.cat(parts) if parts else x
        return out if edit.keep is None else torch.where(edit.keep, x.to(out), out)

    def _edited(
        self,
        z: Tensor,
        noise: Tensor,
        mask: Tensor | None,
        edit: Edit,
        prompts: Sequence[str],
        times: list[int],
        context: Context,
    ) -> Tensor:
        """Return latents after one turn of noising and denoising."""
        levels, sampler = self.parts.alpha_bar, self.params.sampler
        epsilon = self._epsilon(prompts, edit.guidance, context)
        with torch.inference_mode():
            if edit.strength == 1:
                start = noise
            elif self.params.start == "inverted":
                start = ascend(z, times, self._epsilon([""] * len(z), 1.0, context), levels)
                noise = (start - levels[times[0]].sqrt() * z) / (1 - levels[times[0]]).sqrt()
            else:
                start = noised(z, noise, levels[times[0]])
            return descend(start, times, epsilon, levels, sampler, _keeping(z, noise, mask))

    def _epsilon(self, prompts: Sequence[str], guidance: float, context: Context) -> Epsilon:
        """Return the noise estimate under prompts; both branches go through the U-Net at once."""
        with_guidance = guidance > 1
        read = self._read([*[""] * len(prompts), *prompts] if with_guidance else prompts, context)
        denoiser = self.parts.denoiser

        def epsilon(z: Tensor, t: int) -> Tensor:
            doubled = torch.cat([z, z]) if with_guidance else z
            when = torch.full((len(doubled),), t, device=z.device)
            predicted = denoiser(doubled, when, read)
            if with_guidance:
                free, told = predicted.chunk(2)
                predicted = guided(free, told, guidance)
            return self.parts.noise_in(z, predicted, t)

        return epsilon

    def _read(self, prompts: Sequence[str], context: Context) -> Float[Tensor, "b l e"]:
        """Return the words' encodings; each different prompt is read once."""
        different = list(dict.fromkeys(prompts))
        self.parts.words.report(different, context.folder)
        with torch.inference_mode():
            read = self.parts.denoiser.read(self.parts.words.tokens(different).to(context.device))
        return read[[different.index(prompt) for prompt in prompts]]

    def _noise(self, ids: Sequence[str], what: str, context: Context) -> Float[Tensor, "b c h w"]:
        """Draw each image's noise from the seed and its id alone."""
        drawn = [torch.randn(self.space.shape, generator=generator(context.seed, what, case)) for case in ids]
        return torch.stack(drawn)

    def _parts(self, n: int) -> list[slice]:
        return [slice(start, min(start + self.space.chunk, n)) for start in range(0, n, self.space.chunk)]


def _keeping(z: Tensor, noise: Tensor, mask: Bool[Tensor, "b 1 h w"] | None) -> After:
    """Return what puts the original's latents back where the mask is set, at whatever noise the others have."""
    if mask is None:
        return unchanged

    def after(z_t: Tensor, level: Tensor, last: bool) -> Tensor:
        return torch.where(mask, z if last else noised(z, noise, level), z_t)

    return after


def _check(x: Images, ids: Sequence[str], edit: Edit) -> None:
    if not len(x) == len(ids) == len(edit.prompts):
        raise DataError(
            f"text-ldm edits each image under a prompt of its own: {len(x)} images came with {len(ids)} ids and "
            f"{len(edit.prompts)} prompts"
        )
    if edit.repeats < 1:
        raise DataError(f"text-ldm: repeats must be 1 or more, not {edit.repeats}")
    if edit.guidance != edit.guidance or abs(edit.guidance) == float("inf"):
        raise DataError(f"text-ldm: guidance must be a finite number, not {edit.guidance}")
    if edit.keep is not None and edit.keep.shape != (len(x), 1, *x.shape[2:]):
        raise DataError(f"text-ldm: keep must be {(len(x), 1, *x.shape[2:])}, not {tuple(edit.keep.shape)}")
