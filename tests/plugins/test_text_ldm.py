"""The latent diffusion as a generator: training, resuming, saving, codes, samples, edits, words."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from text_ldm_cases import TEXTS, TINY, Blobs, context, fitted, info, shaken

from cfbench.errors import DataError, SuiteError
from cfbench.protocols import EditingGenerator, LatentGenerator, SamplingGenerator
from cfbench.types import Code, Edit
from cfbench_nets import training
from cfbench_text_ldm import fit_denoiser
from cfbench_text_ldm.chosen_cases import without
from cfbench_text_ldm.model import TextLdm
from cfbench_text_ldm.plugin import TextLdmParams, cfbench_generators
from cfbench_text_ldm.texts import Sayings, chosen, mentions, some_phrases, texts_of
from cfbench_text_ldm.words import Words, word_tokenizer

PHASES = ("training-the-autoencoder", "training")
STAGE = {
    "stage_words": ("large",),
    "stage_prompts": ("large blob",),
    "stage_classes": ("blob",),
    "stage_steps": (3,),
    "prior_images": 3,
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    model, cases = fitted(tmp_path_factory.mktemp("toy") / "fit")
    return shaken(model), cases


def weights(model):
    parts = model.painter.parts
    return [*parts.vae.state_dict().values(), *parts.denoiser.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def asked(n, strength=0.6, **other):
    return Edit(**({"prompts": ("large blob",) * n, "strength": strength, "guidance": 3.0, "steps": 10} | other))


def test_it_is_what_it_says(toy, tmp_path):
    model, _cases = toy
    spec = next(iter(cfbench_generators()))
    assert {"latent", "sampling", "editing"} == spec.provides
    for kind in (LatentGenerator, SamplingGenerator, EditingGenerator):
        assert isinstance(model, kind)
    for preset in spec.presets.values():
        TextLdmParams(**preset)


def test_it_learns(tmp_path):
    """The error of both networks falls; and the text encoder learns with the U-Net."""
    model, cases = fitted(tmp_path / "a", ae_steps=40, steps=60, lr=3e-3, null_prompt=0.0)
    fresh, _ = fitted(tmp_path / "b", ae_steps=1, steps=1)
    x = cases.x

    def lost(m):
        return (m.decode(Code(m.encode(x, context(tmp_path / "c"))), context(tmp_path / "c")) - x).abs().mean()

    assert lost(model) < 0.7 * lost(fresh)
    parts, space = model.painter.parts, model.painter.space
    z = space.mean(x, "cpu")
    tokens = parts.words.tokens(cases.text)

    def error(p):
        with torch.no_grad():
            return fit_denoiser.errors(p, z, tokens, torch.Generator().manual_seed(0)).mean()

    assert error(parts) < 0.9 * error(replace(parts, denoiser=fresh.painter.parts.denoiser))
    learnt, start = (m.painter.parts.denoiser.text.state_dict() for m in (model, fresh))
    assert not torch.equal(learnt["encoder.layer.0.output.dense.weight"], start["encoder.layer.0.output.dense.weight"])


@pytest.mark.parametrize(("folder", "stop"), [("training-the-autoencoder", 2), ("training", 3), ("stage-1", 1)])
def test_a_killed_fit_goes_on_bit_for_bit(tmp_path, monkeypatch, folder, stop):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    whole, _ = fitted(tmp_path / "whole", **STAGE)

    def killer(done, _total, what):
        if what.replace(" ", "-") == folder and done == stop:
            raise KeyboardInterrupt

    model, cases = TextLdm(replace(TINY, **STAGE), info(1, 10)), Blobs(12, 1, 10)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        model.fit(cases, cases, context(tmp_path / "killed", progress=killer))
    again = []

    def progress(done, _total, what):
        again.append((what.replace(" ", "-"), done))

    model.fit(cases, cases, context(tmp_path / "killed", progress=progress))
    assert min(done for what, done in again if what == folder) == stop + 1
    assert same(model, whole)


def test_what_is_saved_comes_back_without_pickles(toy, tmp_path):
    model, cases = toy
    out = tmp_path / "out"
    out.mkdir()
    model.save(out)
    assert {path.suffix for path in out.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    again = TextLdm(model.params, model.data)
    again.load(out, context(tmp_path / "c"))
    ctx, ids = context(tmp_path / "c"), cases.ids[:3]
    assert same(model, again)
    assert torch.equal(model.edit(cases.x[:3], ids, asked(3), ctx), again.edit(cases.x[:3], ids, asked(3), ctx))
    assert torch.equal(model.sample(2, ctx), again.sample(2, ctx))
    other = TextLdm(replace(model.params, objective="epsilon"), model.data)
    with pytest.raises(DataError, match="objective is v, not epsilon"):
        other.load(out, ctx)


def test_codes(toy, tmp_path):
    model, cases = toy
    ctx = context(tmp_path)
    z = model.encode(cases.x, ctx)
    assert z.shape == (12, 2 * 6 * 6)  # 10 pixels padded to 12, halved once
    assert torch.equal(z[3:5], model.encode(cases.x[3:5], ctx))
    assert abs(z.std() - 1) < 0.2
    assert model.invert(cases.x, z, ctx) == model.draw(cases.ids, ctx) == {}
    back = model.decode(Code(z), ctx)
    assert back.shape == cases.x.shape
    assert back.min() >= 0
    assert back.max() <= 1


def test_strength_0_is_the_autoencoders_reconstruction(toy, tmp_path):
    model, cases = toy
    ctx = context(tmp_path)
    floor = model.decode(Code(model.encode(cases.x, ctx)), ctx)
    assert torch.equal(model.edit(cases.x, cases.ids, asked(12, 0.0), ctx), floor)
    assert not torch.allclose(model.edit(cases.x, cases.ids, asked(12, 0.3), ctx), floor, atol=1e-3)


def test_strength_1_does_not_look_at_the_image(toy, tmp_path):
    model, cases = toy
    ctx = context(tmp_path)
    a, b = (model.edit(x, ("one", "two"), asked(2, 1.0), ctx) for x in (cases.x[:2], 1 - cases.x[5:7]))
    assert torch.equal(a, b)
    c, d = (model.edit(x, ("one", "two"), asked(2, 0.9), ctx) for x in (cases.x[:2], 1 - cases.x[5:7]))
    assert not torch.allclose(c, d, atol=1e-3)


def test_noise_belongs_to_seed_and_id_alone(toy, tmp_path):
    model, cases = toy
    x, ids, ctx = cases.x[:4], cases.ids[:4], context(tmp_path)
    whole = model.edit(x, ids, asked(4), ctx)
    turned = model.edit(x.flip(0), ids[::-1], asked(4), ctx).flip(0)
    alone = torch.cat([model.edit(x[i : i + 1], ids[i : i + 1], asked(1), ctx) for i in range(4)])
    assert torch.allclose(whole, turned, atol=1e-5)
    assert torch.allclose(whole, alone, atol=1e-5)
    assert not torch.allclose(whole, model.edit(x, ids, asked(4), context(tmp_path, seed=2)), atol=1e-3)
    assert not torch.allclose(whole, model.edit(x, ("a", "b", "c", "d"), asked(4), ctx), atol=1e-3)


def test_global_random_state_is_left_alone(toy, tmp_path):
    model, cases = toy
    before = torch.get_rng_state()
    model.edit(cases.x[:1], cases.ids[:1], asked(1), context(tmp_path))
    model.sample(1, context(tmp_path))
    fitted(tmp_path / "fit", ae_steps=1, steps=1)
    assert torch.equal(before, torch.get_rng_state())


def test_words_and_guidance_matter(toy, tmp_path):
    model, cases = toy
    x, ids, ctx = cases.x[:2], cases.ids[:2], context(tmp_path)

    def edited(prompt, guidance):
        return model.edit(x, ids, asked(2, prompts=(prompt,) * 2, guidance=guidance), ctx)

    assert not torch.allclose(edited("large blob", 3.0), edited("bright ground", 3.0), atol=1e-4)
    assert torch.equal(edited("large blob", 1.0), edited("large blob", 0.4))  # at or below 1 there is none
    assert not torch.allclose(edited("large blob", 1.0), edited("large blob", 3.0), atol=1e-4)
    assert torch.allclose(edited("", 1.0), edited("", 7.0), atol=1e-5)  # nothing to depart from


def test_each_image_has_a_prompt_of_its_own(toy, tmp_path):
    model, cases = toy
    ctx, ids = context(tmp_path), cases.ids[:2]
    both = model.edit(cases.x[:2], ids, asked(2, prompts=("large blob", "no blob")), ctx)
    second = model.edit(cases.x[1:2], ids[1:], asked(1, prompts=("no blob",)), ctx)
    assert torch.allclose(both[1:], second, atol=1e-5)


@pytest.mark.parametrize("start", ["noised", "inverted"])
@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_kept_pixels_are_kept(toy, tmp_path, strength, start):
    model, cases = toy
    model = TextLdm(replace(model.params, start=start), model.data)
    out = tmp_path / "out"
    out.mkdir()
    toy[0].save(out)
    ctx, keep = context(tmp_path / "c"), torch.zeros(3, 1, 10, 10, dtype=torch.bool)
    model.load(out, ctx)
    keep[:, :, :, 5:] = True
    x, ids = cases.x[:3], cases.ids[:3]
    free, kept = (model.edit(x, ids, asked(3, strength, keep=mask), ctx) for mask in (None, keep))
    assert torch.equal(kept[..., 5:], x[..., 5:])
    assert not torch.allclose(free[..., 5:], x[..., 5:], atol=1e-3)
    if strength:  # what is kept has a say in the rest
        assert not torch.allclose(free[..., :4], kept[..., :4], atol=1e-4)


def test_a_mask_of_everything_and_of_nothing(toy, tmp_path):
    model, cases = toy
    ctx, x, ids = context(tmp_path), cases.x[:2], cases.ids[:2]
    everything = torch.ones(2, 1, 10, 10, dtype=torch.bool)
    assert torch.equal(model.edit(x, ids, asked(2, keep=everything), ctx), x)
    nothing = model.edit(x, ids, asked(2, keep=~everything), ctx)
    assert torch.equal(nothing, model.edit(x, ids, asked(2), ctx))


def test_repeats_go_further(toy, tmp_path):
    model, cases = toy
    ctx, x, ids = context(tmp_path), cases.x[:2], cases.ids[:2]
    once, thrice = (model.edit(x, ids, asked(2, 0.3, repeats=k), ctx) for k in (1, 3))
    assert not torch.allclose(once, thrice, atol=1e-4)
    assert torch.equal(model.edit(x, ids, asked(2, 0.0, repeats=3), ctx), model.edit(x, ids, asked(2, 0.0), ctx))


def test_inversion_without_new_words_stays_near(toy, tmp_path):
    """DDIM inversion and back under the same (empty) words nearly undo each other; drawn noise does not."""
    model, cases = toy
    out = tmp_path / "out"
    out.mkdir()
    model.save(out)
    inverting = TextLdm(replace(model.params, start="inverted"), model.data)
    ctx, x, ids = context(tmp_path / "c"), cases.x[:4], cases.ids[:4]
    inverting.load(out, ctx)
    edit = asked(4, prompts=("",) * 4, guidance=1.0, steps=60)
    floor = model.edit(x, ids, asked(4, 0.0), ctx)
    away = {m: (m.edit(x, ids, edit, ctx) - floor).abs().mean() for m in (model, inverting)}
    assert away[inverting] < 0.3 * away[model]


def test_samples_belong_to_seed_and_number(toy, tmp_path):
    model, _ = toy
    ctx = context(tmp_path)
    five = model.sample(5, ctx)
    assert torch.allclose(five[:2], model.sample(2, ctx), atol=1e-5)
    assert not torch.allclose(five, model.sample(5, context(tmp_path, seed=2)), atol=1e-3)
    assert model.sample(0, ctx).shape == (0, 1, 10, 10)
    prompts = model.prompts(300, ctx)
    assert prompts[:5] == model.prompts(5, ctx)
    assert {text: 70 < prompts.count(text) < 130 for text in TEXTS} == dict.fromkeys(TEXTS, True)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (asked(3), "3 prompts"),
        (asked(2, 1.5), "strength"),
        (asked(2, steps=0), "steps"),
        (asked(2, repeats=0), "repeats"),
        (asked(2, guidance=float("nan")), "guidance"),
        (asked(2, keep=torch.ones(2, 1, 4, 4, dtype=torch.bool)), "keep"),
    ],
)
def test_impossible_edits_are_refused(toy, tmp_path, edit, complaint):
    model, cases = toy
    with pytest.raises(DataError, match=complaint):
        model.edit(cases.x[:2], cases.ids[:2], edit, context(tmp_path))


def test_nothing_works_before_fit(tmp_path):
    model = TextLdm(TINY, info(1, 10))
    with pytest.raises(DataError, match="call fit"):
        model.sample(1, context(tmp_path))


def test_colours_and_odd_sizes(tmp_path):
    model, cases = fitted(tmp_path, channels=3, side=9)
    assert model.edit(cases.x[:2], cases.ids[:2], asked(2), context(tmp_path)).shape == (2, 3, 9, 9)
    model, cases = fitted(tmp_path / "big", side=9, size=16)
    assert model.edit(cases.x[:2], cases.ids[:2], asked(2), context(tmp_path)).shape == (2, 1, 9, 9)
    out = tmp_path / "out"
    out.mkdir()
    model.save(out)
    frame = json.loads((out / "text-ldm.json").read_text())["frame"]
    assert (frame["how"], frame["side"], frame["working"]) == ("resized", 9, 16)
    for space, size, complaint in (((8, 10), 0, "square"), ((8, 8, 8), 0, "square")):
        with pytest.raises(SuiteError, match=complaint):
            TextLdm(replace(TINY, size=size), replace(info(1, 8), space=space))
    with pytest.raises(SuiteError, match="multiple of 4"):
        fitted(tmp_path / "odd", side=8, size=10)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"steps": 0}, "no weights"),
        ({"channels": 5}, "groups"),
        ({"attention": (True,)}, "attention"),
        ({"null_prompt": 1.0}, "null_prompt"),
        ({"revision": "main"}, "commit"),
        ({"stage_words": ("a",)}, "every stage"),
        ({**STAGE, "stage_steps": (0,)}, "stage_steps"),
        ({"sample_steps": 1000}, "sample_steps"),
        ({"token_length": 2}, "token_length"),
    ],
)
def test_impossible_parameters_are_refused(changes, complaint):
    with pytest.raises(SuiteError, match=complaint):
        replace(TINY, **changes)


# Words


def test_texts_are_the_cases_own_or_the_datasets_words():
    prompts = {"grade": {0.0: "no blob", 1.0: "blob"}, "size": {0.0: "small"}}
    assert texts_of(Blobs(4, 1, 8), info(1, 8, prompts)) == (*TEXTS, TEXTS[0])
    bare = Blobs(3, 1, 8, texts=None, grades=[1.0, 0.0, float("nan")])
    assert texts_of(bare, info(1, 8, prompts)) == ("blob", "no blob", "")
    bare.labels["size"] = torch.zeros(3)
    assert texts_of(bare, info(1, 8, prompts)) == ("blob, small", "no blob, small", "small")
    with pytest.raises(SuiteError, match="words"):
        texts_of(bare, info(1, 8))
    with pytest.raises(DataError, match="no training cases"):
        texts_of(Blobs(0, 1, 8), info(1, 8))


def test_a_dataset_with_words_for_labels_alone_trains(tmp_path):
    cases = Blobs(6, 1, 10, texts=None, grades=[0.0, 1.0])
    model = TextLdm(TINY, info(1, 10, {"grade": {0.0: "no blob", 1.0: "blob"}}))
    model.fit(cases, cases, context(tmp_path))
    assert set(model.texts) == {"no blob", "blob"}


def test_cases_are_left_out_by_whole_words(tmp_path):
    assert mentions("Large opacity on the LEFT, enlarged heart", "the left")
    assert not mentions("enlarged heart", "large")
    assert not mentions("large round opacity", "large opacity")
    assert chosen(TEXTS, ["large", "no blob"], leave_out=False) == [0, 2]
    kept, texts = without(Blobs(7, 1, 8), texts_of(Blobs(7, 1, 8), info(1, 8)), ("large", "no blob"))
    assert kept.ids == ("case 1", "case 4")
    assert set(texts) == {TEXTS[1]}
    assert kept.batch([1]).ids == ("case 4",)
    model, _ = fitted(tmp_path, leave_out=("large",))
    assert set(model.texts) == set(TEXTS[1:])
    assert model.painter.parts.words.losses("large blob") == {"unknown": ["large"]}
    with pytest.raises(DataError, match="leaves none"):
        without(Blobs(7, 1, 8), TEXTS, ("blob",))


def test_every_subset_of_phrases_is_as_likely():
    random, counts = torch.Generator().manual_seed(0), {}
    for _ in range(3000):
        text = some_phrases("a b, c , d", random)
        counts[text] = counts.get(text, 0) + 1
    assert set(counts) == {"a b", "c", "d", "a b, c", "a b, d", "c, d", "a b, c, d"}
    assert all(350 < count < 510 for count in counts.values())  # 429 +- 4 standard deviations
    assert some_phrases("", random) == ""


def test_labels_words_are_told_as_often_as_asked():
    random = torch.Generator().manual_seed(0)
    sayings = Sayings(["own text, more", "bare"], ["words", ""], 0.4, subsets=False)
    told = [sayings.prompt(0, random) for _ in range(2000)]
    assert set(told) == {"words", "own text, more"}
    assert 720 < told.count("words") < 880  # 800 +- 3.6 standard deviations
    assert {sayings.prompt(1, random) for _ in range(50)} == {"bare"}  # no words: its text
    some = replace(sayings, subsets=True)
    assert {some.prompt(0, random) for _ in range(200)} == {"words", "own text", "more", "own text, more"}


def test_tokens_of_words():
    words = Words(word_tokenizer(["Large blob, dark", "no blob"], 6), 6)
    assert words.tokenizer.convert_ids_to_tokens(words.tokens(["no BLOB, x"])[0]) == [
        "[CLS]", "no", "blob", ",", "[UNK]", "[SEP]",
    ]  # fmt: skip
    assert words.tokenizer.convert_ids_to_tokens(words.tokens([""])[0]) == ["[CLS]", "[SEP]", *["[PAD]"] * 4]
    assert words.losses("no blob") == {}
    assert words.losses("no dark blob, Large thing") == {"cut": "Large thing"}
    assert words.losses("no thing") == {"unknown": ["thing"]}


def test_prompts_that_are_not_read_whole_are_told_once(toy, tmp_path, caplog):
    model, cases = toy
    ctx = context(tmp_path)
    long = "dark ground, large blob, no blob, small blob"
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            model.edit(cases.x[:2], cases.ids[:2], asked(2, prompts=(long, "large lesion")), ctx)
    assert sum("no blob, small blob" in message for message in caplog.messages) == 1
    assert sum("lesion" in message for message in caplog.messages) == 1
    found = json.loads((tmp_path / "prompts.json").read_text())
    assert found == {long: {"cut": "no blob, small blob"}, "large lesion": {"unknown": ["lesion"]}}
    short = model.edit(cases.x[:1], cases.ids[:1], asked(1, prompts=("dark ground, large blob,",)), ctx)
    assert torch.allclose(model.edit(cases.x[:1], cases.ids[:1], asked(1, prompts=(long,)), ctx), short, atol=1e-6)


def test_training_texts_that_are_cut_are_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        model, _ = fitted(tmp_path / "fit", token_length=5, ae_steps=1, steps=1)
    assert "3 of 3 training texts are cut at 5 tokens" in caplog.text
    out = tmp_path / "out"
    out.mkdir()
    model.save(out)
    assert json.loads((out / "text-ldm.json").read_text())["cut_texts"] == 3


# DreamBooth


def test_a_stage_teaches_its_cases_and_keeps_the_rest(tmp_path):
    """It changes U-Net and text encoder, not the autoencoder; prior images are drawn before it, and kept."""
    after, _ = fitted(tmp_path / "after", **STAGE, stage_lr=1e-3)
    base = {name: load_file(tmp_path / "after" / name / "training.safetensors") for name in PHASES}
    for name, value in after.painter.parts.vae.state_dict().items():
        assert torch.equal(value, base["training-the-autoencoder"][f"ema.{name}"])
    for name in ("text.encoder.layer.0.output.dense.weight", "unet.conv_in.weight"):
        assert not torch.equal(after.painter.parts.denoiser.state_dict()[name], base["training"][f"ema.{name}"])
    assert len(list((tmp_path / "after" / "stage-1").glob("prior-*.safetensors"))) == 1
    with pytest.raises(DataError, match="stage_words"):
        fitted(tmp_path / "none", **{**STAGE, "stage_words": ("lesion",)})
    plain, _ = fitted(tmp_path / "plain", **STAGE, prior_weight=0.0)
    assert not list((tmp_path / "plain").rglob("prior-*"))
    assert not same(plain, after)
