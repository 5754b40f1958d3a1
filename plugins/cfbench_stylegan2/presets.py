"""Named settings of StyleGAN2 with e4e: those of the public implementations, and a small one for CPUs."""

from collections.abc import Mapping
from typing import Any

from cfbench_stylegan2.e4e import presets as e4e

#: The public PyTorch implementation's, for one GPU (rosinality's stylegan2-pytorch: 800,000 steps of 16 images, channel
#: multiplier 2, R1 10 every 16 steps, path length 2 every 4, mixing .9, averages that forget half in 5,000 images) and
#: e4e's (200,000 steps of 8 images of 256 pixels, IR-SE-50): the params' defaults. Deviations: nothing is mirrored;
#: the encoder starts from random weights, not from a face recognition network; sample grids are written.
FFHQ256: Mapping[str, Any] = {"grid_every": 20_000}
#: NVIDIA's 256-pixel template has half the channels from 64 pixels on (24.8 M parameters instead of 30.0 M).
FFHQ256_NARROW: Mapping[str, Any] = {**FFHQ256, "channel_base": 16_384}
#: The same for 128 pixels; the implementation has no setting of its own for them.
FFHQ128: Mapping[str, Any] = FFHQ256

#: Vertebrae of 96 pixels (Atad et al. 2024, Keicher et al. 2023, who give no settings): the same, images padded to 128
#: pixels, with 12 styles of 512 numbers.
VERSE96: Mapping[str, Any] = FFHQ128

#: For CPUs and images of 28 to 48 pixels: minutes instead of GPU days, with the same networks, only smaller. What
#: minutes are too short for is different; figures are from the vertebra phantom at 40 pixels:
#:
#: - R1 has a weight of 1. At 0.1 (NVIDIA's rule of thumb gives 0.02) 1,500 steps drew one vertebra again and again,
#:   with half the pixels' true standard deviation (0.058 of 0.109, at twice the channels); at 1 it was 0.091;
#: - the learning rate is twice the published one, averages forget faster, styles are not mixed, and there is no
#:   path-length penalty: it takes longer than a step of the generator.
QUICK: Mapping[str, Any] = {
    "constant_side": 0,
    "channel_base": 320,
    "channel_max": 64,
    "style_dim": 64,
    "mapping_layers": 3,
    "steps": 1800,
    "lr": 0.004,
    "r1": 1.0,
    "path": 0.0,
    "mixing": 0.0,
    "ema_images": 1000.0,
    "grid_every": 300,
    **e4e.QUICK,
}

#: By name, as suites call them.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "verse96": VERSE96,
    "ffhq128": FFHQ128,
    "ffhq256": FFHQ256,
    "ffhq256-narrow": FFHQ256_NARROW,
    "quick": QUICK,
}
