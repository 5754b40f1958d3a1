"""How far metrics lie from independent libraries on the same numbers. Needs no data; takes seconds.

    python benchmarks/metric_parity.py

Each metric is the one that the registry offers, asked as a run asks it; each reference works in float64 where it can.
`docs/metrics.md` has the largest differences of many draws: this is one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim
from scipy.linalg import sqrtm
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from sklearn import metrics as sklearn
from torch import Tensor
from torchmetrics.functional import mean_squared_error

from cfbench.protocols import Context
from cfbench.registry import load, resolve
from cfbench.specs import Task
from cfbench.types import Judged, Prediction, Reference, View
from cfbench_metrics.ms_ssim import WEIGHTS

N, SIDE, LARGE, FEATURES = 60, 64, 180, 12
GENANT = Task(name="fracture", label="genant", kind="ordinal", grades=(0, 1, 2, 3), positive=(2, 3))
CONTEXT = Context(seed=0, folder=Path())

Array = NDArray[np.float64]
#: Metric, reference, what the one says and what the other.
Row = tuple[str, str, Array, Array]


def metric(name: str) -> Any:
    """Return a metric with its default parameters."""
    spec: Any = REGISTRY.find("metrics", name)
    return resolve(spec.factory)(spec.params())


def scored(metric_name: str, **columns: Any) -> Array:
    """Return what a case metric says of every line."""
    found: Array = metric(metric_name).score(view(**columns), CONTEXT).double().numpy()
    return found


def computed(metric_name: str, reference: Reference | None = None, **columns: Any) -> Array:
    """Return what a set metric says, every line counting once."""
    lines = view(**columns)
    rows = [torch.ones(1, len(lines), dtype=torch.float64) for _ in range(2)]
    found: Array = metric(metric_name).compute(lines, reference, *rows, CONTEXT).double().numpy()
    return found


def view(name: str = "probe", ids: tuple[str, ...] = (), **columns: Any) -> View:
    """Return lines with these columns."""
    n = len(next(column for column in columns.values() if isinstance(column, Tensor)))
    ids = ids or tuple(f"c{i}" for i in range(n))
    return View(name, GENANT, ids, ids, ("ok",) * n, **columns)


def pair(side: int, count: int) -> tuple[Tensor, Tensor]:
    """Return smooth images in [0, 1], and the same with noise."""
    random = torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(count, 1, 9, 9, generator=random), size=side, mode="bicubic")
    x = x.clamp(0, 1)
    return x, (x + 0.1 * torch.randn(x.shape, generator=random)).clamp(0, 1)


def of_images() -> Iterator[Row]:
    """Yield metrics of two images."""
    x, y = pair(SIDE, N)
    a, b = x.double(), y.double()
    asked = {"name": "counterfactual", "x": x, "x_out": y}

    def ssim(i: int) -> float:
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
        whole = structural_similarity(a[i, 0].numpy(), b[i, 0].numpy(), data_range=1, **options)[1]
        return float(whole[5:-5, 5:-5].mean())

    absolute = [sklearn.mean_absolute_error(a[i].ravel(), b[i].ravel()) for i in range(N)]
    square = [float(mean_squared_error(a[i].ravel(), b[i].ravel())) for i in range(N)]
    yield "l1", "scikit-learn", scored("l1", **asked), np.array(absolute)
    yield "l2", "torchmetrics", scored("l2", **asked), np.sqrt(square)
    yield "ssim", "scikit-image", scored("ssim", **asked), np.array([ssim(i) for i in range(N)])

    x, y = pair(LARGE, 4)
    settings = {"win_size": 7, "weights": [w / sum(WEIGHTS[:3]) for w in WEIGHTS[:3]]}
    published = ms_ssim(x.double(), y.double(), data_range=1.0, size_average=False, **settings)
    found = scored("ms-ssim-3scale", name="counterfactual", x=x, x_out=y)
    yield "ms-ssim-3scale", "pytorch-msssim", found, published.numpy()


def of_grades() -> Iterator[Row]:
    """Yield metrics of what a method says of real images."""
    rng = np.random.default_rng(0)
    grade = rng.integers(0, 4, N).astype(float)
    predicted, score = grade + rng.normal(0, 1.2, N), np.round(grade - 1.5 + rng.normal(0, 1.5, N))
    whole, sick = np.clip(np.sign(predicted) * np.floor(np.abs(predicted) + 0.5), 0, 3), grade >= 2
    told = Prediction(score=torch.tensor(score), grade=torch.tensor(predicted))
    asked: dict[str, Any] = {"grade": torch.tensor(grade), "predicted": told}
    for name, expected in {
        "auc": sklearn.roc_auc_score(sick, score),
        "auc-hard": sklearn.balanced_accuracy_score(sick, score > 0),
        "f1": sklearn.f1_score(sick, score > 0),
        "macro-f1": sklearn.f1_score(grade, whole, average="macro"),
        "qwk": sklearn.cohen_kappa_score(grade, whole, weights="quadratic"),
    }.items():
        yield name, "scikit-learn", computed(name, **asked), np.array([expected])
    yield "mae", "NumPy", scored("mae", **asked), np.abs(predicted - grade)
    yield "mae-rounded", "NumPy", scored("mae-rounded", **asked), np.abs(whole - grade)


def of_maps() -> Iterator[Row]:
    """Yield metrics of a heat map and a mask. Only `auprc` is asked about ties: NumPy breaks them by position."""
    random = torch.Generator().manual_seed(1)
    tied = (torch.randn(N, 1, 16, 16, generator=random) * 2).round() / 2
    heat = torch.rand(tied.shape, generator=random, dtype=torch.float64)
    mask = torch.rand(tied.shape, generator=random) < torch.sigmoid(tied - 1)
    inside = mask.flatten(1).numpy()
    lines = list(zip(heat.flatten(1).numpy(), inside, strict=True))
    top = np.array([m[np.argsort(-h)[: m.sum()]].mean() for h, m in lines])
    precision = [sklearn.average_precision_score(m, h) for h, m in zip(tied.flatten(1).numpy(), inside, strict=True)]
    found = scored("auprc", name="map", heat=tied, masks={"lesion": mask})
    yield "auprc", "scikit-learn", found, np.array(precision)
    for name, expected in {
        "relevance-mass": np.array([h[m].sum() / h.sum() for h, m in lines]),
        "relevance-rank": top,
        "dice-at-area": top,
        "pointing-game": np.array([float(m[h.argmax()]) for h, m in lines]),
    }.items():
        yield name, "NumPy", scored(name, name="map", heat=heat, masks={"lesion": mask}), expected


def of_judges() -> Iterator[Row]:
    """Yield metrics of what judges see."""
    rng = np.random.default_rng(2)
    made, real = rng.normal(size=(N, FEATURES)), 1.3 * rng.normal(size=(N, FEATURES)) + 0.2
    proba, target = rng.dirichlet(np.ones(4), N), np.tile([0.0, 1, 2, 3], N // 4)
    seen = target + rng.normal(size=N)
    panel = {"judge": Judged(torch.tensor(proba), torch.tensor(made), torch.tensor(seen))}
    asked: dict[str, Any] = {"target": torch.tensor(target), "judged_out": panel}
    sick = proba[:, 2:].sum(axis=1)
    votes = np.where(target >= 2, sick > 0.5, sick < 0.5).astype(float)
    yield "flip", "NumPy", scored("flip", name="counterfactual", **asked), votes

    sweep = computed("monotonicity", name="sweep", ids=tuple(f"c{i // 4}" for i in range(N)), **asked)
    each = [spearmanr(target[i : i + 4], seen[i : i + 4]).statistic for i in range(0, N, 4)]
    yield "monotonicity", "SciPy", sweep, np.array([np.mean(each)])

    reference = Reference({"judge": torch.tensor(real)})
    images: dict[str, Any] = {"name": "reconstruction", "x_out": torch.zeros(N, 1, 1, 1), "judged_out": panel}
    yield "fd-judge", "NumPy, SciPy", computed("fd-judge", reference, **images), np.array([frechet(made, real)])
    yield "kid-judge", "scikit-learn", computed("kid-judge", reference, **images), np.array([kernel(made, real)])


def frechet(a: Array, b: Array) -> float:
    """Return the Frechet distance as it is written."""
    s, t = np.cov(a.T), np.cov(b.T)
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real))


def kernel(a: Array, b: Array) -> float:
    """Return the unbiased squared MMD under the cubic kernel."""

    def cubic(x: Array, y: Array) -> Array:
        found: Array = sklearn.pairwise.polynomial_kernel(x, y, degree=3, gamma=1 / FEATURES, coef0=1)
        return found

    own = [(cubic(x, x).sum() - np.trace(cubic(x, x))) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(sum(own) - 2 * cubic(a, b).mean())


def main() -> None:
    """Print the table."""
    print("| metric | reference | numbers | largest difference |\n| --- | --- | ---: | ---: |")
    for rows in (of_images(), of_grades(), of_maps(), of_judges()):
        for name, reference, ours, theirs in rows:
            if ours.shape != theirs.shape:
                raise SystemExit(f"{name} gives {ours.shape} numbers, {reference} {theirs.shape}")
            print(f"| `{name}` | {reference} | {len(ours)} | {np.abs(ours - theirs).max():.0e} |")


REGISTRY = load(())

if __name__ == "__main__":
    main()
