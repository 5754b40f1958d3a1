"""DreamBooth stages with prior preservation (Ruiz et al., CVPR 2023), in the order of the suite's list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from cfbench.errors import DataError
from cfbench.protocols import Cases, Context
from cfbench.types import Images
from cfbench_nets.checkpoint import read_checkpoint, write_checkpoint
from cfbench_nets.pool import shuffled
from cfbench_nets.recipe import Recipe
from cfbench_text_ldm.fit_denoiser import emptied, errors, sampled
from cfbench_text_ldm.latents import LatentSpace
from cfbench_text_ldm.phases import learn, phase
from cfbench_text_ldm.texts import chosen

if TYPE_CHECKING:
    from cfbench_text_ldm.painter import Painter
    from cfbench_text_ldm.plugin import TextLdmParams


@dataclass(frozen=True)
class Stage:
    """One stage: which cases teach which prompt, and the prompt of the images that are to stay as they are."""

    words: str
    prompt: str
    kind: str
    steps: int


def stages_of(params: "TextLdmParams") -> list[Stage]:
    """Return the stages that the parameters ask for."""
    columns = params.stage_words, params.stage_prompts, params.stage_classes, params.stage_steps
    return [Stage(*row) for row in zip(*columns, strict=True)]


def preserving(errors_of_all: Float[Tensor, " b"], taught: int, weight: float) -> Float[Tensor, ""]:
    """Return the mean error of the first `taught` images, plus `weight` times that of the prior images after them."""
    loss = errors_of_all[:taught].mean()
    return loss + weight * errors_of_all[taught:].mean() if len(errors_of_all) > taught else loss


def run_stage(
    number: int,
    stage: Stage,
    painter: "Painter",
    params: "TextLdmParams",
    cases: Cases,
    texts: Sequence[str],
    context: Context,
) -> None:
    """Train one stage in place, from where the stage before it ended. Raises DataError if no case has its words."""
    among = chosen(texts, [stage.words], leave_out=False) if stage.words else list(range(len(texts)))
    if not among:
        raise DataError(
            f"text-ldm: stage {number + 1} learns cases whose text mentions {stage.words!r}, and none of the "
            f"{len(texts)} training texts does, such as {texts[0]!r}: set stage_words to words of this dataset"
        )
    inner = phase(context, f"stage {number + 1}", params)
    parts, space = painter.parts, painter.space
    prior = _prior(stage, painter, params, inner) if params.prior_weight else None

    def loss(step: int, random: torch.Generator) -> Float[Tensor, ""]:
        index = [among[i] for i in shuffled(len(among), params.stage_batch, inner.seed, step)]
        prompts, images = [stage.prompt or texts[i] for i in index], [_images(cases, index)]
        if prior is not None:
            prompts += [stage.kind] * params.stage_batch
            images.append(prior[shuffled(len(prior), params.stage_batch, inner.seed + 1, step)])
        tokens = parts.words.tokens(emptied(prompts, params.stage_null_prompt, random)).to(inner.device)
        z = _latents(space, torch.cat(images).to(inner.device), random)
        return preserving(errors(parts, z, tokens, random), len(index), params.prior_weight)

    recipe = Recipe(
        steps=stage.steps,
        lr=params.stage_lr,
        rate="constant",
        weight_decay=params.weight_decay,
        precision=params.precision,
    )
    learn(parts.denoiser, loss, recipe, inner)


def _latents(space: LatentSpace, x: Images, random: torch.Generator) -> Tensor:
    with torch.no_grad():
        return sampled(*space.posterior(x), random)


def _images(cases: Cases, index: Sequence[int]) -> Images:
    x = cases.batch(index).x
    if x is None:
        raise DataError("this dataset has codes but no images, so nothing can be trained on its images")
    return x


def _prior(stage: Stage, painter: "Painter", params: "TextLdmParams", context: Context) -> Images:
    """Return what the model draws now under the class prompt; each part is kept, so that a kill loses only one."""
    n, chunk, images = params.prior_images, painter.space.chunk, []
    for start in range(0, n, chunk):
        context.progress(start, n, "prior images")
        path = context.folder / f"prior-{start}.safetensors"
        found = read_checkpoint(path, {"seed": str(context.seed)})
        if found is None:
            ids = [f"prior {i}" for i in range(start, min(start + chunk, n))]
            images.append(painter.paint([stage.kind] * len(ids), ids, context))
            write_checkpoint(path, {"x": images[-1]}, {"seed": str(context.seed)})
        else:
            images.append(found[0]["x"])
    return torch.cat(images)
