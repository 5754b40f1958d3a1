"""Every metric on whole views: random ones, empty ones, constant images, failures only, one class only."""

from importlib import import_module

import pytest
import torch
from torch import Tensor

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import Context
from cfbench.specs import Task
from cfbench.types import Explanation, Judged, Prediction, Truth, View
from cfbench_metrics.plugin import cfbench_metrics

torch.set_num_threads(1)

GENANT = Task(name="fracture", label="genant", kind="ordinal", grades=(0, 1, 2, 3), positive=(2, 3), exclude=(1,))
SIDE, FEATURES = 28, 3
#: Those that look through downloaded networks, or at large images only, have tests of their own.
SPECS = {
    spec.name: spec
    for spec in cfbench_metrics()
    if not (spec.assets or spec.libraries) and (spec.smallest_side or 0) <= SIDE
}
PAIRS = [(name, view) for name, spec in SPECS.items() for view in spec.views]


class Draw:
    """A source of columns of n lines."""

    def __init__(self, n, seed=0):
        self.n, self.random = n, torch.Generator().manual_seed(seed)

    def images(self):
        return torch.rand((self.n, 1, SIDE, SIDE), generator=self.random)

    def values(self, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(self.n, generator=self.random).double()

    def grades(self):
        return torch.randint(0, 4, (self.n,), generator=self.random).double()

    def judged(self):
        proba = torch.rand((self.n, 4), generator=self.random).double()
        features = torch.randn((self.n, FEATURES), generator=self.random).double()
        return Judged(proba / proba.sum(1, keepdim=True), features, self.values(0, 3))

    def mask(self):
        mask = torch.rand((self.n, 1, SIDE, SIDE), generator=self.random) < 0.1
        mask[::4] = False
        return mask


def classify(x):
    """A linear classifier of four classes, as the explained one answers for images that a metric makes."""
    weights = torch.randn((SIDE * SIDE, 4), generator=torch.Generator().manual_seed(1))
    proba = (x.flatten(1) @ weights / SIDE).softmax(1).double()
    return Judged(proba, proba, proba @ torch.arange(4).double())


def whole_view(name, n, **changes):
    """Return a view with every column, two lines a case, three a patient."""
    draw = Draw(n)
    columns = {
        "status": ("ok",) * n, "x": draw.images(), "x_out": draw.images(), "rebuilt": draw.images(),
        "heat": torch.randn((n, 1, SIDE, SIDE), generator=draw.random), "masks": {"lesion": draw.mask()},
        "grade": draw.grades(), "target": draw.grades(),
        "predicted": Prediction(draw.values(-1, 1), draw.values(-1, 4)),
        "truth": Truth(draw.images(), draw.mask(), draw.values()), "judged": {"a": draw.judged()},
        "judged_out": {"a": draw.judged(), "b": draw.judged()}, "explained": draw.judged(),
        "explained_out": draw.judged(), "control": {"r": draw.judged()}, "control_out": {"r": draw.judged()},
        "measured_out": draw.values(), "classify": classify,
    }  # fmt: skip
    columns["judged"]["b"] = draw.judged()
    columns["perturbed"] = Explanation(draw.images(), ("ok",) * n, draw.images())
    ids, patients = (tuple(f"{what}{i // size}" for i in range(n)) for what, size in (("c", 2), ("p", 3)))
    return View(name, GENANT, ids, patients, **{**columns, **changes})


def number(name, view, tmp_path) -> Tensor:
    """Return what the metric gives: a value per line, or one per row of weights."""
    spec, context = SPECS[name], Context(seed=0, folder=tmp_path)
    module, attribute = spec.factory.split(":")
    metric = getattr(import_module(module), attribute)(spec.params())
    if spec.kind == "case":
        return metric.score(view, context)
    n = len(view)
    real = None
    if spec.reference:
        about = whole_view("reference", n)
        real = metric.reference(View("reference", GENANT, about.ids, about.patients, about.status, x=about.x,
                                     grade=about.grade, judged=about.judged), context)  # fmt: skip
    rows = torch.ones(2, n).double()
    return metric.compute(view, real, rows, rows[:, : n if spec.reference else 0], context)


def in_range(values, spec):
    low, high = (
        float("inf") * sign if bound is None else bound for sign, bound in zip((-1, 1), spec.range, strict=True)
    )
    kept = values[~values.isnan()]
    return bool(((kept >= low - 1e-9) & (kept <= high + 1e-9)).all())


@pytest.mark.parametrize(("name", "view"), PAIRS)
def test_a_whole_view_gives_a_number_in_the_declared_range(name, view, tmp_path):
    n = 72
    found = number(name, whole_view(view, n), tmp_path)
    spec = SPECS[name]
    assert found.shape == ((n,) if spec.kind == "case" else (2,))
    assert found.isfinite().any()
    assert spec.kind == "case" or found.isfinite().all()
    assert in_range(found, spec)


@pytest.mark.parametrize(("name", "view"), PAIRS)
def test_no_lines_give_no_number(name, view, tmp_path):
    empty = whole_view(view, 0)
    if SPECS[name].kind == "case":
        assert number(name, empty, tmp_path).shape == (0,)
        return
    with pytest.raises(UndefinedError, match=r".{20}"):
        number(name, empty, tmp_path)


@pytest.mark.parametrize(("name", "view"), PAIRS)
def test_constant_images_and_maps_break_nothing(name, view, tmp_path):
    n = 72
    flat = torch.full((n, 1, SIDE, SIDE), 0.5)
    constant = whole_view(view, n, x=flat, x_out=flat.clone(), rebuilt=flat.clone(), heat=flat * 0)
    if name == "false-edit-energy":
        with pytest.raises(UndefinedError, match="nothing at all"):
            number(name, constant, tmp_path)
        return
    assert in_range(number(name, constant, tmp_path), SPECS[name])


@pytest.mark.parametrize(("name", "view"), [(n, v) for n, v in PAIRS if SPECS[n].kind == "case" and v != "probe"])
def test_failed_lines_are_scored_by_the_metric_or_by_the_host(name, view, tmp_path):
    n = 12
    broken = torch.full((n, 1, SIDE, SIDE), torch.nan)
    failed = whole_view(view, n, status=("no answer",) * n, x_out=broken, heat=broken)
    found, spec = number(name, failed, tmp_path), SPECS[name]
    assert in_range(found, spec)
    if spec.worst is None and name != "measurement-bias":
        worst = {"higher": found[~found.isnan()].max() == 0, "lower": found[~found.isnan()].min() > 0}
        assert worst.get(spec.direction, found.abs().max() == 0)


@pytest.mark.parametrize(("name", "view"), [(n, v) for n, v in PAIRS if SPECS[n].kind == "set" and v != "probe"])
def test_sets_of_failures_say_so(name, view, tmp_path):
    failed = whole_view(view, 30, status=("no answer",) * 30)
    if name.endswith("floor"):  # real images alone
        assert number(name, failed, tmp_path).isfinite().all()
        return
    if name == "false-edit-energy":  # the host leaves failed lines out before
        return
    with pytest.raises((UndefinedError, NotFiniteError), match=r"got 0|no case was answered|no two different"):
        number(name, failed, tmp_path)


@pytest.mark.parametrize("name", [n for n, s in SPECS.items() if "probe" in s.views and s.kind == "set"])
def test_one_class_has_no_detection_and_no_grading(name, tmp_path):
    with pytest.raises(UndefinedError, match=r"both classes are needed|fewer than two grades"):
        number(name, whole_view("probe", 12, grade=torch.zeros(12).double()), tmp_path)
