"""What `run.json` and `costs.json` say about a run: enough to reproduce a row, and to explain its metrics."""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cfbench import __version__
from cfbench.cli.definitions import definition
from cfbench.plan import Plan
from cfbench.records import Cell
from cfbench.registry import Registry
from cfbench.specs import AttributionSpec, MetricSpec
from cfbench.store import Store
from cfbench.suite import Component

#: Kind of step to the part of a row's cost that it is.
STAGES: Mapping[str, str] = {
    "fit_generator": "fit",
    "fit_attribution": "fit",
    "encode": "explain",
    "invert": "explain",
    "explain": "explain",
    "predict": "explain",
    "reconstruct": "reconstruct",
    "sample": "sample",
}
_PACKAGES = ("torch", "numpy", "scikit-learn")


def run_facts(plan: Plan, registry: Registry, store: Store, device: str, started: float, code: int) -> dict[str, Any]:
    """Return what `run.json` says about a run."""
    clock = "%Y-%m-%dT%H:%M:%SZ"
    offers = [offer for of_kind in registry.offers.values() for offer in of_kind.values()]
    return {
        "suite": plan.suite.name,
        "title": plan.suite.title,
        "description": plan.suite.description,
        "suite_hash": plan.suite.sha256,
        "seeds": list(plan.suite.seeds),
        "cfbench": __version__,
        "commit": _commit(),
        "plugins": {offer.distribution: offer.version for offer in offers},
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": device,
            **_hardware(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "datasets": _datasets(plan),
        "components": _components(plan),
        "metrics": _metrics(plan, registry),
        "classifiers": list(_classifiers(plan, store)),
        "started": time.strftime(clock, time.gmtime(started)),
        "finished": time.strftime(clock, time.gmtime()),
        "seconds": round(time.time() - started, 1),
        "command": shlex.join(["cfbench", *sys.argv[1:]]),
        "exit_code": code,
    }


def _datasets(plan: Plan) -> dict[str, Any]:
    return {
        name: {
            **_component(component),
            "fingerprint": plan.info[name].fingerprint,
            "licence": plan.info[name].licence,
            "redistributable": plan.info[name].redistributable,
        }
        for name, component in plan.suite.datasets.items()
    }


def _components(plan: Plan) -> dict[str, Any]:
    suite = plan.suite
    found = {kind: {n: _component(c) for n, c in getattr(suite, kind).items()} for kind in ("generators", "judges")}
    found["attributions"] = {
        name: {**_component(use.component), "asks": str(use.ask), "rest": use.rest}
        for name, use in suite.attributions.items()
    }
    return found | ({"explains": {"explained": _component(suite.explains)}} if suite.explains else {})


def _component(component: Component) -> dict[str, Any]:
    """Return a plugin as the suite uses it, every parameter filled in."""
    spec = component.spec
    sentinel = {"sentinel": True} if isinstance(spec, AttributionSpec) and spec.sentinel else {}
    return {
        "use": spec.name,
        "version": spec.version,
        "summary": spec.summary,
        "citation": spec.citation,
        "params": json.loads(json.dumps(asdict(component.params))),
        "files": {asset.name: asset.checksum for asset in spec.assets},
        **sentinel,
    }


def _classifiers(plan: Plan, store: Store) -> Iterator[dict[str, Any]]:
    """Yield how well each judge, control and explained classifier does on the real test cases."""
    for (dataset, task, role, name), key in plan.assessed.items():
        if store.has(key):
            report = json.loads((store.folder(key) / "classifier.json").read_text(encoding="utf-8"))
            yield {"dataset": dataset, "task": task, "role": role, "name": name, **report}


def _metrics(plan: Plan, registry: Registry) -> dict[str, Any]:
    verdicts = {v.metric: v for found in registry.manager.hook.cfbench_verdicts() for v in found}
    found = {}
    for name, component in plan.suite.metrics.items():
        spec, verdict = component.spec, verdicts.get(component.spec.name)
        assert isinstance(spec, MetricSpec)  # noqa: S101 - the registry checked it
        plain = ("kind", "direction", "unit", "range", "minimum", "worst", "interval", "role", "views")
        tested = verdict is not None and verdict.version == spec.version
        found[name] = {
            **_component(component),
            **{field: getattr(spec, field) for field in plain},
            "needs": sorted(spec.needs),
            "definition": definition(spec.factory),
            "tested": tested,
            "barred": verdict.barred if verdict and tested else "",
        }
    return found


def _hardware() -> dict[str, Any]:
    """Return processor, memory and GPUs, as far as Linux tells; asked without importing torch."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in os.sysconf_names else 0
    gpus = [_field(path, "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    return {
        "processor": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        **({"gpus": ", ".join(gpus)} if gpus else {}),
    }


def _field(path: Path, name: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _commit() -> str:
    """Return the commit of cfbench's own checkout, `+changes` if files differ from it; nothing if it is installed."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return ""
    try:
        told = [
            subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return told[0].stdout.strip() + ("+changes" if told[1].stdout.strip() else "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def row_costs(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Return, per cell, what its finished steps took by stage, and the digests of the weights that they learnt."""
    keys: dict[Cell, set[str]] = {}
    for measurement in plan.measurements:
        if measurement.key:
            keys.setdefault(measurement.cell, set()).update(_upstream(plan, measurement.key))
    return [{**cell.__dict__, **_cost(plan, store, found)} for cell, found in keys.items()]


def _upstream(plan: Plan, key: str) -> Iterator[str]:
    """Yield the steps of the method itself that a measurement stands on, judges left out."""
    stack, seen = [key], {key}
    while stack:
        step = plan.steps[stack.pop()]
        if step.kind in STAGES:
            yield step.key
        for role, other in step.inputs.items():
            if other not in seen and not role.startswith(("judged", "control", "reference")):
                seen.add(other)
                stack.append(other)


def _cost(plan: Plan, store: Store, keys: set[str]) -> dict[str, Any]:
    stages: dict[str, dict[str, float]] = {}
    weights: dict[str, Mapping[str, str]] = {}
    machines: set[str] = set()
    for key in sorted(key for key in keys if store.has(key)):
        cost, step = store.meta(key)["cost"], plan.steps[key]
        stage = stages.setdefault(STAGES[step.kind], {"seconds": 0.0, "peak_mb": 0.0})
        stage["seconds"] = round(stage["seconds"] + cost["seconds"], 3)
        stage["peak_mb"] = max(stage["peak_mb"], cost["peak_mb"])
        machines.add(f"{cost['host']} ({cost['device']})")
        if STAGES[step.kind] == "fit":
            weights[step.label] = dict(store.digests(key))
    return {"stages": stages, "weights": weights, "machines": sorted(machines)}
