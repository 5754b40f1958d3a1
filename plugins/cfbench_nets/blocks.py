"""Residual and attention blocks in the style of ADM (Dhariwal & Nichol 2021), as diffusion autoencoders use them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cfbench_nets.layers import conv, half, norm, twice, zeroed

Resample = Literal["keep", "down", "up"]
_RESAMPLE: dict[Resample, Callable[[Tensor], Tensor]] = {"keep": lambda x: x, "down": half, "up": twice}


@dataclass(frozen=True, kw_only=True)
class BlockStyle:
    """What all blocks of a network share."""

    #: Spatial dimensions: 2 or 3.
    dims: int
    #: Most groups of a group norm.
    groups: int
    dropout: float
    #: Width of the time embedding, and of the semantic code; None in a network that is not conditioned.
    time_width: int | None = None
    code_width: int | None = None


class ResBlock(nn.Module):
    """x -> skip(x) + h, with resampling inside the block.

    h = conv(SiLU(GN(x))); conditioned, a second half follows: GN, then h (1 + s_t) + b_t, then h (1 + s_z), then
    SiLU, dropout and a convolution that starts at zero, where (s_t, b_t) = Linear(SiLU(time)) and
    s_z = Linear(SiLU(z)): z has a scale only. Unconditioned (semantic encoder) there is no second half, as published
    (Preechakul et al. 2022, and their code).
    """

    def __init__(self, c_in: int, c_out: int, style: BlockStyle, resample: Resample = "keep") -> None:
        super().__init__()
        self.resample: Resample = resample
        self.norm_in = norm(c_in, style.groups)
        self.conv_in = conv(style.dims, c_in, c_out)
        self.skip = nn.Identity() if c_in == c_out else conv(style.dims, c_in, c_out, kernel=1)
        if style.time_width is not None and style.code_width is not None:
            self.time = nn.Linear(style.time_width, 2 * c_out)
            self.code = nn.Linear(style.code_width, c_out)
            self.norm_out = norm(c_out, style.groups)
            self.dropout = nn.Dropout(style.dropout)
            self.conv_out = zeroed(conv(style.dims, c_out, c_out))

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        time: Float[Tensor, "#b t"] | None = None,
        z: Float[Tensor, "b d"] | None = None,
    ) -> Float[Tensor, "b e *out"]:
        """Return the block's output; `time` (embedded) and `z` must be given if, and only if, it is conditioned."""
        resample = _RESAMPLE[self.resample]
        h = self.conv_in(resample(nn.functional.silu(self.norm_in(x))))
        if time is not None and z is not None:
            h = self._modulate(self.norm_out(h), time, z)
            h = self.conv_out(self.dropout(nn.functional.silu(h)))
        return self.skip(resample(x)) + h

    def _modulate(
        self, h: Float[Tensor, "b c *space"], time: Float[Tensor, "#b t"], z: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b c *space"]:
        """Return (h (1 + s_t) + b_t) (1 + s_z) as one multiply-add: a third of the memory traffic."""
        s_t, b_t = self.time(nn.functional.silu(time)).chunk(2, dim=1)
        scale_z = 1 + self.code(nn.functional.silu(z))
        ones = (1,) * (h.ndim - 2)
        scale, shift = (1 + s_t) * scale_z, b_t * scale_z
        return torch.addcmul(shift.unflatten(1, (-1, *ones)), h, scale.unflatten(1, (-1, *ones)))


class Attention(nn.Module):
    """x -> x + proj(softmax(q k^T / sqrt(c)) v) over all positions; softmax in float32, proj starts at zero."""

    def __init__(self, channels: int, style: BlockStyle) -> None:
        super().__init__()
        self.norm = norm(channels, style.groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Return the block's output."""
        q, k, v = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=2)
        # Scaled on both sides, so that half precision does not overflow before the softmax.
        scale = q.shape[2] ** -0.25
        weights = torch.softmax(((q * scale) @ (k * scale).transpose(1, 2)).float(), dim=2).to(v.dtype)
        return x + self.proj(weights @ v).transpose(1, 2).reshape(x.shape)
