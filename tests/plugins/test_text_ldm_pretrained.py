"""Published weights: folders in diffusers' layout, a hub's pinned commits and cache, what is refused, and stages."""

import json
import socket
import threading
from dataclasses import replace
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from text_ldm_cases import Blobs, context, info

from cfbench.cli.session import plan_as_is
from cfbench.errors import DataError, OfflineError, PluginError, SuiteError
from cfbench.registry import load
from cfbench.suite import suite_from_config
from cfbench.types import Edit
from cfbench_nets import hub as hub_files
from cfbench_text_ldm import stock
from cfbench_text_ldm.dreambooth import stages_of
from cfbench_text_ldm.model import TextLdm
from cfbench_text_ldm.plugin import TextLdmParams
from cfbench_text_ldm.presets import PRESETS

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "normal", "chest", "scan", "lung", "opacity", "x", "-", "ray"]
PIN = "0123456789abcdef" * 2 + "01234567"
STAGED = {
    "stage_words": ("no blob", "large blob"),
    "stage_prompts": ("Normal chest scan", "Lung Opacity"),
    "stage_classes": ("chest x-ray",) * 2,
    "stage_steps": (3, 2),
    "prior_images": 3,
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A tiny random Stable Diffusion: 3 colours, 8 pixels a cell, epsilon, scaled_linear."""
    folder = tmp_path_factory.mktemp("sd")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoencoderKL(
            3, 3, ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4, (4, 4, 8, 8), norm_num_groups=2
        ).save_pretrained(folder / "vae")
        UNet2DConditionModel(
            8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(4, 8),
            layers_per_block=1,
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=2,
        ).save_pretrained(folder / "unet")
    DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear").save_pretrained(folder / "scheduler")
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny random BERT saved with its pooling layer and a tokenizer without a greatest length, as RadBERT is."""
    folder = tmp_path_factory.mktemp("bert")
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=80,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    return folder


@pytest.fixture
def offline(monkeypatch):
    """Whoever opens a connection fails the test."""

    def refused(*_args, **_kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def params(pipeline, bert, **changes):
    own = {"weights": str(pipeline), "text_encoder": str(bert), "size": 32, "precision": "float32", "sample_steps": 4}
    known = {
        "weights_sha256": hub_files.digest(pipeline / file for file in stock.PIPELINE),
        "text_sha256": hub_files.digest(bert / file for file in stock.READER),
    }
    return TextLdmParams(**{**PRESETS["sd14-radbert"], **own, **known, **STAGED, **changes})


def fitted(folder, p):
    model, cases = TextLdm(p, info(1, 20)), Blobs(6, 1, 20)
    model.fit(cases, cases, context(folder))
    return model, cases


def test_the_papers_preset():
    p = TextLdmParams(**PRESETS["sd14-radbert"])
    assert [stage.steps for stage in stages_of(p)] == [1200, 500, 500, 500]
    assert (p.stage_lr, p.stage_batch, p.prior_weight, p.prior_images, p.precision) == (5e-5, 2, 1.0, 100, "bfloat16")
    assert (p.size, p.token_length, p.schedule, p.objective, p.stage_null_prompt) == (
        512, 77, "scaled_linear", "epsilon", 0.0,
    )  # fmt: skip
    assert all(pretrained_pin(pin) for pin in (p.revision, p.text_revision))


def pretrained_pin(pin):
    return len(pin) == 40 and int(pin, 16) >= 0


@pytest.mark.usefixtures("offline")
def test_a_folder_is_fine_tuned_edits_and_comes_back(tmp_path, pipeline, bert):
    p = params(pipeline, bert)
    model, cases = fitted(tmp_path / "fit", p)
    parts = model.painter.parts
    for name, value in load_file(pipeline / "vae" / "diffusion_pytorch_model.safetensors").items():
        assert torch.equal(parts.vae.state_dict()[name], value)  # frozen
    start = load_file(bert / "model.safetensors")
    learnt = parts.denoiser.text.state_dict()
    assert not torch.equal(
        learnt["encoder.layer.0.output.dense.weight"], start["bert.encoder.layer.0.output.dense.weight"]
    )
    assert "pooler.dense.weight" not in learnt
    frame = model.painter.space.frame
    assert (frame.how, frame.side, frame.working, frame.colours) == ("resized", 20, 32, 3)
    assert model.painter.parts.words.tokens(["normal chest x-ray"]).shape == (1, 77)
    assert float(model.painter.space.spread.mean()) == pytest.approx(1 / 0.18215)
    edit = Edit(("lung opacity",) * 2, 0.55, 4.0, 10)
    ctx = context(tmp_path / "c")
    edited = model.edit(cases.x[:2], cases.ids[:2], edit, ctx)
    assert edited.shape == (2, 1, 20, 20)
    assert model.sample(2, ctx).shape == (2, 1, 20, 20)
    assert model.encode(cases.x, ctx).shape == (6, 4 * 4 * 4)
    out = tmp_path / "out"
    out.mkdir()
    model.save(out)
    assert {path.suffix for path in out.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    again = TextLdm(p, info(1, 20))
    again.load(out, ctx)
    assert torch.equal(again.edit(cases.x[:2], cases.ids[:2], edit, ctx), edited)


def test_stages_follow_one_another(tmp_path, pipeline, bert):
    """The second starts where the first ended: alone, from the published weights, it ends elsewhere."""
    both, _ = fitted(tmp_path / "both", params(pipeline, bert))
    second = {name: values[1:] for name, values in STAGED.items() if name.startswith("stage")}
    alone, _ = fitted(tmp_path / "alone", params(pipeline, bert, **second))
    a, b = (m.painter.parts.denoiser.state_dict()["unet.conv_in.weight"] for m in (both, alone))
    assert not torch.equal(a, b)
    assert (tmp_path / "both" / "stage-2" / "prior-0.safetensors").is_file()


def test_a_pipelines_own_text_encoder(tmp_path, pipeline, bert):
    own = tmp_path / "sd"
    for part in ("vae", "unet", "scheduler"):
        (own / part).mkdir(parents=True)
        for file in (pipeline / part).iterdir():
            (own / part / file.name).write_bytes(file.read_bytes())
    for part, names in (("text_encoder", ("config.json", "model.safetensors")), ("tokenizer", ("vocab.txt",))):
        (own / part).mkdir()
        for name in names:
            (own / part / name).write_bytes((bert / name).read_bytes())
    (own / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    files = (*stock.PIPELINE, *stock.OWN_TEXT)
    known = hub_files.digest(own / file for file in files)
    model, _ = fitted(tmp_path / "fit", params(pipeline, bert, weights=str(own), weights_sha256=known, text_encoder=""))
    assert model.painter.parts.words.losses("normal chest") == {}


@pytest.mark.usefixtures("offline")
def test_what_is_missing_is_told(tmp_path, pipeline, bert):
    with pytest.raises(SuiteError, match=params(pipeline, bert).weights_sha256):
        fitted(tmp_path, params(pipeline, bert, weights_sha256=""))
    with pytest.raises(SuiteError, match="set text_sha256"):
        fitted(tmp_path, params(pipeline, bert, text_sha256="0" * 64))
    with pytest.raises(SuiteError, match="beta_schedule is 'scaled_linear', not 'linear'"):
        fitted(tmp_path, params(pipeline, bert, schedule="linear"))
    with pytest.raises(DataError, match="there is no folder"):
        fitted(tmp_path, params(pipeline, bert, weights=str(tmp_path / "nowhere")))
    with pytest.raises(SuiteError, match="must pin its commit"):
        fitted(tmp_path, params(pipeline, bert, weights="CompVis/stable-diffusion-v1-4", revision=""))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((bert / "config.json").read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(DataError, match=r"pytorch_model\.bin, which may run code"):
        fitted(tmp_path, params(pipeline, bert, text_encoder=str(pickled)))


@pytest.mark.usefixtures("offline")
def test_without_a_network_it_says_what_to_fetch(tmp_path, pipeline, bert):
    p = params(pipeline, bert, text_encoder="StanfordAIMI/RadBERT")
    with pytest.raises(OfflineError) as caught:
        fitted(tmp_path, p)
    for told in (
        "hf download StanfordAIMI/RadBERT",
        f"--revision {p.text_revision}",
        "model.safetensors",
        "--local-dir",
    ):
        assert told in str(caught.value)
    assert p.missing() == str(caught.value)


@pytest.mark.usefixtures("offline")
def test_weights_that_are_not_there_are_a_skip_of_the_plan(tmp_path, pipeline, bert):
    assert params(pipeline, bert).missing() == ""
    assert TextLdmParams().missing() == ""
    registry = load()
    config = {
        "suite": "toy",
        "datasets": {"chest": {"use": "chest-phantom"}},
        "generators": {"sd": {"use": "text-ldm", "preset": "sd14-radbert"}},
        "metrics": {"l1": {"use": "l1"}},
    }
    (why,) = {m.reason for m in plan_as_is(suite_from_config(config, registry), "").measurements}
    assert "hf download CompVis/stable-diffusion-v1-4" in why
    config["generators"]["sd"]["weights"] = str(tmp_path / "nowhere")
    (why,) = {m.reason for m in plan_as_is(suite_from_config(config, registry), "").measurements}
    assert f"there is no folder {tmp_path / 'nowhere'}" in why


class Hub(BaseHTTPRequestHandler):
    """The few answers of a model hub that a snapshot of one repository needs."""

    folder = None

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.path.split("?")[0]
        if path.startswith("/api/models/"):
            names = [{"rfilename": file.name} for file in sorted(self.folder.iterdir())]
            files = [{"type": "file", "path": f["rfilename"], "size": (self.folder / f["rfilename"]).stat().st_size,
                      "oid": "0" * 40} for f in names]  # fmt: skip
            found = files if "/tree/" in path else {"id": "tiny/bert", "sha": PIN, "siblings": names}
            return self.send(json.dumps(found).encode(), body, "application/json")
        file = self.folder / path.rsplit("/", 1)[-1]
        if not file.is_file():
            return self.send_error(404)
        return self.send(file.read_bytes(), body, "application/octet-stream")

    def send(self, content, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{sha1(content, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", PIN)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_args):
        pass


@pytest.fixture
def hub(bert, tmp_path, monkeypatch):
    """A hub on this machine, and a cache of its own."""
    import huggingface_hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Hub,), {"folder": bert}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    fetch = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda repo, **kw: fetch(repo, endpoint=address, cache_dir=tmp_path / "cache", token=False, **kw),
    )
    yield server
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_once_and_only_if_wanted(tmp_path, pipeline, bert, hub):
    wanted = {"text_encoder": "tiny/bert", "text_revision": PIN, "text_sha256": "", "stage_steps": (1, 1)}
    p = params(pipeline, bert, **wanted)
    with pytest.raises(OfflineError, match="download is off"):
        fitted(tmp_path / "a", p)
    fetched, _ = fitted(tmp_path / "b", replace(p, download=True))
    hub.shutdown()
    cached, _ = fitted(tmp_path / "c", replace(p, download=False))
    for a, b in zip(
        fetched.painter.parts.denoiser.parameters(), cached.painter.parts.denoiser.parameters(), strict=True
    ):
        assert a.shape == b.shape
    assert cached.painter.parts.words.losses("normal chest") == {}


def test_a_library_that_is_missing_is_named(monkeypatch):
    real = hub_files.importlib.import_module

    def missing(name):
        if name == "diffusers":
            raise ModuleNotFoundError("No module named 'diffusers'", name="diffusers")
        return real(name)

    monkeypatch.setattr(hub_files.importlib, "import_module", missing)
    with pytest.raises(PluginError, match=r"pip install 'cfbench\[ldm\]'"):
        TextLdm(TextLdmParams(), info(1, 16))
