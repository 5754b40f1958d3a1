"""The way down of a U-Net as an encoder: an image to one vector."""

from jaxtyping import Float
from torch import Tensor, nn

from cfbench_nets.blocks import BlockStyle
from cfbench_nets.layers import conv, norm
from cfbench_nets.stages import Shape, descent, middle


class HalfUNet(nn.Module):
    """Half a U-Net, then group norm, SiLU, the mean over all positions and a linear map; nothing bounds the vector."""

    def __init__(self, channels: int, out: int, shape: Shape, style: BlockStyle) -> None:
        super().__init__()
        deepest = shape.widths[-1]
        stages, _ = descent(shape, style)
        self.first = conv(style.dims, channels, shape.widths[0])
        self.stages = nn.Sequential(*stages, *middle(deepest, style))
        self.norm = norm(deepest, style.groups)
        self.out = nn.Linear(deepest, out)

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d"]:
        """Return the vector of each image."""
        h = nn.functional.silu(self.norm(self.stages(self.first(x))))
        return self.out(h.flatten(2).mean(dim=2))
