"""Published checkpoints of StyleGAN2 and e4e: the same functions after conversion, and what is refused."""

import json
from argparse import Namespace
from collections import OrderedDict
from hashlib import sha256

import pytest
import stylegan2_layout
import torch
from click.testing import CliRunner
from omegaconf import OmegaConf

from cfbench.errors import ChecksumError, DataError, NotFiniteError, SuiteError
from cfbench.protocols import Context
from cfbench.specs import DatasetInfo
from cfbench.types import Batch, Code
from cfbench_nets.seeds import generator, seeded
from cfbench_stylegan2.e4e.encoder import Encoder
from cfbench_stylegan2.model import StyleGAN2E4E
from cfbench_stylegan2.networks.discriminator import Discriminator
from cfbench_stylegan2.networks.generator import StyleGenerator
from cfbench_stylegan2.networks.sides import pyramid
from cfbench_stylegan2.official import command
from cfbench_stylegan2.official.convert import convert, suite_params
from cfbench_stylegan2.official.networks import converted_networks
from cfbench_stylegan2.plugin import StyleGAN2Params

SIDE, STYLE, MAPPING = 32, 12, 3
BLOCKS, WIDTHS = (1, 2, 1, 1), (16, 20, 32, 36)


def widths(side):
    return min(24, 512 // side)


def info(channels=3, side=SIDE):
    return DatasetInfo(channels=channels, space=(side, side), labels={}, fingerprint="official")


def drawn(make, seed=0):
    """A network of theirs, none of whose weights is zero, and whose statistics are not those of a new one."""
    with seeded("official", seed):
        network = make()
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.05 * torch.randn(weight.shape))
            for name, value in network.named_buffers():
                if "running" in name:
                    value.add_(0.2 * torch.rand(value.shape))
    return network.eval()


def their_generator(seed=0, channels=3):
    return drawn(lambda: stylegan2_layout.Generator(SIDE, STYLE, MAPPING, widths, channels), seed)


def their_discriminator(channels=3):
    return drawn(lambda: stylegan2_layout.Discriminator(SIDE, widths, channels))


def their_encoder(channels=3):
    return drawn(lambda: stylegan2_layout.Encoder(2 * 4, STYLE, BLOCKS, WIDTHS, channels))


def write_stylegan2(path, **changes):
    """A checkpoint as the public implementation's training writes it."""
    g_ema, d = their_generator(), their_discriminator()
    state = {name: value.clone() for name, value in g_ema.state_dict().items()}
    state = {name: value for name, value in (state | changes.pop("g_ema", {})).items() if value is not None}
    optimiser = torch.optim.Adam([torch.zeros(3)]).state_dict()
    content = {"g": their_generator(1).state_dict(), "d": d.state_dict(), "g_ema": state, "g_optim": optimiser}
    content |= {"args": Namespace(size=SIDE), "ada_aug_p": 0.0} | changes
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


def write_e4e(path, *, mean=True, opts=None, **changes):
    """A checkpoint as e4e's training writes it."""
    state = OrderedDict((f"encoder.{name}", value) for name, value in their_encoder().state_dict().items())
    state |= {f"decoder.{name}": value for name, value in their_generator().state_dict().items()}
    state = {name: value for name, value in (state | changes).items() if value is not None}
    told = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True, "stylegan_size": SIDE, "lr": 1e-4}
    content = {"state_dict": state, "opts": told if opts is None else opts}
    if mean:
        content["latent_avg"] = torch.randn(1, STYLE, generator=generator("mean")).repeat(8, 1)
    torch.save(content, path)
    return path


def suite(folder, **changes):
    """The params that the conversion tells, as a suite would hold them."""
    params = {name: tuple(v) if isinstance(v, list) else v for name, v in suite_params(folder).items()}
    digest = sha256((folder / "networks.safetensors").read_bytes()).hexdigest()
    return StyleGAN2Params(**params, weights=str(folder), weights_sha256=digest, **changes)


def loaded(folder, tmp_path, data=None, **changes):
    return converted_networks(suite(folder, **changes), data or info(), Context(seed=0, folder=tmp_path))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert float(b.std()) > 0.01


