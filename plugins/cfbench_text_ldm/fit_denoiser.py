"""The joint training of U-Net and text encoder on latents, from scratch or on top of published weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cfbench.protocols import Context
from cfbench_nets.objective import noised, target
from cfbench_nets.pool import IN_MEMORY, ImagePool, shuffled
from cfbench_nets.recipe import Recipe
from cfbench_nets.seeds import seed_of
from cfbench_text_ldm.latents import LatentSpace
from cfbench_text_ldm.parts import Parts
from cfbench_text_ldm.phases import learn, phase
from cfbench_text_ldm.texts import Sayings

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams


class Posteriors:
    """The posteriors of a pool's images: made once and kept where they fit, otherwise made when they are asked for."""

    def __init__(self, pool: ImagePool, space: LatentSpace, context: Context) -> None:
        self.pool, self.space = pool, space
        floats = 2 * len(pool) * torch.tensor(space.shape).prod().item()
        self._kept = self._all(context) if 4 * floats <= IN_MEMORY else None

    def draw(self, index: Sequence[int], random: torch.Generator) -> Float[Tensor, "b c h w"]:
        """Draw a latent of each image at these positions; the generator lives on the pool's device."""
        if self._kept is None:
            with torch.no_grad():
                mean, std = self.space.posterior(self.pool.take(index))
        else:
            mean, std = self._kept[0][list(index)], self._kept[1][list(index)]
        return sampled(mean, std, random)

    def _all(self, context: Context) -> tuple[Tensor, Tensor]:
        n, chunk, parts = len(self.pool), self.space.chunk, []
        with torch.no_grad():
            for start in range(0, n, chunk):
                context.progress(start, n, "encoding")
                parts.append(self.space.posterior(self.pool.take(range(start, min(start + chunk, n)))))
        means, stds = zip(*parts, strict=True)
        return torch.cat(means), torch.cat(stds)


def sampled(
    mean: Float[Tensor, "b c h w"], std: Float[Tensor, "b c h w"], random: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Draw from diagonal Gaussians."""
    return mean + std * torch.randn(mean.shape, generator=random, device=mean.device)


def errors(
    parts: Parts, z: Float[Tensor, "b c h w"], tokens: Int[Tensor, "b l"], random: torch.Generator
) -> Float[Tensor, " b"]:
    """Return the mean squared error of what the U-Net predicts of each latent, at a random time.

    Times are uniform; everything is on one device, the generator too.
    """
    t = torch.randint(len(parts.alpha_bar), (len(z),), generator=random, device=z.device)
    noise = torch.randn(z.shape, generator=random, device=z.device)
    level = parts.alpha_bar.to(z.device)[t].float().reshape(-1, 1, 1, 1)
    predicted = parts.denoiser(noised(z, noise, level), t, parts.denoiser.read(tokens))
    return (predicted.float() - target(parts.objective, z, noise, level)).square().mean(dim=(1, 2, 3))


def emptied(prompts: Sequence[str], share: float, random: torch.Generator) -> list[str]:
    """Empty each prompt with a probability, so that the model learns images without words too."""
    drop = torch.rand(len(prompts), generator=random, device=random.device) < share
    return ["" if gone else prompt for prompt, gone in zip(prompts, drop.tolist(), strict=True)]


def fit_denoiser(
    parts: Parts, space: LatentSpace, params: "TextLdmParams", pool: ImagePool, sayings: Sayings, context: Context
) -> None:
    """Train on all images of the pool under what can be said of them."""
    inner = phase(context, "training", params)
    posteriors = Posteriors(pool, space, context)
    draws = torch.Generator()

    def loss(step: int, random: torch.Generator) -> Float[Tensor, ""]:
        index = shuffled(len(pool), params.batch, inner.seed, step)
        draws.manual_seed(seed_of(inner.seed, "prompts", step))
        asked = [sayings.prompt(i, draws) for i in index]
        tokens = parts.words.tokens(emptied(asked, params.null_prompt, random)).to(context.device)
        return errors(parts, posteriors.draw(index, random), tokens, random).mean()

    recipe = Recipe(
        steps=params.steps,
        lr=params.lr,
        rate=params.rate,
        weight_decay=params.weight_decay,
        ema=params.ema,
        precision=params.precision,
    )
    learn(parts.denoiser, loss, recipe, inner)
