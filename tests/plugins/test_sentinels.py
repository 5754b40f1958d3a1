"""The sentinels: right, empty and wrong by construction."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter, sobel
from torch import nn
from torch.testing import assert_close

from cfbench.errors import DataError, UndefinedError
from cfbench.protocols import Attribution, Context, DifferentiableClassifier, Labelled, Models
from cfbench.specs import DatasetInfo, NoParams, Task
from cfbench.types import Batch, Judged, Prediction, Targets, Truth
from cfbench_cnn.judge import cnn, resnet
from cfbench_cnn.plugin import CNNParams, ResNetParams
from cfbench_phantoms.plugin import VertebraParams, describe
from cfbench_phantoms.vertebra import VertebraPhantom
from cfbench_sentinels.adversarial import Adversarial, smallest_flip
from cfbench_sentinels.attribution import blur, identity, truth
from cfbench_sentinels.class_mean import ClassMean
from cfbench_sentinels.maps import edge_map, random_map, smooth_noise, truth_map
from cfbench_sentinels.nearest import Nearest
from cfbench_sentinels.plugin import AdversarialParams, RealParams, cfbench_attributions

INFO = DatasetInfo(channels=1, space=(20, 24), labels={"g": (0.0, 1.0)}, fingerprint="test", truth=True)
TASK = Task(name="t", label="g", kind="binary", grades=(0, 1), positive=(1,))
ORDINAL = Task(name="o", label="g", kind="ordinal", grades=(0, 1, 2, 3), positive=(2, 3), exclude=(1,))
FACTORIES = {
    "identity": identity,
    "truth": truth,
    "blur": blur,
    "adversarial": Adversarial,
    "nearest": Nearest,
    "class-mean": ClassMean,
    "random-map": random_map,
    "edge-map": edge_map,
    "truth-map": truth_map,
}


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def explain(factory, batch, tmp_path):
    targets = Targets("flip", torch.ones(len(batch)))
    sentinel, context = factory(NoParams(), INFO, TASK), Context(seed=0, folder=tmp_path)
    assert sentinel.predict(Models(), batch, None, context) == Prediction()
    return sentinel.explain(Models(), batch, None, targets, context)


def batch_of(x, prefix=""):
    ids = tuple(f"{prefix}{i}" for i in range(len(x)))
    return Batch(ids, ids, x, {})


@pytest.fixture
def batch():
    x = images(3, 1, 20, 24)
    exact = Truth(1 - x, torch.ones(3, 1, 20, 24, dtype=torch.bool), torch.ones(3))
    return Batch(("a", "b", "c"), ("p", "p", "q"), x, {}, truth=exact)


def test_the_specs_name_the_factories():
    specs = {spec.name: spec for spec in cfbench_attributions()}
    assert specs.keys() == FACTORIES.keys()
    for name, factory in FACTORIES.items():
        spec = specs[name]
        assert spec.factory == f"{factory.__module__}:{factory.__name__}"
        assert spec.fits == (name in ("nearest", "class-mean"))
        assert spec.provides == {"heat" if name.endswith("-map") else "counterfactual"}
        assert not spec.needs_generator
        assert spec.sentinel
        assert isinstance(factory(spec.params(), INFO, TASK), Attribution)


def test_identity_is_x(batch, tmp_path):
    answer = explain(identity, batch, tmp_path)
    assert torch.equal(answer.x_cf, batch.x)
    assert answer.status == ("ok",) * 3


def test_a_truth_map_is_the_exact_change(batch, tmp_path):
    answer = explain(truth_map, batch, tmp_path)
    assert answer.x_cf is None
    assert_close(answer.heat, (batch.truth.x - batch.x).abs().mean(1, keepdim=True))


def test_truth_is_the_truth(batch, tmp_path):
    assert torch.equal(explain(truth, batch, tmp_path).x_cf, batch.truth.x)


def test_blur_is_scipys_with_sigma_one_twentieth_of_the_shortest_side(batch, tmp_path):
    reference = gaussian_filter(batch.x.double().numpy(), sigma=(0, 0, 1.0, 1.0), mode="nearest")
    assert_close(explain(blur, batch, tmp_path).x_cf, torch.from_numpy(reference).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        (identity, "images"),
        (blur, "images"),
        (truth, "phantom"),
        (truth_map, "phantom"),
        (random_map, "images"),
        (edge_map, "images"),
    ],
)
def test_what_is_missing_is_said(factory, what, tmp_path):
    with pytest.raises(UndefinedError, match=what):
        explain(factory, Batch(("a",), ("p",), None, {}), tmp_path)


def test_a_random_map_is_smooth_noise_of_the_case_alone(batch, tmp_path):
    heat = explain(random_map, batch, tmp_path).heat
    assert heat.shape == (3, 1, 20, 24)
    low, high = heat.flatten(1).aminmax(dim=1)
    assert_close(low, torch.zeros(3))
    assert_close(high, torch.ones(3))
    rough = torch.rand(3, 1, 20, 24)
    assert (heat.diff(dim=3).abs().mean() / heat.std()) < 0.6 * (rough.diff(dim=3).abs().mean() / rough.std())
    other = Batch(("c", "a"), ("q", "p"), images(2, 1, 20, 24) / 2, {})
    assert torch.equal(explain(random_map, other, tmp_path).heat, heat[[2, 0]])
    again = random_map(NoParams(), INFO, TASK).explain(
        Models(), batch, None, Targets("flip", torch.ones(3)), Context(seed=1, folder=tmp_path)
    )
    assert abs(np.corrcoef(again.heat.flatten(), heat.flatten())[0, 1]) < 0.3
    assert again.x_cf is None


def test_random_maps_favour_no_place():
    heat = smooth_noise([str(i) for i in range(2000)], torch.zeros(2000, 1, 20, 24), 0)[:, 0]
    border = torch.ones(20, 24, dtype=torch.bool)
    border[2:-2, 2:-2] = False
    variance, mean = heat.var(dim=0), heat.mean(dim=0)
    assert variance[border].mean() == pytest.approx(variance[~border].mean().item(), rel=0.1)
    assert mean[border].mean() == pytest.approx(mean[~border].mean().item(), abs=0.01)
    highest = border.flatten()[heat.flatten(1).argmax(dim=1)].double().mean().item()
    assert highest == pytest.approx(border.double().mean().item(), abs=0.12)  # .33; an edge has fewer neighbours


@pytest.mark.parametrize("shape", [(2, 3, 15, 9), (2, 1, 7, 9, 11)], ids=["colour", "volume"])
def test_an_edge_map_is_scipys_sobel_magnitude(shape, tmp_path):
    x = images(*shape)
    grey = x.double().mean(dim=1, keepdim=True).numpy()
    wanted = np.stack(
        [np.sqrt(sum(sobel(i[0], axis, mode="nearest") ** 2 for axis in range(i.ndim - 1))) for i in grey]
    )
    answer = explain(edge_map, batch_of(x), tmp_path)
    assert answer.x_cf is None
    assert_close(answer.heat, torch.from_numpy(wanted)[:, None].float(), rtol=1e-5, atol=1e-5)


class Training:
    """Random images of grades 0, 2 and 3."""

    def __init__(self, n=40, grades=(0.0, 2.0, 3.0), shape=(1, 6, 5)):
        random = torch.Generator().manual_seed(3)
        self.x = torch.rand(n, *shape, generator=random)
        self.grade = torch.tensor(grades)[torch.randint(len(grades), (n,), generator=random)]
        self.ids = self.patients = tuple(map(str, range(n)))
        self.labels = {}

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        return Batch(tuple(self.ids[i] for i in index), tuple(self.ids[i] for i in index), self.x[list(index)], {})


def trained(factory, training, folder, match="class"):
    """Return the sentinel after a fit, a save and a load."""
    context = Context(seed=0, folder=folder)
    first, second = (factory(RealParams(match), INFO, ORDINAL) for _ in range(2))
    first.fit(Labelled(training, training.grade), context)
    first.save(folder)
    second.load(folder, context)
    assert second.predict(Models(), training.batch([0]), None, context) == Prediction()
    return second


def ask(sentinel, x, kind, value, folder):
    return sentinel.explain(
        Models(), batch_of(x), None, Targets(kind, torch.tensor(value)), Context(seed=0, folder=folder)
    )


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 4, 5), (1, 3, 4, 5)], ids=["grey", "colour", "volume"])
def test_the_nearest_is_a_training_image_of_the_class_and_none_is_nearer(shape, tmp_path):
    training, x = Training(shape=shape), images(4, *shape)
    answer = ask(trained(Nearest, training, tmp_path), x, "flip", [0.0, 2.0, 3.0, 0.0], tmp_path)
    assert answer.status == ("ok",) * 4
    for image, found, positive in zip(x, answer.x_cf, (False, True, True, False), strict=True):
        allowed = training.x[(training.grade >= 2) == positive].double().numpy()
        distance = ((allowed - image.double().numpy()) ** 2).reshape(len(allowed), -1).sum(axis=1)
        assert torch.equal(found, torch.from_numpy(allowed[distance.argmin()]).float())


def test_the_nearest_of_a_grade_is_of_that_grade(tmp_path):
    training = Training()
    answer = ask(trained(Nearest, training, tmp_path), images(3, 1, 6, 5), "grade", [0.0, 2.0, 3.0], tmp_path)
    for found, grade in zip(answer.x_cf, (0, 2, 3), strict=True):
        place = (training.x == found).flatten(1).all(dim=1).nonzero()[0, 0]
        assert training.grade[place] == grade


@pytest.mark.parametrize("factory", [Nearest, ClassMean])
def test_where_the_grade_is_to_match_a_flip_is_answered_as_its_grade_is(factory, tmp_path):
    sentinel, x = trained(factory, Training(), tmp_path, match="grade"), images(4, 1, 6, 5)
    flip, grade = (ask(sentinel, x, kind, [0.0, 2.0, 3.0, 1.0], tmp_path) for kind in ("flip", "grade"))
    assert torch.equal(flip.x_cf, grade.x_cf)
    assert flip.status == grade.status == ("ok", "ok", "ok", "no training image has the grade 1")
    of_class = ask(trained(factory, Training(), tmp_path), x, "flip", [0.0, 2.0, 3.0, 1.0], tmp_path)
    assert not torch.equal(flip.x_cf, of_class.x_cf)


def test_a_training_image_is_its_own_nearest(tmp_path):
    training = Training()
    value = training.grade.tolist()
    assert torch.equal(ask(trained(Nearest, training, tmp_path), training.x, "flip", value, tmp_path).x_cf, training.x)


def test_training_images_are_stored_unchanged(tmp_path):
    training = Training()
    trained(Nearest, training, tmp_path)
    assert torch.equal(load_file(tmp_path / "nearest.safetensors")["x"], training.x)


def test_the_class_mean_is_numpys(tmp_path):
    training, x = Training(n=300), images(5, 1, 6, 5)
    sentinel = trained(ClassMean, training, tmp_path)
    grades, all_x = training.grade.numpy(), training.x.double().numpy()
    for kind, value, chosen in (
        ("flip", 0.0, grades < 2),
        ("flip", 2.0, grades >= 2),
        ("flip", 3.0, grades >= 2),
        ("grade", 2.0, grades == 2),
    ):
        answer = ask(sentinel, x, kind, [value] * 5, tmp_path)
        wanted = torch.from_numpy(all_x[chosen].mean(axis=0)).float()
        assert_close(answer.x_cf, wanted.expand(5, 1, 6, 5), rtol=1e-6, atol=1e-6)
        assert answer.status == ("ok",) * 5


@pytest.mark.parametrize("factory", [Nearest, ClassMean])
def test_a_grade_that_no_training_image_has_is_a_line_without_an_answer(factory, tmp_path):
    sentinel = trained(factory, Training(), tmp_path)
    answer = ask(sentinel, images(3, 1, 6, 5), "grade", [1.0, 2.0, float("nan")], tmp_path)
    assert answer.status == (
        "no training image has the grade 1",
        "ok",
        "no training image has the grade nan",
    )
    assert (answer.x_cf[0] == 0).all()
    one_class = trained(factory, Training(grades=(0.0,)), tmp_path)
    assert ask(one_class, images(1, 1, 6, 5), "flip", [2.0], tmp_path).status == (
        "no training image has the class of grade 2",
    )
    with pytest.raises(UndefinedError, match="'offset'"):
        ask(sentinel, images(1, 1, 6, 5), "offset", [1.0], tmp_path)
    with pytest.raises(DataError, match="no training images"):
        factory(RealParams(), INFO, ORDINAL).fit(Labelled(Training(n=0), torch.zeros(0)), Context(0, tmp_path))


class Line(nn.Module):
    """Log-odds w x + b."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = w, b

    def forward(self, x):
        odds = (self.w * x).flatten(1).sum(dim=1) + self.b
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