@torch.no_grad()
def test_a_converted_stylegan2_is_the_same_function(tmp_path):
    made = convert(write_stylegan2(tmp_path / "550000.pt"), tmp_path / "out")
    ours = loaded(made.folder, tmp_path)
    g, d = their_generator().double(), their_discriminator().double()
    random = generator("official")
    z = torch.randn(4, STYLE, generator=random, dtype=torch.float64)
    close(ours.generator.double().mapping(z), g.style(z))
    ws = torch.randn(4, 8, STYLE, generator=random, dtype=torch.float64)
    images = g(ws)
    close(ours.generator.synthesis(ws), images)
    close(ours.discriminator.double()(images), d(images))
    close(ours.discriminator(images[:2]), d(images[:2]))
    assert ours.encoder is None
    learnt = [*g.parameters(), *d.parameters()]
    assert made.parameters == sum(weight.numel() for weight in learnt)
    said = json.loads((made.folder / "provenance.json").read_text())
    assert said == dict(made.provenance)
    assert (said["source"], said["copy"], said["networks"]) == ("550000.pt", "g_ema", "discriminator, generator")
    assert said["sha256"] == sha256((tmp_path / "550000.pt").read_bytes()).hexdigest()


@torch.no_grad()
def test_a_converted_e4e_is_the_same_function(tmp_path):
    made = convert(write_e4e(tmp_path / "best_model.pt"), tmp_path / "out")
    ours = loaded(made.folder, tmp_path)
    encoder, decoder = their_encoder().double(), their_generator().double()
    x = torch.rand(2, 3, 256, 256, generator=generator("x"), dtype=torch.float64) * 2 - 1
    mean = torch.load(tmp_path / "best_model.pt", weights_only=True)["latent_avg"].double()
    codes = encoder(x) + mean
    close(ours.encoder.double()(x), codes)
    close(ours.generator.double().synthesis(codes), decoder(codes))
    assert ours.discriminator is None
    assert suite(made.folder).encoder_blocks == BLOCKS
    assert made.parameters == sum(weight.numel() for part in (encoder, decoder) for weight in part.parameters())


