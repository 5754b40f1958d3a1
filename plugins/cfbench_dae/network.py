"""The network of the diffusion autoencoder: a semantic encoder and a U-Net that it conditions."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from cfbench_dae.plugin import DaeParams
from cfbench_nets.blocks import Attention, BlockStyle
from cfbench_nets.half_unet import HalfUNet
from cfbench_nets.padding import padded_space
from cfbench_nets.stages import Shape
from cfbench_nets.unet import UNet
from cfbench_nets.whitening import Whitening


class Autoencoder(nn.Module):
    """Encoder: image to z. U-Net: (x_t, t, z) to epsilon or v. Images in [-1, 1], `side` pixels at their longest."""

    def __init__(self, params: DaeParams, channels: int, dims: int, side: int) -> None:
        super().__init__()
        plain = BlockStyle(dims=dims, groups=params.groups, dropout=params.dropout)
        conditioned = BlockStyle(
            dims=dims,
            groups=params.groups,
            dropout=params.dropout,
            time_width=params.time_dim,
            code_width=params.z_dim,
        )
        encoder = HalfUNet(channels, params.z_dim, _shape(params, params.encoder_mult, side), plain)
        # Pooled features of a new network hardly differ between images, so the tiny epsilon.
        standard = nn.BatchNorm1d(params.z_dim, eps=1e-10, affine=False)
        self.encoder = nn.Sequential(encoder, standard) if params.standardise else encoder
        self.whitening = Whitening(params.z_dim)
        self.unet = UNet(channels, _shape(params, params.channel_mult, side), conditioned)

    @property
    def parameter_count(self) -> int:
        """How many numbers are learnt."""
        return sum(weight.numel() for weight in self.parameters())

    @property
    def attention_count(self) -> int:
        """How many blocks of encoder and U-Net have attention: 9 at 64 pixels and 2 at 96, with the same settings."""
        return sum(isinstance(part, Attention) for part in self.modules())

    def forward(
        self, x: Float[Tensor, "b c *space"], x_t: Float[Tensor, "b c *space"], t: Int[Tensor, " b"]
    ) -> Float[Tensor, "b c *space"]:
        """Return the prediction for x_t, conditioned on the code of x."""
        return self.unet(x_t, self.unet.embed(t), self.encoder(x))


def working_space(params: DaeParams, space: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size in pixels that images are padded to, so that every level of the U-Net halves evenly."""
    return padded_space(space, int(2 ** (len(params.channel_mult) - 1)))


def _shape(params: DaeParams, mult: tuple[int, ...], side: int) -> Shape:
    widths = tuple(params.channels * factor for factor in mult)
    return Shape(side=side, widths=widths, res_blocks=params.res_blocks, attention=params.attention_resolutions)
