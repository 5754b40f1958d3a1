"""Rules that every installed plugin keeps, first-party or not: the tests loop over the registry."""

from dataclasses import fields

import pytest

from cfbench.assets import locate
from cfbench.registry import load, resolve
from cfbench.specs import DatasetInfo, MetricSpec, NoParams

REGISTRY = load()
COMPONENTS = [
    pytest.param(offer, id=f"{kind}-{name}")
    for kind, of_kind in REGISTRY.offers.items()
    for name, offer in of_kind.items()
    if kind != "commands"
]
METRICS = [pytest.param(offer.spec, id=name) for name, offer in REGISTRY.offers["metrics"].items()]
DATASETS = [pytest.param(offer.spec, id=name) for name, offer in REGISTRY.offers["datasets"].items()]


@pytest.mark.parametrize("offer", COMPONENTS)
def test_its_factory_exists_and_is_documented(offer):
    factory = resolve(offer.spec.factory)
    assert callable(factory)
    assert (factory.__doc__ or "").strip(), f"{offer.spec.factory} has no docstring"


@pytest.mark.parametrize("offer", COMPONENTS)
def test_every_parameter_is_explained_and_the_summary_is_one_line(offer):
    assert offer.spec.summary
    assert "\n" not in offer.spec.summary
    if offer.spec.params is not NoParams:
        assert offer.spec.params.__doc__
    for field in fields(offer.spec.params):
        assert field.metadata.get("help"), f"{offer.spec.name}.{field.name} has no help"


@pytest.mark.parametrize("offer", COMPONENTS)
def test_its_presets_build(offer):
    for preset in offer.spec.presets.values():
        offer.spec.params(**preset)


@pytest.mark.parametrize("offer", COMPONENTS)
def test_its_assets_are_checksummed_and_come_by_https(offer):
    for asset in offer.spec.assets:
        assert asset.url.startswith("https://")
        assert asset.checksum.partition(":")[0] in ("md5", "sha256")
        assert locate(asset).name == asset.name


@pytest.mark.parametrize("spec", METRICS)
def test_a_metric_says_what_is_better_and_what_a_failure_counts(spec: MetricSpec):
    low, high = spec.range
    assert low is None or high is None or low < high
    if spec.kind == "case" and spec.worst is not None:
        bound = low if spec.direction == "higher" else high
        assert bound is None or spec.worst == pytest.approx(bound)
    assert spec.views


@pytest.mark.parametrize("spec", DATASETS)
def test_a_dataset_describes_itself_and_its_fingerprint_follows_what_matters(spec):
    info = spec.describe(spec.params())
    assert isinstance(info, DatasetInfo)
    assert info.channels in (1, 3)
    assert len(info.space) in (2, 3)
    assert info.labels or info.missing  # a folder names its labels in the suite
    assert info.licence or not info.redistributable  # the owner of a folder knows its licence
    assert spec.describe(spec.params()).fingerprint == info.fingerprint
