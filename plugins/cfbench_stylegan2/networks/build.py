"""New networks for given parameters and images."""

import torch

from cfbench.errors import SuiteError
from cfbench.protocols import Context
from cfbench.specs import DatasetInfo
from cfbench_nets.seeds import seeded
from cfbench_stylegan2.networks.discriminator import Discriminator
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.networks.sides import Pyramid, pyramid
from cfbench_stylegan2.plugin import StyleGAN2Params


def pyramid_of(params: StyleGAN2Params, data: DatasetInfo) -> Pyramid:
    """Return the resolutions for a dataset's images. Raises SuiteError if these are not square."""
    if len(data.space) != 2 or len(set(data.space)) != 1:
        raise SuiteError(
            f"stylegan2-e4e expects square 2D images, not {' x '.join(map(str, data.space))}; "
            "pad, crop or slice them in the dataset"
        )
    found = pyramid(data.space[0], params.constant_side, params.channel_base, params.channel_max)
    if found.doublings == 0:
        raise SuiteError(f"stylegan2-e4e expects images of more than {found.constant} pixels, not {data.space[0]}")
    return found


def new_generator(params: StyleGAN2Params, data: DatasetInfo, context: Context) -> StyleGenerator:
    """Return a generator with random weights and fixed noise, from `context.seed`."""
    with seeded(context.seed, "generator"):
        generator = StyleGenerator(
            pyramid_of(params, data), data.channels, params.style_dim, params.mapping_layers, params.mapping_lr
        )
    return generator.to(context.device)


def new_discriminator(params: StyleGAN2Params, data: DatasetInfo, context: Context) -> Discriminator:
    """Return a discriminator with random weights, from `context.seed`."""
    with seeded(context.seed, "discriminator"):
        discriminator = Discriminator(pyramid_of(params, data), data.channels)
    return discriminator.to(context.device).to(memory_format=torch.channels_last)
