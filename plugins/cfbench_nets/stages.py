"""The two halves of a U-Net: stages (a residual block, with or without attention) from wide to deep, and back."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from cfbench_nets.blocks import Attention, BlockStyle, Resample, ResBlock


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How wide and deep a network is."""

    #: The longest side of its input in pixels.
    side: int
    #: Channels per level; each level halves the side.
    widths: Sequence[int]
    #: Residual blocks per level.
    res_blocks: int
    #: Sides in pixels at which attention follows each residual block.
    attention: Sequence[int]

    def attends(self, level: int) -> bool:
        """Return whether the level has attention."""
        return self.side // 2**level in self.attention

    @property
    def multiple(self) -> int:
        """What every side must be a multiple of."""
        return int(2 ** (len(self.widths) - 1))


class Stage(nn.Module):
    """A residual block and, where asked, attention after it."""

    def __init__(self, c_in: int, c_out: int, style: BlockStyle, attends: bool, resample: Resample = "keep") -> None:
        super().__init__()
        self.block = ResBlock(c_in, c_out, style, resample)
        self.attention = Attention(c_out, style) if attends else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        time: Float[Tensor, "#b t"] | None = None,
        z: Float[Tensor, "b d"] | None = None,
    ) -> Float[Tensor, "b e *out"]:
        """Return the stage's output."""
        return self.attention(self.block(x, time, z))


def descent(shape: Shape, style: BlockStyle) -> tuple[list[Stage], list[int]]:
    """Return the stages from the first convolution's output to the deepest level, and the channels at their borders."""
    stages, channels = [], [shape.widths[0]]
    for level, width in enumerate(shape.widths):
        for _ in range(shape.res_blocks):
            stages.append(Stage(channels[-1], width, style, shape.attends(level)))
            channels.append(width)
        if level < len(shape.widths) - 1:
            stages.append(Stage(width, width, style, attends=False, resample="down"))
            channels.append(width)
    return stages, channels


def middle(width: int, style: BlockStyle) -> list[Stage]:
    """Return the deepest two stages: a block with attention and a block."""
    return [Stage(width, width, style, attends=True), Stage(width, width, style, attends=False)]


def ascent(shape: Shape, style: BlockStyle, skips: Sequence[int]) -> tuple[list[Stage], list[bool]]:
    """Return the stages back up, and whether each takes a skip; `skips` are the channels that `descent` returned."""
    stages, takes, waiting, width = [], [], list(skips), shape.widths[-1]
    for level in reversed(range(len(shape.widths))):
        for _ in range(shape.res_blocks + 1):
            stages.append(Stage(width + waiting.pop(), shape.widths[level], style, shape.attends(level)))
            takes.append(True)
            width = shape.widths[level]
        if level:
            stages.append(Stage(width, width, style, attends=False, resample="up"))
            takes.append(False)
    return stages, takes
