"""DINOv2's features through transformers: a small random network, against transformers' own processor and by hand."""

import json
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.linalg import sqrtm
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from cfbench.errors import ChecksumError, DataError, OfflineError, PluginError, UndefinedError
from cfbench.protocols import Context
from cfbench.types import View
from cfbench_metrics.dinov2 import Dinov2Features, fd_dinov2, fd_dinov2_floor, kid_dinov2, prepared
from cfbench_metrics.networks import DINOV2_PRESETS, FILES, Dinov2, Dinov2Floor
from cfbench_nets import hub
from cfbench_nets.hub import digest

torch.set_num_threads(1)

WIDTH, PATCH, SIDE = 24, 14, 56
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network(width=WIDTH):
    """A small DINOv2 with random weights all over, whose positions were learnt on a grid of 5 x 5 patches."""
    config = Dinov2Config(
        hidden_size=width, num_hidden_layers=2, num_attention_heads=3, image_size=5 * PATCH, patch_size=PATCH
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Dinov2Model(config).eval()
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dinov2")
    network().save_pretrained(folder)
    BitImageProcessor(image_mean=MEAN, image_std=SPREAD).save_pretrained(folder)
    return folder


@pytest.fixture
def offline(monkeypatch):
    """Whoever opens a connection fails the test."""

    def refused(*_args, **_kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.fixture
def context(tmp_path):
    return Context(0, tmp_path)


def checksums(folder):
    return tuple(digest([folder / name]) for name in FILES)


def params_of(made, kind=Dinov2, **changes):
    return kind(**{"folder": str(made), "sha256": checksums(made), "side": SIDE, **changes})


def smooth(n, seed=0, shape=(1, 30, 34)):
    """Images without a jump, which no bicubic filter overshoots."""
    made = torch.rand((n, *shape), generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.avg_pool2d(made, 7, 1, 3, count_include_pad=False)
    return 0.2 + 0.6 * (soft - soft.amin()) / (soft.amax() - soft.amin())


def view_of(x, x_out=None, status=None):
    names = tuple(f"c{i}" for i in range(len(x)))
    return View("counterfactual", None, names, names, status or ("ok",) * len(x), x=x, x_out=x_out)


def ones(*shape):
    return torch.ones(shape, dtype=torch.float64)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(("shape", "side"), [((1, 30, 34), 56), ((3, 30, 34), 56), ((1, 90, 61), 28)])
def test_features_are_those_of_transformers_own_processor_and_model(files, context, shape, side):
    x = smooth(3, shape=shape)
    processor = BitImageProcessor.from_pretrained(files, size={"height": side, "width": side}, do_center_crop=False)
    pixels = processor(list(x.expand(-1, 3, -1, -1)), do_rescale=False, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        tokens = network()(pixels).last_hidden_state
    found = Dinov2Features(params_of(files, side=side))(x, context)
    assert found.shape == (3, WIDTH)
    assert found.std(0).mean() > 3e-3
    assert found.numpy() == pytest.approx(tokens[:, 0].numpy(), abs=2e-5)


def test_the_default_size_and_the_published_spreads(files, context):
    x = torch.stack([torch.full((3, 20, 20), 0.0), torch.full((3, 20, 20), 1.0)])
    found = prepared(x, 224, MEAN, SPREAD)
    assert found.shape == (2, 3, 224, 224)
    for channel in range(3):
        expected = (np.array([0, 1]) - MEAN[channel]) / SPREAD[channel]
        assert found[:, channel, 7, 9].numpy() == pytest.approx(expected, rel=1e-5)
    edge = torch.zeros(1, 1, 28, 28)
    edge[..., 14:] = 1  # bicubic overshoots beside it
    found = prepared(edge, 224, (0.0,) * 3, (1.0,) * 3)
    assert (found.min(), found.max()) == (0, 1)
    assert Dinov2Features(params_of(files, side=224))(smooth(2), context).isfinite().all()


def test_spreads_are_read_from_the_networks_own_file(files, tmp_path, context):
    other = tmp_path / "other"
    shutil.copytree(files, other)
    BitImageProcessor(image_mean=(0.5307,) * 3, image_std=(0.2583,) * 3).save_pretrained(other)
    x = smooth(2)
    with torch.inference_mode():
        expected = network()(prepared(x, SIDE, (0.5307,) * 3, (0.2583,) * 3)).pooler_output
    assert torch.equal(Dinov2Features(params_of(other))(x, context), expected)
    assert not torch.equal(Dinov2Features(params_of(files))(x, context), expected)


def test_features_depend_on_the_image_alone(files, context):
    x, look = smooth(19), Dinov2Features(params_of(files))
    before = torch.get_rng_state()
    whole = look(x, context)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(look(x, context), whole)
    assert look(x[17:18], context).numpy() == pytest.approx(whole[17:18].numpy(), abs=1e-5)


def test_distances_are_those_of_the_features(files, context):
    real, made = smooth(40, 1), smooth(40, 2) ** 1.2
    p = params_of(files)
    fd, kid, floor = fd_dinov2(p), kid_dinov2(p), fd_dinov2_floor(params_of(files, Dinov2Floor))
    reference = fd.reference(view_of(real), context)
    x, y = (Dinov2Features(p)(each, context).double().numpy() for each in (made, real))
    s1, s2 = np.cov(x.T), np.cov(y.T)
    closed = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    weights = (ones(1, 40), ones(1, 40))
    found = fd.compute(view_of(real, made), reference, *weights, context)
    assert found.item() == pytest.approx(closed, rel=1e-6)
    kernel = [(a @ b.T / WIDTH + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    within = [(k.sum() - np.trace(k)) / (40 * 39) for k in kernel[:2]]
    found = kid.compute(view_of(real, made), reference, *weights, context)
    assert found.item() == pytest.approx(sum(within) - 2 * kernel[2].mean(), rel=1e-6)
    low = floor.compute(view_of(real), floor.reference(view_of(real), context), *weights, context)
    assert 0 < low.item() < closed


def test_sets_of_unequal_size_are_refused_by_the_biased_one_alone(files, context):
    x, p = smooth(8), params_of(files)
    failed = view_of(x, x.flip(3), status=("failed", *("ok",) * 7))
    reference = fd_dinov2(p).reference(view_of(x), context)
    with pytest.raises(UndefinedError, match="equal size only, got 7 answered and 8 real"):
        fd_dinov2(p).compute(failed, reference, ones(1, 8), ones(1, 8), context)
    assert kid_dinov2(p).compute(failed, reference, ones(1, 8), ones(1, 8), context).isfinite()
    with pytest.raises(UndefinedError, match="2D images"):
        Dinov2Features(p)(torch.rand(2, 1, 8, 8, 8), context)


@pytest.mark.usefixtures("offline")
def test_without_the_files_nothing_is_fetched_and_it_says_what_to_do(context, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    p = Dinov2()
    with pytest.raises(OfflineError) as caught:
        Dinov2Features(p)(smooth(1), context)
    for told in (f"hf download {p.model} --revision {p.revision}", *FILES, str(tmp_path / "empty"), "--local-dir"):
        assert told in str(caught.value)
        assert told in p.missing()
    assert replace(p, download=True).missing() == ""
    assert replace(p, folder=str(tmp_path), download=True).missing().endswith(f"lacks {', '.join(FILES)}")


@pytest.mark.usefixtures("offline")
def test_the_hubs_cache_is_found(files, context, monkeypatch, tmp_path):
    p = params_of(files, model="tiny/dinov2", revision="0123456789" * 4, folder="")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--tiny--dinov2" / "snapshots" / p.revision
    shutil.copytree(files, cached)
    assert p.missing() == ""
    assert torch.equal(Dinov2Features(p)(smooth(2), context), Dinov2Features(params_of(files))(smooth(2), context))
    (cached / FILES[1]).unlink()
    assert f"lacks {FILES[1]}" in p.missing()


def test_other_files_are_refused(files, tmp_path, context):
    x = smooth(1)
    for i, name in enumerate(FILES):
        wrong = tuple("0" * 64 if i == j else each for j, each in enumerate(checksums(files)))
        with pytest.raises(ChecksumError, match=f"{name} has the SHA-256 {checksums(files)[i]}, expected 0000"):
            Dinov2Features(params_of(files, sha256=wrong))(x, context)
    pickled = tmp_path / "pickled"
    shutil.copytree(files, pickled)
    (pickled / FILES[1]).rename(pickled / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"lacks model\.safetensors; it has pytorch_model\.bin, which may run code"):
        Dinov2Features(params_of(files, folder=str(pickled)))(x, context)
    with pytest.raises(DataError, match=r"lacks config\.json"):
        Dinov2Features(params_of(files, folder=str(tmp_path / "nowhere")))(x, context)


def test_another_network_is_no_dinov2(files, tmp_path, context):
    other, x = tmp_path / "other", smooth(1)
    shutil.copytree(files, other)
    state = load_file(other / FILES[1])
    save_file({name: each for name, each in state.items() if "layer.1.mlp" not in name}, other / FILES[1])
    with pytest.raises(DataError, match=r"lacks tensors of DINOv2: encoder\.layer\.1\.mlp"):
        Dinov2Features(params_of(other))(x, context)
    config = json.loads((other / FILES[0]).read_text())
    (other / FILES[0]).write_text(json.dumps({**config, "model_type": "dinov2_with_registers"}))
    with pytest.raises(DataError, match="got 'dinov2_with_registers'"):
        Dinov2Features(params_of(other))(x, context)
    with pytest.raises(DataError, match="multiple of the network's patch, 14 pixels, got 60"):
        Dinov2Features(params_of(files, side=60))(x, context)


def test_settings_that_name_no_fixed_files_are_refused():
    with pytest.raises(ValueError, match="no branch"):
        Dinov2(revision="main")
    with pytest.raises(ValueError, match="3 checksums"):
        Dinov2(sha256=("0" * 64,))
    with pytest.raises(ValueError, match="1 pixel or more"):
        Dinov2(side=0)
    for values in DINOV2_PRESETS.values():
        preset = Dinov2Floor(**values, at="half")
        assert preset.side % PATCH == 0
        assert preset.revision != Dinov2().revision
        assert not set(preset.sha256) & set(Dinov2().sha256)


def test_a_library_that_is_missing_is_named(files, context, monkeypatch):
    real = hub.importlib.import_module

    def missing(name):
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'", name="transformers")
        return real(name)

    monkeypatch.setattr(hub.importlib, "import_module", missing)
    with pytest.raises(PluginError, match=r"DINOv2 needs the library transformers.*pip install 'cfbench\[ldm\]'"):
        Dinov2Features(params_of(files))(smooth(1), context)