class Given:
    """A classifier that is given."""

    def __init__(self, network):
        self.network = self.last_maps = network

    def fit(self, train, valid, context):
        pass

    def save(self, folder):
        pass

    def load(self, folder, context):
        pass

    def judge(self, x, context):
        proba = self.network(x).softmax(dim=1)
        return Judged(proba, proba, proba[:, 1])


def attack(found, x, value, folder, task=TASK, **params):
    sentinel = Adversarial(AdversarialParams(**params), INFO, task)
    context, batch = Context(seed=0, folder=folder), batch_of(x)
    assert isinstance(found, DifferentiableClassifier)
    return sentinel.explain(Models(classifier=found), batch, None, Targets("flip", torch.tensor(value)), context)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_least_flip_of_a_linear_classifier_is_the_closed_form(norm, tmp_path):
    w = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(1))
    x = 0.4 + 0.2 * images(6, 1, 8, 8)
    b = -(w * x).flatten(1).sum(dim=1).median()
    odds = (w * x).flatten(1).sum(dim=1) + b
    value = (odds < 0).float().tolist()
    answer = attack(Given(Line(w, b)), x, value, tmp_path, norm=norm, margin=0.05)
    rise = torch.where(odds < 0, 0.05 - odds, -0.05 - odds)[:, None, None, None]
    wanted = rise * w / w.square().sum() if norm == "l2" else rise * w.sign() / w.abs().sum()
    assert answer.status == ("ok",) * 6
    assert_close(answer.x_cf - x, wanted, rtol=1e-2, atol=2e-4)


