"""Radiomics features against the published values of the IBSI's digital phantom and scikit-image; their distance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew
from skimage.feature import graycomatrix, graycoprops

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import Context
from cfbench.specs import NoParams
from cfbench.types import View
from cfbench_metrics.co_occurrence import NAMES as CO_OCCURRENCE
from cfbench_metrics.co_occurrence import co_occurrence, co_occurrence_features
from cfbench_metrics.directions import directions
from cfbench_metrics.first_order import NAMES as FIRST_ORDER
from cfbench_metrics.first_order import first_order
from cfbench_metrics.frechet import frechet_distances
from cfbench_metrics.params import FloorSize
from cfbench_metrics.radiomics import LEVELS, NAMES, discretised, radiomics_features
from cfbench_metrics.radiomics_distance import fd_radiomics, fd_radiomics_floor, radiomics_distances
from cfbench_metrics.run_lengths import NAMES as RUN_LENGTHS
from cfbench_metrics.run_lengths import run_length_features, run_lengths

torch.set_num_threads(1)

#: The digital phantom of the Image Biomarker Standardisation Initiative; 0 takes no part.
PHANTOM = torch.tensor([
    [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
])[None]  # fmt: skip
#: Its published values, "3D, merged" for texture (theibsi.github.io, image features).
PUBLISHED = {
    "mean": 2.15, "variance": 3.05, "skewness": 1.08, "kurtosis": -0.355, "median": 1, "p10": 1, "p90": 4,
    "mean absolute deviation": 1.55, "entropy": 1.27, "uniformity": 0.512,
    "joint average": 2.15, "joint variance": 3.13, "joint entropy": 2.57, "contrast": 5.12, "dissimilarity": 1.38,
    "inverse difference": 0.688, "inverse difference moment": 0.631, "angular second moment": 0.291,
    "high grey-level runs": 9.64, "grey-level non-uniformity, normalised": 0.43,
    "run-length non-uniformity, normalised": 0.501, "run percentage": 0.68, "grey-level variance": 3.48,
    "run-length variance": 0.598, "run entropy": 2.62,
}  # fmt: skip


def phantom_features():
    values = PHANTOM[PHANTOM > 0][None]
    runs = run_lengths(PHANTOM, 6)
    found = torch.cat([
        first_order(values.double(), values, 6)[0],
        co_occurrence_features(co_occurrence(PHANTOM, 6))[0],
        run_length_features(runs, torch.tensor([values.numel()]), 13)[0],
    ])  # fmt: skip
    return dict(zip((*FIRST_ORDER, *CO_OCCURRENCE, *RUN_LENGTHS), found.tolist(), strict=True))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_digital_phantom_has_its_published_values(name):
    half_a_digit = 0.5 * 10 ** (np.floor(np.log10(abs(PUBLISHED[name]))) - 2)
    assert phantom_features()[name] == pytest.approx(PUBLISHED[name], abs=1.01 * half_a_digit)


def random_levels(shape, seed, count=6):
    return torch.randint(1, count + 1, shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_co_occurrence_is_that_of_scikit_image(seed, height, width):
    levels = random_levels((2, height, width), seed)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    found = dict(zip(CO_OCCURRENCE, co_occurrence_features(co_occurrence(levels, 6)).T, strict=True))
    for i, image in enumerate(levels.numpy()):
        counted = graycomatrix((image - 1).astype(np.uint8), [1], angles, levels=6, symmetric=True)
        merged = counted.sum(3, keepdims=True, dtype=np.float64) / counted.sum()
        assert co_occurrence(levels, 6)[i].numpy() == pytest.approx(merged[:, :, 0, 0], abs=1e-12)
        names = {
            "contrast": "contrast", "dissimilarity": "dissimilarity", "homogeneity": "inverse difference moment",
            "ASM": "angular second moment", "correlation": "correlation",
        }  # fmt: skip
        for theirs, ours in names.items():
            assert found[ours][i].item() == pytest.approx(graycoprops(merged, theirs).item(), abs=1e-9)


def loop_runs(image, step, count):
    """Count the runs along one direction pixel by pixel."""
    height, width = image.shape
    runs = np.zeros((count, max(height, width)))
    for i in range(height):
        for j in range(width):
            before = i - step[0], j - step[1]
            if 0 <= before[0] < height and 0 <= before[1] < width and image[before] == image[i, j]:
                continue
            length, at = 0, (i, j)
            while 0 <= at[0] < height and 0 <= at[1] < width and image[at] == image[i, j]:
                length, at = length + 1, (at[0] + step[0], at[1] + step[1])
            runs[image[i, j] - 1, length - 1] += 1
    return runs


@given(st.integers(0, 1000), st.integers(2, 8), st.integers(2, 8))
@settings(max_examples=25, deadline=None)
def test_run_lengths_are_those_of_a_walk(seed, height, width):
    levels = random_levels((2, height, width), seed, count=2)
    expected = [sum(loop_runs(image, step, 2) for step in directions(2)) for image in levels.numpy()]
    assert np.array_equal(run_lengths(levels, 2).numpy(), np.stack(expected))


def test_moments_are_those_of_scipy():
    x = torch.rand((3, 50), generator=torch.Generator().manual_seed(0)).double() ** 2
    found = dict(zip(FIRST_ORDER, first_order(x, discretised(x), LEVELS).T.numpy(), strict=True))
    x = x.numpy()
    expected = {
        "mean": x.mean(1), "variance": x.var(1), "skewness": skew(x, axis=1), "kurtosis": kurtosis(x, axis=1),
        "median": np.median(x, axis=1), "p10": np.percentile(x, 10, axis=1), "p90": np.percentile(x, 90, axis=1),
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12)


def images(n, seed=0, shape=(1, 12, 10)):
    low = torch.rand((n, 1, 4, 4), generator=torch.Generator().manual_seed(seed))
    if len(shape) == 4:
        return torch.rand((n, *shape), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(low, size=shape[1:], mode="bilinear").expand(-1, shape[0], -1, -1)


@pytest.mark.parametrize("shape", [(1, 12, 10), (3, 12, 10), (1, 5, 6, 7)])
def test_features_of_an_image_do_not_depend_on_its_batch(shape, tmp_path):
    x, context = images(5, shape=shape), Context(0, tmp_path)
    found = radiomics_features(x, context)
    assert found.shape == (5, len(NAMES)) == (5, 30)
    assert found.isfinite().all()
    assert radiomics_features(x[3:4], context).numpy() == pytest.approx(found[3:4].numpy(), abs=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_constant_images_have_features(level, tmp_path):
    flat = torch.full((2, 1, 6, 6), level)
    found = dict(zip(NAMES, radiomics_features(flat, Context(0, tmp_path))[0].tolist(), strict=True))
    assert found["mean"] == pytest.approx(level)
    assert (found["variance"], found["skewness"], found["entropy"], found["contrast"]) == (0, 0, 0, 0)
    assert (found["correlation"], found["uniformity"], found["joint maximum"]) == (1, 1, 1)


def test_a_drift_of_all_grey_values_is_seen(tmp_path):
    x, context = images(4) * 0.5, Context(0, tmp_path)
    there = [NAMES.index("mean"), NAMES.index("joint average")]
    gained = radiomics_features(x + 0.25, context)[:, there] - radiomics_features(x, context)[:, there]
    assert gained.numpy() == pytest.approx(np.tile([0.25, 0.25 * LEVELS], (4, 1)), abs=1e-4)


def test_images_without_neighbours_or_numbers_are_refused(tmp_path):
    with pytest.raises(UndefinedError, match="two pixels on each side"):
        radiomics_features(torch.rand(2, 1, 1, 8), Context(0, tmp_path))
    with pytest.raises(NotFiniteError):
        radiomics_features(torch.full((2, 1, 4, 4), torch.nan), Context(0, tmp_path))


def ones(*shape):
    return torch.ones(shape, dtype=torch.float64)


def test_the_distance_is_frechets_in_real_spreads():
    random = torch.Generator().manual_seed(0)
    real = torch.randn((40, 4), generator=random).double() * torch.tensor([1.0, 10, 0.1, 0]) + 3
    made = torch.randn((40, 4), generator=random).double() + 2
    y = real.numpy()[:, :3]
    z = torch.from_numpy((y - y.mean(0)) / y.std(0, ddof=1))
    x = torch.from_numpy((made.numpy()[:, :3] - y.mean(0)) / y.std(0, ddof=1))
    expected = frechet_distances(x, z, ones(1, 40), ones(1, 40))
    assert radiomics_distances(made, real, ones(1, 40), ones(1, 40)).item() == pytest.approx(expected.item(), rel=1e-9)
    with pytest.raises(UndefinedError, match="do not differ"):
        radiomics_distances(made, ones(40, 4), ones(1, 40), ones(1, 40))


def view_of(x, x_out=None, status=None):
    names = tuple(f"c{i}" for i in range(len(x)))
    return View("counterfactual", None, names, names, status or ("ok",) * len(x), x=x, x_out=x_out)


def test_end_to_end_other_real_images_are_nearer_than_blurred_ones(tmp_path):
    context, n = Context(0, tmp_path), 64
    real, others = (torch.rand((n, 1, 12, 12), generator=torch.Generator().manual_seed(s)) ** 2 for s in (0, 1))
    metric = fd_radiomics(NoParams())
    reference = metric.reference(view_of(real), context)
    blurred = torch.nn.functional.avg_pool2d(real, 3, stride=1, padding=1)
    of = [metric.compute(view_of(real, x), reference, ones(1, n), ones(1, n), context).item()
          for x in (real, others, blurred)]  # fmt: skip
    assert of[0] == pytest.approx(0, abs=1e-6)
    assert 0 < 10 * of[1] < of[2]
    floor = fd_radiomics_floor(FloorSize())
    at = floor.compute(view_of(real), floor.reference(view_of(real), context), ones(1, n), ones(1, n), context)
    assert 0.3 < of[1] / at.item() < 3


def test_unequal_or_small_sets_are_refused(tmp_path):
    context, metric = Context(0, tmp_path), fd_radiomics(NoParams())
    reference = metric.reference(view_of(images(8)), context)
    with pytest.raises(UndefinedError, match="equal size only, got 7 answered and 8 real"):
        one_failed = view_of(images(8), images(8), status=("failed", *("ok",) * 7))
        metric.compute(one_failed, reference, ones(1, 8), ones(1, 8), context)
    with pytest.raises(UndefinedError, match="60 images are needed on each side for 30 features, got 8"):
        metric.compute(view_of(images(8), images(8)), reference, ones(1, 8), ones(1, 8), context)
