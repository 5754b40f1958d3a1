"""The encoder's backbone: improved residual blocks with squeeze-and-excitation (IR-SE; Deng et al., ArcFace, 2019)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: Channels per channel of the squeezed description (Hu et al. 2018).
REDUCTION = 16


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate between 0 and 1 that the means of all channels decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.fc1 = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.fc2 = nn.Conv2d(squeezed, channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the scaled maps."""
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))


class IRBlock(nn.Module):
    """x -> shortcut(x) + SE(BN(conv(PReLU(conv(BN(x)))))); the second convolution strides."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if c_in != c_out:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
            nn.PReLU(c_out),
            nn.Conv2d(c_out, c_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            SqueezeExcitation(c_out),
        )

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """Return the block's output."""
        return self.shortcut_layer(x) + self.res_layer(x)


def stem(channels: int, width: int) -> nn.Sequential:
    """Return the first layers, at full size."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))


def body(blocks: Sequence[int], widths: Sequence[int]) -> list[IRBlock]:
    """Return the blocks of all stages; the first of each stage halves the maps. The stem is as wide as stage one."""
    inputs = [widths[0], *widths[:-1]]
    return [
        IRBlock(c_in if number == 0 else c_out, c_out, 2 if number == 0 else 1)
        for n, c_in, c_out in zip(blocks, inputs, widths, strict=True)
        for number in range(n)
    ]