def test_the_box_is_kept_and_the_rest_of_the_image_takes_over(tmp_path):
    w = torch.zeros(1, 4, 4)
    w[0, 0], w[0, 1] = 1.0, 0.5
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0] = 0.9  # 0.1 is left below the ceiling, 4 pixels of slope 1
    answer = attack(Given(Line(w, -3.6 - 0.4 - 0.8)), x, [1.0], tmp_path, margin=0.0)
    assert answer.status == ("ok",)
    assert answer.x_cf.max() <= 1
    assert_close(answer.x_cf[0, 0, 0], torch.ones(4), rtol=0, atol=5e-3)
    assert_close(answer.x_cf[0, 0, 1], torch.full((4,), 0.4), rtol=0, atol=5e-3)
    assert (answer.x_cf[0, 0, 2:] == 0).all()


def test_what_is_already_of_the_class_stays_as_it_is(tmp_path):
    x = images(3, 1, 8, 8)
    assert torch.equal(attack(Given(Line(torch.ones(1, 8, 8), 0.0)), x, [1.0] * 3, tmp_path).x_cf, x)


def test_a_decision_that_cannot_be_flipped_says_so(tmp_path):
    x = images(2, 1, 8, 8)
    deaf = Given(Line(torch.zeros(1, 8, 8), -1.0))
    answer = attack(deaf, x, [1.0, 0.0], tmp_path, steps=3)
    assert answer.status[0] == "the classifier's decision did not flip within 8 searches of 3 steps"
    assert answer.status[1] == "ok"
    assert torch.equal(answer.x_cf, x)


