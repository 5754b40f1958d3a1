"""The published templates: sizes, structure, schedules; and parameters that cannot work."""

from dataclasses import replace

import pytest
import torch

from cfbench.errors import SuiteError
from cfbench.specs import DatasetInfo
from cfbench_dae.model import DAE
from cfbench_dae.network import Autoencoder, working_space
from cfbench_dae.plugin import DaeParams
from cfbench_dae.presets import PRESETS
from cfbench_nets import ddim
from cfbench_nets.blocks import Attention, ResBlock

SMALL = DaeParams(
    channels=4, channel_mult=(1, 2), encoder_mult=(1, 2, 2), attention_resolutions=(4,), groups=2, z_dim=5
)

#: Preset to pixels, parameters (the authors' "M" is 1024 ** 2), blocks with attention, millions of images, and of codes
#: for the latent model.
PUBLISHED = {
    "ffhq64": (64, 86.63 * 1024**2, 9, 72, 301),
    "verse96": (96, 88.99e6, 2, 12, 301),
    "verse96-wide": (96, 124.39e6, 2, 12, 101),
    "ffhq128": (128, 122.59 * 1024**2, 9, 130, 101),
    "ffhq256": (256, 160.69 * 1024**2, 9, 200, 101),
}


@pytest.fixture(params=PUBLISHED)
def template(request):
    """A published preset on the device that has no memory, and what is known of it."""
    params = DaeParams(**PRESETS[request.param])
    with torch.device("meta"):
        channels = 1 if request.param.startswith("verse") else 3
        return params, Autoencoder(params, channels, dims=2, side=PUBLISHED[request.param][0]), request.param


def test_published_presets_have_the_published_sizes(template):
    params, network, name = template
    _, size, attention, images, codes = PUBLISHED[name]
    assert network.parameter_count == pytest.approx(size, abs=0.006e6)
    assert network.attention_count == attention
    assert params.steps * params.batch / 1e6 == pytest.approx(images, abs=1e-3)
    assert params.latent_steps * params.latent_batch / 1e6 == pytest.approx(codes, abs=1e-3)


#: What all templates share.
SHARED = {
    "res_blocks": 2,
    "attention_resolutions": (16,),
    "groups": 32,
    "z_dim": 512,
    "time_dim": 512,
    "dropout": 0.1,
    "objective": "epsilon",
    "schedule": "linear",
    "T": 1000,
    "time_power": 1.0,
    "lr": 1e-4,
    "rate": "constant",
    "ema": 0.9999,
    "precision": "float16",
    "encode_steps": 250,
    "decode_steps": 100,
    "encode_to": "zero",
    "standardise": False,
    "whiten": False,
    "latent_layers": 10,
    "latent_width": 2048,
    "latent_lr": 1e-4,
    "latent_loss": "l1",
    "latent_decode_steps": 20,
}


def test_published_presets_are_trained_and_run_as_published(template):
    params, _, name = template
    assert {key: getattr(params, key) for key in SHARED} == SHARED
    assert params.batch == {"verse96": 64, "verse96-wide": 64, "ffhq256": 64}.get(name, 128)
    assert params.flip == (not name.startswith("verse"))


def test_the_defaults_are_the_64_pixel_template_in_float32_without_its_latent_model():
    changed = {"precision": "float32", "latent_steps": 0, "latent_batch": 256}
    assert replace(DaeParams(**PRESETS["ffhq64"]), **changed) == DaeParams()


def test_published_trajectories_start_and_end_where_they_should():
    dae = DAE(DaeParams(), DatasetInfo(channels=3, space=(64, 64), labels={}, fingerprint="x"))
    up, down = (ddim.spaced(dae.params.T, steps) for steps in (dae.params.encode_steps, dae.params.decode_steps))
    assert (up[0], up[-1], down[0], down[-1]) == (0, 996, 0, 990)
    assert float(dae.alpha_bar[0]) == pytest.approx(1 - 1e-4, abs=1e-12)
    assert float(dae.alpha_bar[990]) == pytest.approx(4.8e-5, rel=0.02)


def test_published_blocks_are_single_in_the_encoder_and_scaled_by_z_alone(template):
    params, network, _ = template
    inner, outer = (
        [part for part in net.modules() if isinstance(part, ResBlock)] for net in (network.encoder, network.unet)
    )
    assert not any(hasattr(block, "conv_out") or hasattr(block, "time") for block in inner)
    levels = len(params.channel_mult)
    assert (len(inner), len(outer)) == (3 * (levels + 1) + 1, 2 * levels + 3 * levels + 2 * (levels - 1) + 2)
    for block in outer:
        assert (block.time.out_features, block.code.out_features) == (
            2 * block.conv_out.out_channels,
            block.conv_out.out_channels,
        )
        assert block.dropout.p == 0.1
        assert block.norm_out.num_groups == 32


def test_a_new_network_starts_as_nothing_at_every_published_place():
    network = Autoencoder(SMALL, channels=1, dims=2, side=8)
    blocks = [part for part in network.modules() if isinstance(part, ResBlock)]
    zeroed = [block.conv_out for block in blocks if hasattr(block, "conv_out")]
    zeroed += [part.proj for part in network.modules() if isinstance(part, Attention)]
    zeroed.append(network.unet.last[-1])
    assert len(zeroed) == 14 + 9 + 1
    assert not any(weight.any() for part in zeroed for weight in part.parameters())
    assert all(block.conv_in.weight.any() for block in blocks)


@pytest.mark.parametrize(
    ("pixels", "side", "attention"), [(64, 64, 9), (60, 64, 9), (90, 96, 2), (96, 96, 2), (128, 128, 9)]
)
def test_attention_goes_by_the_padded_side(pixels, side, attention):
    params = DaeParams()
    assert working_space(params, (pixels, 8)) == (side, 8)
    with torch.device("meta"):
        assert Autoencoder(params, channels=1, dims=2, side=side).attention_count == attention


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"z_dim": 0}, "z_dim must be at least 1, not 0"),
        ({"channel_mult": ()}, r"channel_mult must be factors of 1 or more, one per level, not \(\)"),
        ({"encoder_mult": (1, 0)}, "encoder_mult must be factors"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"dropout": -0.1}, "dropout must"),
        ({"ema": 1.5}, "ema must"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("nan")}, "lr must be above 0"),
        ({"channels": 1}, "channels must be at least 2"),
        ({"T": 20}, "T must be at least 21"),
        ({"latent_layers": 1}, "latent_layers must be at least 2"),
        ({"latent_steps": -1}, "latent_steps must be at least 0"),
        ({"standardise": True, "batch": 1}, "standardise needs a batch of at least 2"),
    ],
)
def test_parameters_that_cannot_work_are_named_at_once(changes, words):
    with pytest.raises(SuiteError, match=f"dae: {words}"):
        replace(SMALL, **changes)


def test_every_wrong_parameter_is_named():
    with pytest.raises(SuiteError, match=r"z_dim.*\n.*steps.*\n.*dropout"):
        DaeParams(z_dim=0, steps=0, dropout=2.0)
    DaeParams(batch=1)