def test_the_published_sizes_are_found_from_the_shapes():
    """Names and shapes of FFHQ-1024 and of e4e for it, both in full size, are exactly ours."""
    base = StyleGAN2Params()
    with torch.device("meta"):
        theirs = stylegan2_layout.Generator(1024, 512, 8, lambda side: min(512, 2 * 2**14 // side))
        shape = pyramid(1024, 4, base.channel_base, base.channel_max)
        ours = StyleGenerator(shape, 3, base.style_dim, base.mapping_layers)
        judges = stylegan2_layout.Discriminator(1024, lambda s: min(512, 2 * 2**14 // s)), Discriminator(shape, 3)
        encoders = (
            stylegan2_layout.Encoder(18, 512, (3, 4, 14, 3), (64, 128, 256, 512)),
            Encoder(base, 3, 18, 512, 1024),
        )
    for a, b in ((theirs, ours), judges, encoders):
        shapes = [
            {k: tuple(v.shape) for k, v in m.state_dict().items() if not k.endswith((".kernel", "mean")) or "run" in k}
            for m in (a, b)
        ]
        assert shapes[0] == shapes[1]
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (ours, judges[1])]
    # Generator and discriminator as the published configuration F counts them at 1024 pixels.
    assert counts[:2] == [30_370_060, 29_012_513]


@torch.no_grad()
def test_the_last_generator_is_taken_where_it_is_asked_for_and_grey_images_are_grey(tmp_path):
    path = write_stylegan2(tmp_path / "a.pt")
    out = loaded(convert(path, tmp_path / "g", copy="g").folder, tmp_path)
    assert torch.equal(out.generator.conv1.conv.weight, their_generator(1).conv1.conv.weight)
    grey = {"g_ema": their_generator(channels=1).state_dict(), "d": None}
    folder = convert(write_stylegan2(tmp_path / "b.pt", **grey), tmp_path / "grey").folder
    assert loaded(folder, tmp_path, info(1)).discriminator is None
    with pytest.raises(DataError, match="channels is 1, not 3"):
        loaded(folder, tmp_path)


def test_without_a_mean_latent_codes_begin_at_zero_or_the_file_is_incomplete(tmp_path):
    opts = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": False}
    made = convert(write_e4e(tmp_path / "a.pt", opts=opts), tmp_path / "out")
    assert not loaded(made.folder, tmp_path).encoder.mean.any()
    with pytest.raises(DataError, match=r"latent_avg \(8, 12\) is missing"):
        convert(write_e4e(tmp_path / "b.pt", mean=False), tmp_path / "b")


@pytest.mark.parametrize("kind", ["GradualStyleEncoder", None])
def test_an_encoder_that_means_other_codes_by_the_same_tensors_is_refused(tmp_path, kind):
    with pytest.raises(DataError, match=f"encoder_type Encoder4Editing, not {kind}"):
        convert(write_e4e(tmp_path / "psp.pt", opts={"encoder_type": kind} if kind else {}), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv1.noise.weight": None}, r"g_ema.conv1.noise.weight \(1,\) is missing"),
        ({"conv1.activate.bias": torch.zeros(7)}, r"conv1.activate.bias is \(7,\), not \(24,\)"),
        ({"noises.noise_2": torch.zeros(1, 1, 4, 4)}, r"noise_2 is \(1, 1, 4, 4\), not \(1, 1, 8, 8\)"),
        ({"to_rgbs.0.extra": torch.zeros(2)}, r"to_rgbs.0.extra \(2,\) has no place"),
        ({"conv1.conv.weight": torch.zeros(24, 24, 3, 3)}, r"\(24, 24, 3, 3\), not \(1, 24, 24, 3, 3\)"),
        ({"to_rgbs.0.upsample.kernel": torch.ones(4, 4) / 4}, "to_rgbs.0.upsample.kernel is another filter"),
        ({"convs.0.conv.blur.kernel": stylegan2_layout.TAPS}, "convs.0.conv.blur.kernel is another filter"),
        ({"to_rgbs.0.bias": None}, "0 doublings"),
        ({"input.input": torch.zeros(1, 24, 5, 5)}, "starts from 4 x 4"),
        ({"to_rgb1.conv.weight": None}, "to_rgb1.conv.weight of 5 dimensions"),
        ({"conv1.activate.bias": torch.zeros(24, dtype=torch.int64)}, "is a torch.LongStorage"),
    ],
)
def test_every_tensor_that_does_not_fit_is_named_and_nothing_is_written(tmp_path, change, words):
    path = write_stylegan2(tmp_path / "a.pt", g_ema=change)
    with pytest.raises(DataError, match=words):
        convert(path, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_failed_trainings_other_files_and_existing_folders_are_refused(tmp_path):
    path = write_stylegan2(tmp_path / "a.pt", g_ema={"conv1.activate.bias": torch.full((24,), float("nan"))})
    with pytest.raises(NotFiniteError, match=r"g_ema\.conv1\.activate\.bias"):
        convert(path, tmp_path / "out")
    torch.save([1], tmp_path / "b.pt")
    with pytest.raises(DataError, match="entry g_ema"):
        convert(tmp_path / "b.pt", tmp_path / "out")
    torch.save({"d": {}}, tmp_path / "c.pt")
    with pytest.raises(DataError, match="entry `g_ema`"):
        convert(tmp_path / "c.pt", tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="exists already"):
        convert(write_stylegan2(tmp_path / "d.pt"), tmp_path / "out")
    old = tmp_path / "old.pt"
    torch.save({"g_ema": {}}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"before 1\.6"):
        convert(old, tmp_path / "new")


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def test_a_checkpoint_that_would_run_a_command_is_converted_and_runs_none(tmp_path):
    evil = Evil(f"touch {tmp_path / 'sprung'}")
    path = write_stylegan2(tmp_path / "a.pt", args=evil, g_ema={"evil": evil})
    convert(path, tmp_path / "out")
    assert not (tmp_path / "sprung").exists()


def test_a_suite_gets_the_networks_whose_digest_it_names_and_no_others(tmp_path):
    folder = convert(write_e4e(tmp_path / "a.pt"), tmp_path / "out").folder
    params = suite(folder)
    context = Context(seed=0, folder=tmp_path)
    for digest in ("", "0" * 64):
        wrong = StyleGAN2Params(**{**vars(params), "weights_sha256": digest})
        with pytest.raises(ChecksumError, match="weights_sha256"):
            converted_networks(wrong, info(), context)
    with pytest.raises(DataError, match="padded_side is 32, not 64"):
        converted_networks(params, info(side=40), context)
    with pytest.raises(DataError, match=r"mapping_lr is 0\.01, not 0\.1"):
        converted_networks(StyleGAN2Params(**{**vars(params), "mapping_lr": 0.1}), info(), context)
    with pytest.raises(DataError, match="encoder_side to that, not 128"):
        converted_networks(StyleGAN2Params(**{**vars(params), "encoder_side": 128}), info(), context)
    with pytest.raises(DataError, match="cfbench stylegan2 convert"):
        converted_networks(StyleGAN2Params(**{**vars(params), "weights": str(tmp_path)}), info(), context)
    # Smaller images are padded to the same side.
    assert converted_networks(params, info(side=30), context).generator.side == 32


class Cases:
    """A few random images."""

    def __init__(self, n=6, side=SIDE, channels=3):
        self.x = torch.rand(n, channels, side, side, generator=generator(0, "cases"))
        self.ids = self.patients = tuple(f"case {i}" for i in range(n))
        self.labels = {}

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        chosen = list(index)
        ids = tuple(self.ids[i] for i in chosen)
        return Batch(ids, ids, self.x[chosen], {})


def test_a_fit_with_converted_networks_trains_only_what_they_lack(tmp_path):
    context = Context(seed=0, folder=tmp_path)
    whole = StyleGAN2E4E(suite(convert(write_e4e(tmp_path / "a.pt"), tmp_path / "e4e").folder), info())
    whole.fit(Cases(), Cases(), context)
    assert not (tmp_path / "encoder-training.safetensors").exists()
    x = Cases().x
    z = whole.encode(x, context)
    assert z.shape == (6, 8 * STYLE)
    assert whole.decode(Code(z), context).shape == x.shape
    little = {"encoder_blocks": (1, 1, 1), "encoder_widths": (8, 8, 8), "encoder_side": 0, "encoder_steps": 2}
    folder = convert(write_stylegan2(tmp_path / "b.pt"), tmp_path / "gan").folder
    part = StyleGAN2E4E(suite(folder, **little, encoder_perceptual="discriminator"), info())
    part.fit(Cases(), Cases(), context)
    assert torch.equal(part.generator.conv1.conv.weight, their_generator().conv1.conv.weight)
    assert part.encode(x, context).shape == (6, 8 * STYLE)
    folder = convert(write_stylegan2(tmp_path / "c.pt", d=None), tmp_path / "no d").folder
    with pytest.raises(SuiteError, match="come without one"):
        StyleGAN2E4E(suite(folder, **little, encoder_perceptual="discriminator"), info()).fit(Cases(), Cases(), context)


def test_the_command_converts_and_says_what_a_suite_needs(tmp_path):
    path, out = write_e4e(tmp_path / "a.pt"), tmp_path / "new" / "out"
    result = CliRunner().invoke(command.stylegan2, ["convert", str(path), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert sorted(file.name for file in out.iterdir()) == ["networks.json", "networks.safetensors", "provenance.json"]
    told = OmegaConf.to_container(OmegaConf.create(result.output.split("In a suite:\n")[1]))
    params = told["generators"]["stylegan2-e4e"]
    assert params.pop("use") == "stylegan2-e4e"
    params = {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}
    assert StyleGAN2Params(**params) == suite(out)
    assert "encoder, generator" in result.output
    with pytest.raises(DataError, match="exists already"):
        CliRunner().invoke(command.stylegan2, ["convert", str(path), "--out", str(out)], catch_exceptions=False)