def test_later_searches_find_the_nearest_point_of_a_bent_decision(tmp_path):
    """The decision is an ellipse, whose tangent step from x leads past its nearest point."""
    slopes = torch.tensor([1.0, 4.0])

    def score(x, rows):
        return 0.04 - (slopes * (x.flatten(1)[:, :2] - 0.5).square()).sum(dim=1)

    x = torch.tensor([0.1, 0.3, 0.9, 0.2])
    found, flipped = smallest_flip(score, x.reshape(1, 1, 2, 2), AdversarialParams())
    angle = np.linspace(0, 2 * np.pi, 100_001)
    ellipse = np.stack([0.5 + 0.2 * np.cos(angle), 0.5 + 0.1 * np.sin(angle)], axis=1)
    least = np.linalg.norm(ellipse - x[:2].numpy(), axis=1).min()
    assert flipped.all()
    assert_close(found.flatten()[2:], x[2:])
    assert (found.flatten() - x).norm().item() == pytest.approx(least, rel=5e-3)


def test_a_decision_nearer_than_a_pixel_can_be_told_is_not_sought_for_ever():
    """Rises of 1e-9 are lost in pixels of 0.5: a step that aims at no more would be made again and again."""
    asked = []

    def score(x, rows):
        asked.append(len(rows))
        return (x.flatten(1) - 0.5).sum(dim=1) - 1e-9

    x = torch.full((4, 1, 3, 3), 0.5)
    found, flipped = smallest_flip(score, x, AdversarialParams())
    assert flipped.all()
    assert (found - x).abs().max() < 1e-3
    assert len(asked) <= 64, "in each of eight rounds two steps, five places on the way, one projection"


