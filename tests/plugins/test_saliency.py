"""Saliency maps against closed forms, finite differences and manual hooks, and on a planted blob."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from cfbench.errors import SuiteError, UndefinedError
from cfbench.protocols import Attribution, Classifier, Context, DifferentiableClassifier, Labelled, Models
from cfbench.specs import DatasetInfo, NoParams, Task
from cfbench.types import Batch, Judged, Targets
from cfbench_cnn.judge import cnn
from cfbench_cnn.plugin import CNNParams
from cfbench_densenet.judge import densenet121
from cfbench_densenet.plugin import QUICK, DenseNetParams
from cfbench_saliency.attribution import classifier, grad_cam, integrated_gradients
from cfbench_saliency.maps import baseline
from cfbench_saliency.plugin import IntegratedGradientsParams, cfbench_attributions

TASK = Task(name="t", label="g", kind="ordinal", grades=(0, 1, 2), positive=(1, 2))
BINARY = Task(name="t", label="g", kind="binary", grades=(0, 1), positive=(1,))
INFO = DatasetInfo(channels=1, space=(20, 20), labels={}, fingerprint="test")
FACTORIES = {"grad-cam": grad_cam, "integrated-gradients": integrated_gradients, "classifier": classifier}


class Smooth(nn.Module):
    """Convolution, tanh, average, logits: no kinks, so that finite differences are exact to second order."""

    def __init__(self, channels=1, classes=3, dims=2, seed=0, kernel=3):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.maps = nn.Sequential(conv(channels, 5, kernel, stride=2), nn.Tanh())
        self.logits = nn.Linear(5, classes)
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=random))

    def forward(self, x):
        return self.logits(self.maps(x).flatten(2).mean(dim=2))


class Line(nn.Module):
    """Log-odds w x + b."""

    def __init__(self, channels=2, side=6):
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, side, side, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        odds = (self.w * x).flatten(1).sum(dim=1) + 0.3
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


class Fixed:
    """A classifier that is given."""

    def __init__(self, network):
        self.network = network.eval()
        self.last_maps = getattr(network, "maps", network)

    def fit(self, train, valid, context):
        pass

    def save(self, folder):
        pass

    def load(self, folder, context):
        pass

    def judge(self, x, context):
        proba = self.network(x).softmax(dim=1)
        return Judged(proba.detach(), proba.detach(), (proba @ torch.arange(proba.shape[1]).to(proba)).detach())


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(7))


def batch_of(x):
    ids = tuple(map(str, range(len(x))))
    return Batch(ids, ids, x, {})


def answer(method, found, x, folder):
    models = Models(classifier=found)
    targets = Targets("flip", torch.zeros(len(x)))
    return method.explain(models, batch_of(x), None, targets, Context(seed=0, folder=folder))


def odds_of(network, x, positive):
    proba = network(x).double().softmax(dim=1)
    return torch.log(proba[:, positive].sum(dim=1) / (1 - proba[:, positive].sum(dim=1)))


def test_the_specs_name_the_factories():
    for spec in cfbench_attributions():
        factory = FACTORIES[spec.name]
        assert spec.factory == f"{factory.__module__}:{factory.__name__}"
        assert not spec.fits
        assert not spec.needs_generator
        assert ("heat" in spec.provides) == ("gradients" in spec.needs)
        assert isinstance(factory(spec.params(), INFO, TASK), Attribution)


@pytest.mark.parametrize("factory", [grad_cam, classifier])
def test_it_predicts_what_the_classifier_says(factory, tmp_path):
    found, x = Fixed(Smooth()), images(5, 1, 9, 9)
    assert isinstance(found, DifferentiableClassifier)
    said = factory(NoParams(), INFO, TASK).predict(Models(classifier=found), batch_of(x), None, Context(0, tmp_path))
    assert_close(said.score, odds_of(found.network, x, [1, 2]), rtol=1e-5, atol=1e-5)
    assert_close(said.grade, found.judge(x, None).grade.double())
    assert not said.score.requires_grad


def test_the_score_stays_apart_where_probabilities_round_to_one(tmp_path):
    found = Fixed(Line())
    x = torch.ones(2, 2, 6, 6) * found.network.w.sign() * torch.tensor([2.0, 3.0])[:, None, None, None]
    assert (found.judge(x, None).proba[:, 1] == 1).all()
    said = classifier(NoParams(), INFO, BINARY).predict(
        Models(classifier=found), batch_of(x), None, Context(0, tmp_path)
    )
    assert_close(said.score, ((found.network.w * x).flatten(1).sum(dim=1) + 0.3).double())


def test_a_classifier_without_gradients_predicts_too(tmp_path):
    class Closed:
        fit, save, load = Fixed.fit, Fixed.save, Fixed.load

        def __init__(self, network):
            self.judge = Fixed(network).judge

    found, x = Closed(Smooth()), images(5, 1, 9, 9)
    assert isinstance(found, Classifier)
    assert not isinstance(found, DifferentiableClassifier)
    said = classifier(NoParams(), INFO, TASK).predict(Models(classifier=found), batch_of(x), None, Context(0, tmp_path))
    assert_close(said.score, odds_of(Smooth(), x, [1, 2]), rtol=1e-4, atol=1e-4)
    with pytest.raises(UndefinedError, match="gradients"):
        answer(grad_cam(NoParams(), INFO, TASK), found, x, tmp_path)


@pytest.mark.parametrize("shape", [(21, 3, 9, 11), (2, 1, 9, 8, 11)], ids=["colour", "volume"])
def test_grad_cam_is_that_of_manual_hooks(shape, tmp_path):
    network, x = Smooth(shape[1], dims=len(shape) - 2), images(*shape)
    kept = {}
    hook = network.maps.register_forward_hook(lambda _module, _inputs, maps: kept.update(maps=maps))
    odds = odds_of(network, x, [1, 2]).float()
    hook.remove()
    (gradient,) = torch.autograd.grad(odds.sum(), kept["maps"])
    weights = gradient.flatten(2).mean(dim=2).reshape(*gradient.shape[:2], *[1] * (len(shape) - 2))
    coarse = (weights * kept["maps"]).sum(dim=1, keepdim=True).clamp(min=0)
    mode = "bilinear" if len(shape) == 4 else "trilinear"
    wanted = functional.interpolate(coarse, shape[2:], mode=mode)
    found = answer(grad_cam(NoParams(), INFO, TASK), Fixed(network), x, tmp_path)
    assert found.x_cf is None
    assert found.status == ("ok",) * len(x)
    assert found.heat.max() > 0
    assert_close(found.heat, wanted.detach(), rtol=1e-4, atol=1e-6)
    assert not x.requires_grad


def test_grad_cam_of_one_pixel_is_undefined(tmp_path):
    with pytest.raises(UndefinedError, match="single pixel"):
        answer(grad_cam(NoParams(), INFO, TASK), Fixed(Smooth(kernel=5)), images(2, 1, 6, 6), tmp_path)


@pytest.mark.parametrize("start", ["zero", "mean", "blur"])
def test_integrated_gradients_of_a_linear_model_are_w_times_the_change(start, tmp_path):
    found, x = Fixed(Line()), images(3, 2, 6, 6)
    for sign, shown in (("signed", lambda h: h), ("absolute", torch.abs), ("positive", lambda h: h.clamp(min=0))):
        params = IntegratedGradientsParams(baseline=start, n_steps=3, sign=sign)
        heat = answer(integrated_gradients(params, INFO, BINARY), found, x, tmp_path).heat
        wanted = (found.network.w * (x - baseline(params, x))).sum(dim=1, keepdim=True)
        assert_close(heat, shown(wanted).detach(), rtol=1e-4, atol=1e-5)


def test_integrated_gradients_are_those_of_finite_differences(tmp_path):
    network, x, steps, h = Smooth(), images(1, 1, 5, 5), 64, 1e-5
    params = IntegratedGradientsParams(n_steps=steps, sign="signed")
    heat = answer(integrated_gradients(params, INFO, TASK), Fixed(network), x, tmp_path).heat.flatten()
    network.double()
    ways = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps  # the midpoint rule, not captum's
    line = ways[:, None, None, None] * x.double()
    wanted = []
    for pixel in range(25):
        bump = torch.zeros(25, dtype=torch.float64)
        bump[pixel] = h
        bump = bump.reshape(1, 1, 5, 5)
        slope = (odds_of(network, line + bump, [1, 2]) - odds_of(network, line - bump, [1, 2])) / (2 * h)
        wanted.append(slope.mean() * x.flatten()[pixel])
    assert_close(heat.double(), torch.stack(wanted).detach(), rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("start", ["zero", "mean", "blur"])
@pytest.mark.parametrize("shape", [(3, 3, 9, 11), (2, 1, 9, 8, 11)], ids=["colour", "volume"])
def test_integrated_gradients_are_complete(start, shape, tmp_path):
    network, x = Smooth(shape[1], dims=len(shape) - 2), images(*shape)
    params = IntegratedGradientsParams(baseline=start, n_steps=100, sign="signed")
    heat = answer(integrated_gradients(params, INFO, TASK), Fixed(network), x, tmp_path).heat
    wanted = odds_of(network, x, [1, 2]) - odds_of(network, baseline(params, x), [1, 2])
    assert heat.shape == (shape[0], 1, *shape[2:])
    assert_close(heat.flatten(1).sum(dim=1).double(), wanted, rtol=1e-3, atol=1e-3)


def test_baselines_have_no_detail():
    x = images(4, 3, 20, 20)
    for start, most in (("zero", 0.0), ("mean", 1e-6), ("blur", 0.1)):
        flat = baseline(IntegratedGradientsParams(baseline=start), x)
        assert flat.shape == x.shape
        assert flat.std(dim=(2, 3)).max() <= most
    mean = baseline(IntegratedGradientsParams(baseline="mean"), x)
    assert_close(mean[1, 2, 0, 0], x[1, 2].mean())


def test_what_is_missing_is_said(tmp_path):
    method, x = grad_cam(NoParams(), INFO, TASK), images(2, 1, 9, 9)
    with pytest.raises(UndefinedError, match="names none"):
        answer(method, None, x, tmp_path)
    blind = Batch(("a",), ("a",), None, {})
    with pytest.raises(UndefinedError, match="has none"):
        method.predict(Models(classifier=Fixed(Smooth())), blind, None, Context(0, tmp_path))
    with pytest.raises(SuiteError, match="n_steps"):
        answer(integrated_gradients(IntegratedGradientsParams(n_steps=0), INFO, TASK), Fixed(Smooth()), x, tmp_path)
    with pytest.raises(UndefinedError, match="makes a map"):
        answer(classifier(NoParams(), INFO, TASK), Fixed(Smooth()), x, tmp_path)


class Blobs:
    """Noise; positive cases have a bright blob somewhere."""

    def __init__(self, n, seed):
        random = torch.Generator().manual_seed(seed)
        self.x = 0.4 * torch.rand(n, 1, 20, 20, generator=random)
        self.grade = torch.randint(2, (n,), generator=random).float()
        self.corner = torch.randint(14, (n, 2), generator=random)
        self.masks = torch.zeros(n, 1, 20, 20, dtype=torch.bool)
        for i in range(n):
            row, column = self.corner[i].tolist()
            self.masks[i, 0, row : row + 6, column : column + 6] = True
        self.x += 0.5 * self.masks * self.grade[:, None, None, None]
        self.ids = self.patients = tuple(f"{seed}-{i}" for i in range(n))
        self.labels = {}

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        ids = tuple(self.ids[i] for i in index)
        return Batch(ids, ids, self.x[list(index)], {})


def fitted(model, folder):
    train, valid = Blobs(200, 0), Blobs(60, 1)
    model.fit(Labelled(train, train.grade), Labelled(valid, valid.grade), Context(0, folder))
    assert model.report["accuracy"] > 0.95
    return model


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return fitted(cnn(CNNParams(steps=150, width=8), INFO, BINARY), tmp_path_factory.mktemp("cnn"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A network with batch norms: group norms spread what they see over the whole map, which Grad-CAM follows."""
    params = DenseNetParams(**{**QUICK, "steps": 100})
    return fitted(densenet121(params, INFO, BINARY), tmp_path_factory.mktemp("dense"))


@pytest.mark.parametrize(
    ("method", "which", "hits", "least"),
    [
        (grad_cam(NoParams(), INFO, BINARY), "dense", 0.7, 0.15),
        (integrated_gradients(IntegratedGradientsParams(), INFO, BINARY), "dense", 0.9, 0.4),
        (integrated_gradients(IntegratedGradientsParams(), INFO, BINARY), "plain", 0.9, 0.4),
        (integrated_gradients(IntegratedGradientsParams(baseline="blur"), INFO, BINARY), "dense", 0.9, 0.4),
    ],
    ids=["grad-cam", "integrated-gradients", "integrated-gradients-cnn", "integrated-gradients-blur"],
)
def test_maps_point_at_a_planted_blob(method, which, hits, least, request, tmp_path):
    cases = Blobs(60, 2)
    positive = cases.grade > 0
    heat = answer(method, request.getfixturevalue(which), cases.x[positive], tmp_path).heat
    inside = cases.masks[positive]
    assert inside.flatten(1).gather(1, heat.flatten(1).argmax(dim=1, keepdim=True)).float().mean() >= hits
    share = (heat * inside).flatten(1).sum(dim=1) / heat.flatten(1).sum(dim=1)
    assert share.mean() > least  # the blob covers .09 of the image
