"""What the plugin offers: names, limits and factories that exist, without importing anything heavy."""

import subprocess
import sys
from importlib import import_module
from typing import get_args

import pytest

from cfbench.specs import ViewName
from cfbench_metrics.plugin import cfbench_metrics

SPECS = {spec.name: spec for spec in cfbench_metrics()}


def test_the_names_are_these():
    assert list(SPECS) == [
        "auc", "auc-hard", "f1", "mae", "macro-f1",
        "l1", "ssim", "ms-ssim", "ms-ssim-3scale", "lpips", "lpips-resized",
        "fid", "kid", "fd-judge", "kid-judge",
        "flip", "grade-error", "truth-error", "outside-change",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_factories_make_what_the_kind_says(name):
    spec = SPECS[name]
    module, attribute = spec.factory.split(":")
    metric = getattr(import_module(module), attribute)(spec.params())
    wanted = ["score"] if spec.kind == "case" else ["reference", "compute"]
    assert all(callable(getattr(metric, method)) for method in wanted)


@pytest.mark.parametrize("name", SPECS)
def test_specs_are_consistent(name):
    spec = SPECS[name]
    low, high = spec.range
    assert set(spec.views) <= set(get_args(ViewName))
    assert spec.direction in {"higher", "lower"}
    if spec.worst is not None:
        assert spec.worst == (low if spec.direction == "higher" else high)
    if spec.small_hint:
        other = SPECS[spec.small_hint]
        assert (other.smallest_side or 0) < spec.smallest_side
        assert set(spec.views) <= set(other.views)
    assert spec.reference == (spec.interval == "jackknife")
    for asset in spec.assets:
        assert len(asset.checksum.removeprefix("sha256:")) == 64
        assert asset.place == "torch"
        assert asset.name.removesuffix(".pth").endswith(asset.checksum.removeprefix("sha256:")[:8])


def test_offers_are_light():
    code = (
        "import sys; from cfbench_metrics.plugin import cfbench_metrics; list(cfbench_metrics());"
        "heavy = {'torch', 'numpy', 'lpips', 'torchvision', 'pytorch_fid', 'pytorch_msssim'} & set(sys.modules);"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
