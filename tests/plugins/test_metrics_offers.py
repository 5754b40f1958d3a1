"""What the plugin offers: names, limits and factories that exist, without importing anything heavy."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from cfbench.specs import ViewName
from cfbench_metrics.plugin import cfbench_metrics

SPECS = {spec.name: spec for spec in cfbench_metrics()}


def test_the_names_are_these():
    assert list(SPECS) == [
        "auc", "auc-hard", "f1", "mae", "mae-rounded", "macro-f1", "qwk",
        "l1", "l2", "ssim", "ms-ssim", "ms-ssim-3scale", "lpips", "lpips-resized", "sparsity", "changed-share",
        "reversibility", "stability", "re-identification",
        "fid", "fid-floor", "kid", "fd-dinov2", "fd-dinov2-floor", "kid-dinov2", "fd-radiomics", "fd-radiomics-floor",
        "fd-judge", "fd-judge-floor", "fd-split", "fd-inf", "kid-judge",
        "transition-margin",
        "flip", "flip-explained", "flip-gap", "flip-control", "cv-tau", "cout", "grade-error", "monotonicity",
        "sweep-slope",
        "measurement-error", "measurement-bias", "truth-error", "augmentation-utility",
        "auprc", "dice-at-area", "pointing-game", "relevance-mass", "relevance-rank", "false-edit-energy",
        "outside-change", "outside-edit", "deletion-blur", "insertion-blur", "map-stability",
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
    assert (spec.direction == "none") <= (spec.role == "other")
    assert spec.role != "other" or spec.direction == "none"
    if spec.worst is not None:
        assert spec.kind == "case"
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
        "heavy = {'torch', 'numpy', 'transformers', 'huggingface_hub', 'lpips', 'torchvision', 'pytorch_fid',"
        "'pytorch_msssim'} & set(sys.modules);"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SPECS)
def test_the_guide_says_of_each_metric_what_its_spec_says(name):
    section = re.search(rf"^### `{name}`\n(.*?)(?=^##|\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert section, f"docs/metrics.md has no section on {name}"
    rows = dict(re.findall(r"^\| (\w+) \| (.*) \|$", section[1], re.MULTILINE))
    assert set(rows) == {"formula", "source", "input", "range", "better", "unit", "minimum", "failed", "trap"}
    spec = SPECS[name]
    assert all(len(row) > 0 for row in rows.values())
    low, high = (("-inf", "inf")[side] if bound is None else f"{bound:g}" for side, bound in enumerate(spec.range))
    assert rows["range"].startswith(f"[{low}, {high}]")
    assert rows["better"] == spec.direction
    assert rows["unit"] == (spec.unit or "-")
    assert rows["minimum"].split()[0] == str(spec.minimum)
    if spec.worst is not None:
        assert rows["failed"].split()[0] == f"{spec.worst:g}"


def test_the_guide_has_no_other_metrics():
    assert re.findall(r"^### `(.+)`$", DOCS, re.MULTILINE) == list(SPECS)