def test_every_line_is_sought_as_if_it_were_alone():
    """Lines that have been found are left out of the batch; the others must keep their own images and scores."""
    normal = torch.linspace(-1, 1, 5 * 36).reshape(5, 36)
    offset = torch.tensor([2.0, -0.1, 0.4, 3.0, 0.02])

    def score_from(first):
        def score(x, rows):
            at = rows + first
            return (normal[at] * x.flatten(1)).sum(dim=1).tanh() - normal[at].relu().sum(dim=1).tanh() + offset[at] / 9

        return score

    x = images(5, 1, 6, 6)
    found, flipped = smallest_flip(score_from(0), x, AdversarialParams())
    for i in range(5):
        alone, ok = smallest_flip(score_from(i), x[i : i + 1], AdversarialParams())
        assert ok[0] == flipped[i]
        assert_close(alone[0], found[i])
    assert flipped.any()
    assert not flipped.all()


def test_what_an_adversary_needs_is_said(tmp_path):
    sentinel, context = Adversarial(AdversarialParams(), INFO, TASK), Context(seed=0, folder=tmp_path)
    batch = batch_of(images(1, 1, 8, 8))
    with pytest.raises(UndefinedError, match="gradients"):
        sentinel.explain(Models(), batch, None, Targets("flip", torch.ones(1)), context)
    with pytest.raises(UndefinedError, match="'offset'"):
        sentinel.explain(Models(), batch, None, Targets("offset", torch.ones(1)), context)


GENANT = Task(name="f", label="genant", kind="ordinal", grades=(0, 1, 2, 3), positive=(2, 3), exclude=(1,))


class Some:
    """Some cases of a phantom."""

    def __init__(self, cases, index):
        self.cases, self.index = cases, index
        self.ids, self.patients = (tuple(column[i] for i in index) for column in (cases.ids, cases.patients))
        self.labels = {}

    def __len__(self):
        return len(self.index)

    def batch(self, index):
        return self.cases.batch([self.index[i] for i in index])


def vertebrae(phantom, split, count):
    cases = phantom.cases(split)
    grade = cases.labels["genant"]
    index = [i for i, value in enumerate(grade.tolist()) if value != 1][:count]
    return Labelled(Some(cases, index), grade[index])


@pytest.fixture(scope="module")
def fracture(tmp_path_factory):
    """Two networks that tell fractures of small vertebrae, and cases that they have not seen."""
    params = VertebraParams(size=24, patients=400)
    phantom, context = VertebraPhantom(params), Context(0, tmp_path_factory.mktemp("nets"))
    train, valid = vertebrae(phantom, "train", 400), vertebrae(phantom, "valid", 80)
    models = (
        cnn(CNNParams(steps=200, width=8), describe(params), GENANT),
        resnet(ResNetParams(steps=150, width=8), describe(params), GENANT),
    )
    for model in models:
        model.fit(train, valid, context)
        assert model.report["positive_accuracy"] > 0.85
    return models, vertebrae(phantom, "test", 60)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_an_adversary_flips_its_classifier_unseen_and_another_stays(fracture, tmp_path, norm):
    (explained, judge), test = fracture
    x, context = test.cases.batch(range(len(test.cases))).x, Context(0, tmp_path)
    wanted = test.grade < 2
    value = torch.where(wanted, 2.0, 0.0).tolist()
    answer = attack(explained, x, value, tmp_path, GENANT, norm=norm)

    def positive(model, x):
        return model.judge(x, context).proba[:, 2:].sum(dim=1) > 0.5

    assert (positive(explained, answer.x_cf) == wanted).float().mean() >= 0.95
    assert answer.x_cf.min() >= 0
    assert answer.x_cf.max() <= 1
    assert (answer.x_cf - x).abs().mean() < 0.02
    stays = (positive(judge, answer.x_cf) == positive(judge, x)).float().mean()
    assert stays > 0.7


def test_an_adversary_of_l2_is_smaller_in_l2_and_of_linf_in_linf(fracture, tmp_path):
    (explained, _), test = fracture
    x = test.cases.batch(range(30)).x
    value = torch.where(test.grade[:30] < 2, 2.0, 0.0).tolist()
    change = {n: attack(explained, x, value, tmp_path, GENANT, norm=n).x_cf - x for n in ("l2", "linf")}
    l2 = {n: d.flatten(1).norm(dim=1).mean() for n, d in change.items()}
    linf = {n: d.abs().flatten(1).amax(dim=1).mean() for n, d in change.items()}
    assert l2["l2"] < l2["linf"]
    assert linf["linf"] < linf["l2"]
