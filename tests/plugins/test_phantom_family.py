"""All phantoms alike: the same bits everywhere, sound cohorts, and counterfactuals that change what was asked alone."""

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from cfbench.errors import DataError
from cfbench.protocols import Dataset, MeasuringDataset, TruthDataset
from cfbench_phantoms import brain, canvas, chest, disc, fundus, params, plugin, raw
from cfbench_phantoms.brain import BrainPhantom
from cfbench_phantoms.chest import ChestPhantom
from cfbench_phantoms.disc import DiscPhantom
from cfbench_phantoms.fundus import FundusPhantom
from cfbench_phantoms.params import (
    FACTS,
    BrainParams,
    ChestParams,
    DiscParams,
    FundusParams,
    VertebraParams,
    describe,
    space_of,
)
from cfbench_phantoms.phantom import SPLITS
from cfbench_phantoms.vertebra import VertebraPhantom

#: Name to dataset and small parameters.
FAMILY = {
    "vertebra": (VertebraPhantom, VertebraParams(size=32, patients=12)),
    "chest": (ChestPhantom, ChestParams(size=32, patients=12)),
    "fundus": (FundusPhantom, FundusParams(size=32, patients=12)),
    "brain": (BrainPhantom, BrainParams(size=32, patients=12)),
    "volume": (BrainPhantom, BrainParams(size=24, depth=16, patients=8)),
    "disc": (DiscPhantom, DiscParams(size=32, patients=12)),
}
NEW = tuple(name for name in FAMILY if name != "vertebra")
#: A change of one of these changes published numbers: bump the phantom's `version` in `params.py` with it.
GOLDEN = {
    "chest": "5078047ec91b97e8",
    "fundus": "46e1edd354f48d73",
    "brain": "b21a9513c9f5f675",
    "volume": "cb47b81bbe8c11a9",
    "disc": "46d8e149f5ad4f4f",
}


@pytest.fixture(scope="module")
def built():
    return {name: make(small) for name, (make, small) in FAMILY.items()}


@pytest.fixture(params=FAMILY)
def name(request):
    return request.param


@pytest.fixture
def phantom(name, built):
    return built[name]


def whole(phantom, split="train"):
    cases = phantom.cases(split)
    return cases.batch(range(len(cases)))


def everyone(phantom):
    """Return the ids of all cases."""
    return tuple(i for split in SPLITS for i in phantom.cases(split).ids)


def first_label(name):
    return next(iter(FACTS[type(FAMILY[name][1])].labels))


def settable(phantom):
    """Return label to its scale."""
    return phantom._organ.labels


def full(ids, value):
    return torch.full((len(ids),), float(value))


def digest(name):
    """Return one digest of the factual images and masks, and of a counterfactual of every label."""
    make, small = FAMILY[name]
    phantom, total = make(small), sha256()
    ids = everyone(phantom)
    for split in SPLITS:
        for mask in whole(phantom, split).masks.values():
            total.update(mask.numpy().tobytes())
    images = [phantom.image(ids)]
    for label, scale in settable(phantom).items():
        value = scale.high if scale.category else scale.low + 0.8 * (scale.high - scale.low)
        images.append(phantom.counterfactual(ids, label, full(ids, value)).x)
    for x in images:
        total.update((x.numpy() * 255).round().astype(np.uint8).tobytes())
    return total.hexdigest()[:16]


@pytest.mark.parametrize("name", NEW)
def test_the_images_are_the_ones_that_were_published(name):
    assert digest(name) == GOLDEN[name]


def test_the_images_are_the_same_without_simd():
    from numpy._core import _multiarray_umath as umath

    found = [f for f in umath.__cpu_dispatch__ if umath.__cpu_features__[f]]
    if not found:
        pytest.skip("this processor has no SIMD feature beyond numpy's baseline")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from numpy._core import _multiarray_umath as u; import test_phantom_family as t;"
        "assert not any(u.__cpu_features__[f] for f in sys.argv[2].split());"
        "print({name: t.digest(name) for name in t.NEW} == t.GOLDEN)"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), " ".join(found)]
    path = os.pathsep.join(p for p in sys.path if p)
    env = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(found), "PYTHONPATH": path}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "True"


def test_half_integers_make_standard_normal_numbers():
    values = raw.normals(raw.integers(1 << 15, "test"))
    assert len(values) == 1 << 16
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    assert abs(np.corrcoef(values[: 1 << 15], values[1 << 15 :])[0, 1]) < 0.02


