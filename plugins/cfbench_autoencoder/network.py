"""The network of both autoencoders: the way down of a U-Net to one vector, and its mirror image back up."""

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from cfbench_nets.blocks import BlockStyle
from cfbench_nets.layers import conv, norm
from cfbench_nets.padding import crop, pad, padded_space
from cfbench_nets.stages import Shape, Stage, descent, middle


class Encoder(nn.Module):
    """The way down, then group norm, SiLU and a linear map of all positions: where something is, is in the vector."""

    def __init__(self, channels: int, out: int, last: tuple[int, ...], shape: Shape, style: BlockStyle) -> None:
        """`last` is the size in pixels of the deepest level."""
        super().__init__()
        deepest = shape.widths[-1]
        stages, _ = descent(shape, style)
        self.stages = nn.Sequential(conv(style.dims, channels, shape.widths[0]), *stages, *middle(deepest, style))
        self.norm = norm(deepest, style.groups)
        self.out = nn.Linear(deepest * prod(last), out)

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b e"]:
        """Return the vector of each image in [0, 1]."""
        h = self.stages(x * 2 - 1)
        return self.out(nn.functional.silu(self.norm(h)).flatten(1))


class Decoder(nn.Module):
    """The encoder's stages in reverse order, without skips."""

    def __init__(self, channels: int, width: int, last: tuple[int, ...], shape: Shape, style: BlockStyle) -> None:
        """`last` is the size in pixels of the deepest level."""
        super().__init__()
        first, deepest = shape.widths[0], shape.widths[-1]
        self.start = (deepest, *last)
        self.first = nn.Linear(width, prod(self.start))
        self.stages = nn.Sequential(*middle(deepest, style), *_climb(shape, style))
        self.last = nn.Sequential(norm(first, style.groups), nn.SiLU(), conv(style.dims, first, channels))

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c *space"]:
        """Return the image of each vector; about [0, 1], but nothing bounds it."""
        h = self.first(z).unflatten(1, self.start)
        return (self.last(self.stages(h)) + 1) / 2


class Autoencoder(nn.Module):
    """Encoder and decoder of images of any size, padded inside, every axis by itself, to one that halves evenly."""

    def __init__(self, channels: int, space: tuple[int, ...], code: tuple[int, int], shape: Shape, groups: int) -> None:
        """`code` is the length of what the encoder gives and of what the decoder takes."""
        super().__init__()
        style = BlockStyle(dims=len(space), groups=groups, dropout=0.0)
        self.space, self.padded = space, padded_space(space, shape.multiple)
        last = tuple(side // shape.multiple for side in self.padded)
        self.encoder = Encoder(channels, code[0], last, shape, style)
        self.decoder = Decoder(channels, code[1], last, shape, style)

    def encode(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b e"]:
        """Return what the encoder says of images in [0, 1]."""
        return self.encoder(pad(x, self.padded))

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c *space"]:
        """Return the images of codes, not clamped."""
        return crop(self.decoder(z), self.space)


def _climb(shape: Shape, style: BlockStyle) -> list[Stage]:
    """Return the stages from the deepest level to the first: at each level its blocks, then twice the side."""
    stages = []
    for level in reversed(range(len(shape.widths))):
        width = shape.widths[level]
        stages += [Stage(width, width, style, shape.attends(level)) for _ in range(shape.res_blocks)]
        if level:
            stages.append(Stage(width, shape.widths[level - 1], style, attends=False, resample="up"))
    return stages
