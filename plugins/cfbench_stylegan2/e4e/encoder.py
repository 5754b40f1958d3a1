"""The encoder e4e: an image to one w for all layers of the generator, and a delta for each layer after the first."""

import math
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from jaxtyping import Float
from torch import Tensor, nn

from cfbench_stylegan2.e4e.backbone import body, stem
from cfbench_stylegan2.e4e.params import EncoderParams
from cfbench_stylegan2.networks.equalised import EqualLinear

#: Layers from these on are encoded from the middle, and from the finest maps of the pyramid.
MIDDLE, FINE = 3, 7


class MapToStyle(nn.Module):
    """Maps to one style: convolutions that halve until one pixel is left, then a linear layer."""

    def __init__(self, c_in: int, style_dim: int, side: int) -> None:
        super().__init__()
        halvings = max(1, math.ceil(math.log2(side)))
        widths = [c_in] + [style_dim] * halvings
        self.convs = nn.Sequential(
            *(layer for i, o in pairwise(widths) for layer in (nn.Conv2d(i, o, 3, stride=2, padding=1), nn.LeakyReLU()))
        )
        self.linear = EqualLinear(style_dim, style_dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b s"]:
        """Return the style."""
        return self.linear(self.convs(x).flatten(1))


class Encoder(nn.Module):
    """Images in [-1, 1] to W+: w_0 = mean_0 + Delta_0(x), w_i = w_0 + Delta_i(x) (mean_i in place of mean_0).

    Layers 0 to 2 are encoded from the coarsest maps of a feature pyramid, 3 to 6 from the middle, the rest from the
    finest. `channels` are the images'; `num_ws` and `style_dim` the generator's; `side` is the images' side in pixels,
    unless params resize them. Weights have the names of the authors' checkpoints.
    """

    mean: Tensor

    def __init__(self, params: EncoderParams, channels: int, num_ws: int, style_dim: int, side: int) -> None:
        super().__init__()
        blocks, widths = params.encoder_blocks, params.encoder_widths
        self.num_ws, self.style_dim = num_ws, style_dim
        self.side = params.encoder_side or side
        self.input_layer = stem(channels, widths[0])
        self.body = nn.Sequential(*body(blocks, widths))
        self._ends = tuple(total - 1 for total in list(accumulate(blocks))[-3:])
        self.latlayer1 = nn.Conv2d(widths[-2], widths[-1], 1)
        self.latlayer2 = nn.Conv2d(widths[-3], widths[-1], 1)
        sides = [-(-self.side // 2**stage) for stage in range(1, len(blocks) + 1)]
        self.styles = nn.ModuleList(MapToStyle(widths[-1], style_dim, sides[_level(i)]) for i in range(num_ws))
        self.register_buffer("mean", torch.zeros(num_ws, style_dim))

    def forward(self, x: Float[Tensor, "b c h w"], deltas: int | None = None) -> Float[Tensor, "b l s"]:
        """Return a code per layer.

        Only the first `deltas` layers after layer 0 have a delta of their own, the others get w_0; None: all have one.
        """
        maps = _Pyramid(self, self._features(resized(x, self.side)))
        active = self.num_ws - 1 if deltas is None else deltas
        w0 = self.styles[0](maps[-1])
        own = [w0] + [w0 + self.styles[i](maps[_level(i)]) for i in range(1, active + 1)]
        return torch.stack(own + [w0] * (self.num_ws - len(own)), dim=1) + self.mean

    def _features(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of the last three stages, finest first."""
        h, found = self.input_layer(x), []
        for number, block in enumerate(self.body):
            h = block(h)
            if number in self._ends:
                found.append(h)
        return found


class _Pyramid:
    """The maps that styles are read from, made when first asked for: -1 the coarsest, -3 the finest."""

    def __init__(self, encoder: Encoder, features: list[Tensor]) -> None:
        self.encoder, self.features = encoder, features
        self.made = {-1: features[-1]}

    def __getitem__(self, level: int) -> Tensor:
        """Return the maps of a level: the next coarser ones, enlarged, plus the stage's own."""
        if level not in self.made:
            lateral = self.encoder.latlayer1 if level == -2 else self.encoder.latlayer2
            own = lateral(self.features[level])
            coarser = F.interpolate(self[level + 1], size=own.shape[2:], mode="bilinear", align_corners=True)
            self.made[level] = coarser + own
        return self.made[level]


def resized(x: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c side side"]:
    """Return images of this side in pixels; bilinear, smoothed where they shrink."""
    if x.shape[2:] == (side, side):
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def _level(layer: int) -> int:
    return -1 if layer < MIDDLE else -2 if layer < FINE else -3