def test_batches_are_what_the_protocols_ask_for(name, phantom):
    small = FAMILY[name][1]
    info = describe(small)
    assert isinstance(phantom, Dataset)
    assert isinstance(phantom, TruthDataset)
    assert isinstance(phantom, MeasuringDataset)
    for split in SPLITS:
        cases, batch = phantom.cases(split), whole(phantom, split)
        assert batch.ids == cases.ids
        assert batch.patients == cases.patients
        assert batch.x.shape == (len(cases), info.channels, *info.space)
        assert torch.equal((batch.x * 255).round() / 255, batch.x)
        assert set(info.labels) <= set(batch.labels) == set(cases.labels)
        assert set(batch.masks) == set(info.masks)
        assert all(m.shape == (len(cases), 1, *info.space) and m.dtype == torch.bool for m in batch.masks.values())
        assert len(batch.text) == len(cases)
        for label, values in info.labels.items():
            known = batch.labels[label][~batch.labels[label].isnan()]
            assert not values or set(known.tolist()) <= set(values)


def test_the_words_for_a_value_occur_in_the_text_of_every_case_that_has_it(name, phantom):
    batch, prompts = whole(phantom), describe(FAMILY[name][1]).prompts
    assert prompts
    for label, words in prompts.items():
        for value, text in zip(batch.labels[label].tolist(), batch.text, strict=True):
            for other, prompt in words.items():
                there = set(prompt.split()) <= set(text.replace(",", "").split())
                assert there == (other == value), (text, label, value, prompt)


def test_no_case_at_all_is_a_batch_too(name, phantom):
    space = space_of(FAMILY[name][1])
    assert phantom.cases("test").batch([]).x.shape[2:] == space
    for label in settable(phantom):
        assert phantom.counterfactual([], label, torch.zeros(0)).mask.shape == (0, 1, *space)


def test_an_image_depends_neither_on_its_company_nor_on_the_order(name, phantom):
    make, small = FAMILY[name]
    some = [5, 2, 2, 9]
    fresh = make(small).cases("train").batch(some)
    batch = whole(phantom)
    assert torch.equal(fresh.x, batch.x[some])
    assert all(torch.equal(fresh.masks[mask], batch.masks[mask][some]) for mask in batch.masks)
    alone = make(replace(small, patients=1, test=0.0, valid=0.0)).cases("train")
    both = make(replace(small, patients=2, test=0.0, valid=0.0)).cases("train")
    assert alone.ids == both.ids[: len(alone)]
    assert torch.equal(alone.batch([0]).x, both.batch([0]).x)


def test_chunks_and_windows_only_save_time(name, phantom, monkeypatch):
    make, small = FAMILY[name]
    label = first_label(name)
    ids = phantom.cases("train").ids
    monkeypatch.setattr("cfbench_phantoms.phantom.PIXELS", 1)
    for module in (brain, chest, disc, fundus):
        monkeypatch.setattr(module, "near", lambda size, low, high, slack=0.0: slice(0, size))
    slow = make(small)
    assert torch.equal(slow.image(ids), phantom.image(ids))
    top = full(ids, settable(phantom)[label].high)
    assert torch.equal(slow.counterfactual(ids, label, top).x, phantom.counterfactual(ids, label, top).x)


def test_at_its_own_value_a_case_is_itself(phantom):
    for split in SPLITS:
        batch = whole(phantom, split)
        for label in settable(phantom):
            known = ~batch.labels[label].isnan()
            ids = tuple(i for i, k in zip(batch.ids, known.tolist(), strict=True) if k)
            truth = phantom.counterfactual(ids, label, batch.labels[label][known])
            assert torch.equal(truth.x, batch.x[known]), label
            assert not truth.mask.any()
            assert torch.equal(truth.measured, phantom.planted(ids, label))


def test_the_mask_is_where_any_channel_differs(phantom):
    batch = whole(phantom)
    for label, scale in settable(phantom).items():
        truth = phantom.counterfactual(batch.ids, label, full(batch.ids, scale.high))
        assert torch.equal(truth.mask, (truth.x != batch.x).any(1, keepdim=True))
        outside = ~truth.mask.expand_as(batch.x)
        assert torch.equal(truth.x[outside], batch.x[outside])
        assert truth.mask.any(), label
        assert truth.mask.float().mean() < 0.35, label


