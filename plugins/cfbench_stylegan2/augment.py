"""Adaptive discriminator augmentation (Karras et al. 2020b), for sets of images too small for a GAN.

Both real and generated images are transformed before the discriminator sees them, each transformation with
probability p. As long as a share of images stays as it is, the generator has to make untransformed images: nothing
leaks. The paper found that to hold for p up to about 0.8, so p is capped there.

Of the published transformations these are used: mirroring, quarter turns and whole-pixel shifts (`blit`); scaling,
rotation, stretching and fractional shifts (`geometry`, by bilinear interpolation, without the paper's wavelet filter);
brightness and contrast (`colour`). Hue, saturation and inversion mean nothing in grey medical images.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Bool, Float, Int
from torch import Tensor

#: Largest p that did not leak in the paper.
SAFE = 0.8
#: Strengths of the paper: shifts as shares of the side, log2 of scales and contrast, brightness on the range [-1, 1].
SHIFT, SCALE, CONTRAST, BRIGHTNESS = 0.125, 0.2, 0.5, 0.2


class Dice:
    """Random numbers for the images of a batch, on p's device: whether, and how, each is transformed."""

    def __init__(self, p: Float[Tensor, ""], n: int, random: torch.Generator) -> None:
        self.p, self.n, self.random = p, n, random

    def happens(self, p: Float[Tensor, ""] | None = None) -> Bool[Tensor, " n"]:
        """Return whether each image is transformed, with probability p."""
        return self.uniform() < (self.p if p is None else p)

    def uniform(self) -> Float[Tensor, " n"]:
        """Return a number in [0, 1) for each image."""
        return torch.rand(self.n, generator=self.random, device=self.p.device)

    def normal(self) -> Float[Tensor, " n"]:
        """Return N(0, 1) for images that are transformed, 0 for the others."""
        drawn = torch.randn(self.n, generator=self.random, device=self.p.device)
        return torch.where(self.happens(), drawn, 0.0)


def augmented(
    x: Float[Tensor, "b c h w"], p: Float[Tensor, ""], kinds: Sequence[str], random: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Return square images in [-1, 1], transformed; those that nothing happens to are returned bit for bit.

    `blit` and `geometry` keep the range of values, `colour` is affine in them and may leave it, as published.
    """
    dice = Dice(p, len(x), random)
    for kind, transform in TRANSFORMS.items():
        if kind in kinds:
            x = transform(x, dice)
    return x


def blit(x: Float[Tensor, "b c h w"], dice: Dice) -> Float[Tensor, "b c h w"]:
    """Mirror, turn by quarters, shift by whole pixels: nothing is interpolated."""
    mirrored = dice.happens() & (dice.uniform() < 0.5)
    x = torch.where(_each(mirrored), x.flip(3), x)
    turns = torch.where(dice.happens(), (dice.uniform() * 4).long(), 0)
    for quarters in (1, 2, 3):
        x = torch.where(_each(turns == quarters), x.rot90(quarters, (2, 3)), x)
    moved = dice.happens()
    down, right = (
        torch.where(moved, (dice.uniform() * 2 - 1) * SHIFT * x.shape[3], 0.0).round().long() for _ in range(2)
    )
    return shifted(x, down, right)


def shifted(x: Float[Tensor, "b c h w"], down: Int[Tensor, " b"], right: Int[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
    """Shift each image by whole pixels, reflecting it at its edges."""
    _, c, height, width = x.shape
    rows = _reflected(torch.arange(height, device=x.device) - down[:, None], height)
    columns = _reflected(torch.arange(width, device=x.device) - right[:, None], width)
    x = x.gather(2, rows[:, None, :, None].expand(-1, c, -1, width))
    return x.gather(3, columns[:, None, None, :].expand(-1, c, height, -1))


def geometry(x: Float[Tensor, "b c h w"], dice: Dice) -> Float[Tensor, "b c h w"]:
    """Scale, rotate, stretch, rotate again and shift, in one interpolation that reflects at the edges."""
    size, stretch = torch.exp2(dice.normal() * SCALE), torch.exp2(dice.normal() * SCALE)
    # Each rotation with such a probability that one or the other happens with probability p.
    each = 1 - torch.sqrt(1 - dice.p)
    first, second = (torch.where(dice.happens(each), (dice.uniform() * 2 - 1) * math.pi, 0.0) for _ in range(2))
    shift = torch.stack([dice.normal(), dice.normal()], dim=1) * SHIFT
    scale = torch.diag_embed(torch.stack([size * stretch, size / stretch], dim=1))
    turned = _rotation(second) @ scale @ _rotation(first)
    # Coordinates run from -1 to 1, so a side is 2.
    matrix = torch.cat([turned, 2 * shift[:, :, None]], dim=2).to(x.dtype)
    touched = ((turned != torch.eye(2, device=x.device)).any(dim=(1, 2))) | (shift != 0).any(dim=1)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return torch.where(_each(touched), moved, x)


def colour(x: Float[Tensor, "b c h w"], dice: Dice) -> Float[Tensor, "b c h w"]:
    """Add a brightness to each image, then multiply by a contrast."""
    brightness, contrast = dice.normal() * BRIGHTNESS, torch.exp2(dice.normal() * CONTRAST)
    return (x + _each(brightness)) * _each(contrast)


#: In the order in which they are applied.
TRANSFORMS: Mapping[str, Callable[[Tensor, Dice], Tensor]] = {"blit": blit, "geometry": geometry, "colour": colour}


class AdaptiveP:
    """The probability p, held where the discriminator is right about a chosen share of augmented real images.

    r = E[sign(D(real))] tells overfitting: 0 where it knows nothing, 1 where it is always right. p goes up while r is
    above `target` and down while it is below, such that 0 to 1 takes `images` images.
    """

    def __init__(self, p: float, target: float, images: int, device: str) -> None:
        self.target, self.images = target, images
        self.p = torch.tensor(p, device=device)
        self.signs, self.seen = torch.zeros((), device=device), 0

    def observe(self, real: Float[Tensor, " b"]) -> None:
        """Take note of the discriminator's logits for augmented real images."""
        self.signs += real.detach().sign().sum()
        self.seen += len(real)

    def adjust(self) -> None:
        """Move p by what has been observed since the last time."""
        towards = torch.sign(self.signs / self.seen - self.target)
        self.p = (self.p + towards * (self.seen / self.images)).clamp(0.0, SAFE)
        self.signs, self.seen = torch.zeros_like(self.signs), 0

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs."""
        return {"p": self.p, "signs": self.signs, "seen": torch.tensor(self.seen)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        device = self.p.device
        self.p, self.signs, self.seen = state["p"].to(device), state["signs"].to(device), int(state["seen"])


def _each(values: Tensor) -> Tensor:
    """Return values of images, to be broadcast against them."""
    return values[:, None, None, None]


def _reflected(index: Tensor, n: int) -> Tensor:
    """Return positions mirrored at the first and the last pixel."""
    return (n - 1) - ((n - 1) - index.abs()).abs()


def _rotation(angle: Float[Tensor, " b"]) -> Float[Tensor, "b 2 2"]:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
