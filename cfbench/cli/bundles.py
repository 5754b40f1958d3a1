"""What `submit` and `verify` share: the plan of a run's or a bundle's suite, as plain facts."""

from collections.abc import Mapping, Sequence
from typing import Any

from cfbench.cli.session import plan_as_is
from cfbench.errors import CfbenchError, SuiteError
from cfbench.plan import Plan
from cfbench.registry import KINDS, Registry
from cfbench.store import Store
from cfbench.submission.aggregates import Metric
from cfbench.submission.standing import Installed
from cfbench.suite import suite_from_config
from cfbench.suite.layers import merge


def plan_of(config: Mapping[str, Any], about: Mapping[str, Any], registry: Registry, file: str) -> Plan:
    """Return the plan of a run, with the metrics that `cfbench score` added later."""
    return plan_as_is(suite_from_config(with_metrics(config, about), registry, file=file), file)


def with_metrics(config: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the suite of a run with all metrics that the run knows."""
    stated = config.get("metrics") or {}
    named = {str(name): {"use": str(name)} for name in stated} if isinstance(stated, list) else dict(stated)
    told = about.get("metrics", {})
    later = {name: {"use": str(facts["use"]), **facts["params"]} for name, facts in told.items() if name not in named}
    return {**config, "metrics": {**named, **later}} if later else dict(config)


def facts_of(plan: Plan, store: Store) -> dict[str, Any]:
    """Return what a bundle says of a plan: its steps, its numbers, its ranks, and the digests of what was learnt."""
    return {
        "steps": {
            key: {"kind": step.kind, "label": step.label, "inputs": dict(step.inputs), **_learnt(key, step.kind, store)}
            for key, step in plan.steps.items()
        },
        "measurements": [
            {"cell": m.cell.__dict__, "metric": m.metric, "view": m.view, "key": m.key} for m in plan.measurements
        ],
        "ranks": [_rank(plan, group, key) for group, key in plan.ranks.items()],
    }


def _learnt(key: str, kind: str, store: Store) -> dict[str, Any]:
    """Return the digests of a fit's weights: with other weights, other scores are no surprise."""
    if not kind.startswith("fit_") or not store.has(key):
        return {}
    return {"weights": {name: digest for name, digest in store.digests(key).items() if name.endswith(".safetensors")}}


def _rank(plan: Plan, group: tuple[str, str | None, str, str], key: str) -> dict[str, Any]:
    step = plan.steps[key]

    def keys(role: str, row: int) -> list[str]:
        return [made for name, made in step.inputs.items() if name.startswith(f"{role}:{row}:")]

    rows = [
        {**row, "keys": keys("row", i), "validity": keys("validity", i)} for i, row in enumerate(step.payload["rows"])
    ]
    facts = {name: step.payload[name] for name in ("direction", "range", "floor")}
    return {**dict(zip(("dataset", "task", "view", "metric"), group, strict=True)), **facts, "rows": rows}


def installed_of(plan: Plan | None, problem: str, registry: Registry) -> Installed:
    """Return what this installation makes of a suite; `plan` is nothing if it cannot be planned, for `problem`."""
    versions = {
        (kind, name): o.spec.version
        for kind in KINDS
        for name, o in registry.offers[kind].items()
        if kind != "commands"
    }
    if plan is None:
        return Installed(problem=problem, versions=versions)
    keys = {(m.cell, m.metric, m.view): m.key for m in plan.measurements}
    absent = frozenset(name for name, info in plan.info.items() if info.missing)
    return Installed(versions=versions, keys=keys, absent=absent)


def metrics_of(about: Mapping[str, Any], registry: Registry) -> dict[str, Metric]:
    """Return a run's metrics as they are installed, by the suite's names: what the checks of numbers go by."""
    found = {}
    for name, facts in about["metrics"].items():
        offer = registry.offers["metrics"].get(str(facts["use"]))
        if offer:
            spec: Any = offer.spec
            found[name] = Metric(spec.kind, tuple(spec.range), spec.worst)
    return found


def try_plan(
    config: Mapping[str, Any], about: Mapping[str, Any], registry: Registry, overrides: Sequence[str]
) -> tuple[Plan | None, str]:
    """Return the plan of a bundle's suite, or why there is none: a stranger's suite may name anything."""
    try:
        for override in overrides:
            config = merge(config, _patch(override))
        return plan_of(config, about, registry, "suite.json"), ""
    except (CfbenchError, ValueError, TypeError, KeyError, AttributeError) as error:
        return None, f"{type(error).__name__}: {error}"


def _patch(override: str) -> dict[str, Any]:
    """Read `datasets.retina.root=/data/retina`."""
    import yaml

    name, equals, value = override.partition("=")
    keys = name.split(".")
    if not equals or not all(keys):
        raise SuiteError(
            f"{override!r}: an override is written key.key=value, such as datasets.retina.root=/data/retina"
        )
    patch: Any = yaml.safe_load(value)
    for key in reversed(keys):
        patch = {key: patch}
    return dict(patch)