def test_a_counterfactual_is_the_world_in_which_the_grade_was_drawn(name, phantom):
    """Grades decided by intervention or by chance give the same image and the same planted measurement."""
    make, small = FAMILY[name]
    label, ids = first_label(name), everyone(phantom)
    grades = len(small.grade_weights)
    for grade in (0, grades - 1):
        other = make(replace(small, grade_weights=tuple(float(g == grade) for g in range(grades))))
        truth = phantom.counterfactual(ids, label, full(ids, grade))
        assert everyone(other) == ids
        assert torch.equal(other.image(ids), truth.x)
        assert torch.equal(other.planted(ids, label), truth.measured)


def test_what_is_planted_grows_or_shrinks_with_every_step_of_the_label(name, phantom):
    ids = everyone(phantom)
    for label, scale in settable(phantom).items():
        if scale.category:
            continue
        grid = np.linspace(scale.low, scale.high, 13)
        measured = torch.stack([phantom.counterfactual(ids, label, full(ids, g)).measured for g in grid])
        steps = measured.diff(dim=0) * (-1 if name in {"vertebra", "disc"} else 1)
        # The chest's share is counted on a grid and can rest where the heart covers what is new.
        assert (steps >= -1e-6).all(), label
        assert (measured[0] != measured[-1]).all(), label
        assert (steps > 0).float().mean() > 0.95, label


def test_values_between_grades_lie_between_their_images(name, phantom):
    ids, label = phantom.cases("train").ids, first_label(name)
    low, middle, high = (phantom.counterfactual(ids, label, full(ids, g)) for g in (1.0, 1.5, 2.0))
    change = lambda a, b: (a.x - b.x).abs().flatten(1).sum(1)  # noqa: E731
    assert (change(low, middle) <= change(low, high)).float().mean() > 0.9
    assert (change(middle, high) <= change(low, high)).float().mean() > 0.9


@pytest.mark.parametrize("value", [-0.01, 99.0, float("nan")])
def test_values_off_the_scale_are_refused(phantom, value):
    case = phantom.cases("train").ids[0]
    for label in settable(phantom):
        with pytest.raises(DataError, match=f"{label} lies in"):
            phantom.counterfactual([case], label, torch.tensor([value]))


def test_unknown_names_are_refused(name, phantom):
    label, case = first_label(name), phantom.cases("train").ids[0]
    with pytest.raises(DataError, match="'nobody'"):
        phantom.counterfactual(["nobody"], label, torch.zeros(1))
    with pytest.raises(DataError, match="'age'"):
        phantom.counterfactual([case], "age", torch.zeros(1))
    with pytest.raises(DataError, match="2 values"):
        phantom.counterfactual([case], label, torch.zeros(2))
    with pytest.raises(DataError, match="train, valid, test"):
        phantom.cases("validation")
    with pytest.raises(DataError, match="'age'"):
        phantom.measure(phantom.image([case]), "age")
    with pytest.raises(DataError, match="of shape"):
        phantom.measure(phantom.image([case])[..., :-1], label)


def test_patients_have_several_images_and_never_cross_splits(name):
    make, small = FAMILY[name]
    many = replace(small, patients=60, size=16, images_per_patient=3.5)
    phantom = make(many)
    split = {s: set(phantom.cases(s).patients) for s in SPLITS}
    assert sum(map(len, split.values())) == len(set().union(*split.values())) == 60
    assert [len(split[s]) for s in SPLITS] == pytest.approx([42, 6, 12], abs=2)
    assert len(set(everyone(phantom))) == len(everyone(phantom)) == pytest.approx(210, abs=15)
    fewer = make(replace(many, patients=20))
    assert all(set(fewer.cases(s).patients) <= split[s] for s in SPLITS)


@pytest.mark.parametrize("name", ["chest", "fundus", "brain", "disc"])
def test_images_of_one_patient_are_more_alike(name):
    """Grey levels and shapes are the patient's: what a leak across splits would give away."""
    make, small = FAMILY[name]
    phantom = make(replace(small, patients=30))
    ids = everyone(phantom)
    x = phantom.counterfactual(ids, first_label(name), full(ids, 0)).x.flatten(1)
    distance, patient = torch.cdist(x, x), torch.tensor([int(i[1:6]) for i in ids])
    same = (patient[:, None] == patient) & ~torch.eye(len(ids), dtype=torch.bool)
    assert distance[same].mean() < 0.97 * distance[patient[:, None] != patient].mean()


