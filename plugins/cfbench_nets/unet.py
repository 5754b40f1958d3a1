"""A U-Net whose every residual block is conditioned on time and on a semantic code (ADM style)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cfbench_nets.blocks import BlockStyle
from cfbench_nets.embedding import sinusoid
from cfbench_nets.layers import conv, norm, zeroed
from cfbench_nets.stages import Shape, ascent, descent, middle


class UNet(nn.Module):
    """Predicts from (x_t, t, z) an image of the same shape.

    The way up has one block more per level and takes every output of the way down as a skip, by concatenation. The last
    convolution starts at zero. `style` must carry `time_width` and `code_width`.
    """

    def __init__(self, channels: int, shape: Shape, style: BlockStyle) -> None:
        super().__init__()
        if style.time_width is None:
            raise ValueError("a conditioned U-Net needs a block style with time_width and code_width")
        first = shape.widths[0]
        self.time_channels = first
        self.time = nn.Sequential(
            nn.Linear(first, style.time_width), nn.SiLU(), nn.Linear(style.time_width, style.time_width)
        )
        self.first = conv(style.dims, channels, first)
        down, skips = descent(shape, style)
        up, self.takes_skip = ascent(shape, style, skips)
        self.down, self.middle, self.up = map(nn.ModuleList, (down, middle(shape.widths[-1], style), up))
        self.last = nn.Sequential(norm(first, style.groups), nn.SiLU(), zeroed(conv(style.dims, first, channels)))

    def embed(self, t: Int[Tensor, " k"]) -> Float[Tensor, "k w"]:
        """Return the embedding of time steps: one row serves a whole batch, so a trajectory's rows are made once."""
        return self.time(sinusoid(t, self.time_channels))

    def forward(
        self, x: Float[Tensor, "b c *space"], time: Float[Tensor, "#b w"], z: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b c *space"]:
        """Return the prediction for x_t, its embedded time and the code."""
        h = self.first(x)
        skips = [h]
        for stage in self.down:
            h = stage(h, time, z)
            skips.append(h)
        for stage in self.middle:
            h = stage(h, time, z)
        for stage, takes_skip in zip(self.up, self.takes_skip, strict=True):
            h = stage(torch.cat([h, skips.pop()], dim=1) if takes_skip else h, time, z)
        return self.last(h)