@pytest.mark.parametrize("prevalence", [0.0, 0.1, 0.7, 1.0])
def test_prevalence_is_what_was_asked(name, prevalence):
    make, small = FAMILY[name]
    facts = FACTS[type(small)]
    drawn = make(replace(small, patients=200 if name == "volume" else 600, size=16, prevalence=prevalence))
    grade = drawn.cohort.columns[drawn._organ.shown[first_label(name)]]
    assert np.mean(grade >= facts.positive_from) == pytest.approx(prevalence, abs=0.05)
    weights = np.array(small.grade_weights)
    for positive in (False, True):
        among = (np.arange(len(weights)) >= facts.positive_from) == positive
        counts = np.array([np.sum(grade == g) for g in np.flatnonzero(among)])
        if counts.sum() > 400:
            np.testing.assert_allclose(counts / counts.sum(), weights[among] / weights[among].sum(), atol=0.06)


def test_by_default_nobody_has_a_mark_and_grades_are_as_weighted(phantom):
    assert not phantom.cohort.columns["mark"].any()
    assert all((phantom.cases(split).labels["shortcut"] == 0).all() for split in SPLITS)


@pytest.mark.parametrize("kind", ["tag", "shift"])
def test_the_shortcut_goes_with_the_class_as_often_as_asked(name, kind):
    make, small = FAMILY[name]
    facts = FACTS[type(small)]
    many = replace(small, patients=300 if name == "volume" else 1000, size=16, test=0.4)
    biased = make(replace(many, shortcut=0.8, shortcut_test=0.2, shortcut_kind=kind))
    columns, split = biased.cohort.columns, biased._split
    positive = columns[biased._organ.shown[first_label(name)]] >= facts.positive_from
    for number, rho in ((0, 0.8), (2, 0.2)):
        here = split == number
        assert np.corrcoef(columns["mark"][here], positive[here])[0, 1] == pytest.approx(rho, abs=0.1)
        assert columns["mark"][here].mean() == pytest.approx(positive[here].mean(), abs=0.08)


def test_a_mark_changes_nothing_but_itself_and_counterfactuals_keep_it(name, phantom):
    make, small = FAMILY[name]
    label = first_label(name)
    marked = make(replace(small, shortcut=1.0, shortcut_test=1.0))
    ids = everyone(phantom)
    mark = torch.from_numpy(marked.cohort.columns["mark"][[marked._position[i] for i in ids]]).bool()
    different = (marked.image(ids) != phantom.image(ids)).any(1)
    assert torch.equal(different.flatten(1).any(1), mark)
    assert mark.any()
    assert not mark.all()
    size = small.size
    corner = torch.zeros(different.shape[1:], dtype=torch.bool)
    corner[..., : size // 8, : size // 6] = True
    assert not (different & ~corner).any()
    for value in (0.0, settable(phantom)[label].high):
        truth = marked.counterfactual(ids, label, full(ids, value))
        plain = phantom.counterfactual(ids, label, full(ids, value))
        assert torch.equal((truth.x != plain.x).any(1), different)
        assert torch.equal(truth.mask & ~corner, plain.mask & ~corner)
        assert torch.equal(truth.measured, plain.measured)


def test_a_shift_moves_the_anatomy_to_the_right(built):
    for name in ("vertebra", "chest", "disc", "volume"):
        make, small = FAMILY[name]
        shifted = make(replace(small, size=40, shortcut=1.0, shortcut_test=1.0, shortcut_kind="shift", patients=6))
        plain = make(replace(small, size=40, patients=6))
        batch, before = whole(shifted), whole(plain)
        mask = {"vertebra": "vertebra", "chest": "lungs", "disc": "disc", "volume": "brain"}[name]
        columns = torch.arange(40.0)
        where = [
            (b.masks[mask].float() * columns).flatten(1).sum(1) / b.masks[mask].flatten(1).sum(1)
            for b in (batch, before)
        ]
        expected = 2.0 * batch.labels["shortcut"]  # 0.1 half images of 40 pixels
        torch.testing.assert_close(where[0] - where[1], expected, atol=0.6, rtol=0)
        assert batch.labels["shortcut"].any()


def test_nuisances_do_not_tell_the_grade(name):
    make, small = FAMILY[name]
    few = replace(small, patients=900, size=16) if name != "volume" else replace(small, patients=300, size=16)
    phantom = make(few)
    columns, label = phantom.cohort.columns, first_label(name)
    scale = settable(phantom)[label]
    u = {k: v for k, v in columns.items() if not np.isnan(v).any() and np.isfinite(v).all() and v.std() > 0}
    follows = set(scale.sets(columns, columns[phantom._organ.shown[label]]))
    grade = columns[phantom._organ.shown[label]]
    drawn_by = f"image.{'grade' if name == 'vertebra' else label}"
    for factor, column in u.items():
        if (factor.startswith(("image.", "patient."))) and factor not in follows | {drawn_by}:
            assert abs(np.corrcoef(column, grade)[0, 1]) < (0.09 if name != "volume" else 0.16), factor


def test_brightness_alone_does_not_give_the_class_away(built):
    from sklearn.metrics import roc_auc_score

    for name in ("chest", "fundus", "brain", "disc"):
        make, small = FAMILY[name]
        batch = whole(make(replace(small, patients=150)))
        positive = (batch.labels[first_label(name)] >= FACTS[type(small)].positive_from).numpy()
        auc = roc_auc_score(positive, batch.x.mean(dim=tuple(range(1, batch.x.ndim))).numpy())
        assert max(auc, 1 - auc) < 0.85, name


def test_any_size_shows_the_same_anatomy(name):
    make, small = FAMILY[name]
    if name == "volume":
        pytest.skip("a volume is the same code as a slice")
    mask = {"vertebra": "vertebra", "chest": "heart", "fundus": "lesion", "brain": "ventricles", "disc": "disc"}[name]
    ids = make(replace(small, patients=6)).cases("train").ids
    share, planted = [], []
    for size in (33, 64, 100):
        sized = make(replace(small, size=size, patients=6))
        share.append(whole(sized).masks[mask].float().flatten(1).mean(1))
        planted.append(sized.planted(ids, first_label(name)))
    assert torch.allclose(share[0], share[1], atol=0.02)
    assert torch.allclose(share[1], share[2], atol=0.01)
    assert torch.equal(planted[0], planted[1])


def test_each_is_offered_and_described():
    specs = {spec.name: spec for spec in plugin.cfbench_datasets()}
    assert set(specs) == {facts.name for facts in FACTS.values()}
    for kind, facts in FACTS.items():
        spec = specs[facts.name]
        info = spec.describe(spec.params())
        assert spec.params is kind
        assert info.truth
        assert info.patients
        assert set(info.measures) <= set(info.labels)
        assert info.fingerprint.startswith(f"{facts.name}/{facts.version}/")
        assert describe(kind(seed=1)).fingerprint != info.fingerprint
    assert describe(BrainParams(depth=20, size=48)).space == (20, 48, 48)
    assert describe(FundusParams()).channels == 3
    assert all(describe(kind()).space == (64, 64) for kind in FACTS if kind is not VertebraParams)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (ChestParams, {"prevalence": 1.5}),
        (ChestParams, {"prevalence": 0.5, "grade_weights": (1.0, 0.0, 0.0, 0.0)}),
        (ChestParams, {"grade_weights": (1.0,)}),
        (ChestParams, {"shortcut": -0.1}),
        (ChestParams, {"shortcut_test": 1.1}),
        (ChestParams, {"enlarged": 2.0}),
        (ChestParams, {"devices": -1.0}),
        (BrainParams, {"depth": 5}),
        (FundusParams, {"size": 8}),
        (DiscParams, {"noise": float("inf")}),
    ],
)
def test_impossible_parameters_are_refused_by_name(kind, change):
    with pytest.raises(DataError, match=next(iter(change))):
        describe(kind(**change))


def test_grades_are_scaled_to_the_prevalence_exactly():
    weights = params.weights_of(FundusParams(prevalence=0.25))
    assert sum(weights[2:]) == pytest.approx(0.25)
    assert weights[0] / weights[1] == pytest.approx(0.4 / 0.15)
    assert params.positive_share(FundusParams()) == pytest.approx(0.45)
    assert params.weights_of(FundusParams()) == FundusParams().grade_weights


def test_the_cut_leaves_the_asked_share_below_it():
    field = np.arange(100, dtype=np.float32).reshape(1, 10, 10)[:, ::-1]
    inside = field % 2 == 0
    for share in (0.1, 0.5, 0.9):
        level = canvas.cut(field, inside, np.array([share]))
        assert (field[inside] < level[0]).mean() == pytest.approx(share, abs=0.011)
    assert canvas.cut(field, inside, np.array([0.0]))[0] == -np.inf


def test_describing_imports_neither_numpy_nor_torch():
    program = "import sys, cfbench_phantoms.plugin; assert not {'numpy', 'torch'} & set(sys.modules)"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", program], env=env, check=True)
