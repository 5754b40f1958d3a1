"""The trial: every sentinel, and the truth, on every phantom, measured by every metric."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from cfbench.errors import CfbenchError
from cfbench.registry import Registry
from cfbench.specs import DatasetInfo

#: What answers flips and sweeps; and what answers with maps. The last of each is the truth.
ANSWERS = ("identity", "adversarial", "nearest", "blur", "class-mean", "truth")
MAPS = ("random-map", "edge-map", "truth-map")
#: Real images of the very grade that the truth is asked for: any other of the class could show more of it, flip more
#: judges, and so say nothing of the metric.
SAME_GRADE = ("nearest", "class-mean")
#: Sweeps need answers to any grade; an adversarial image is made for a class.
SWEEPS = ("identity", "blur", "class-mean", "truth")
JUDGES: Mapping[str, Mapping[str, Any]] = {
    "cnn": {"use": "cnn", "steps": 400},
    "resnet": {"use": "resnet", "steps": 400},
    "densenet": {"use": "densenet121", "preset": "quick", "steps": 200},
    "control": {"use": "random-control"},
}
#: Side of the phantoms in pixels: small enough for judges that are trained in seconds.
SIDE = 40


def trial(registry: Registry, metrics: Iterable[str], cases: int) -> dict[str, Any]:
    """Return the suite of the trial. A metric that a phantom cannot give is skipped there, with its sentence."""
    phantoms = dict(_phantoms(registry))
    known = registry.offers["attributions"]
    attributions = {
        name: {"use": name, **({"match": "grade"} if name in SAME_GRADE else {})}
        for name in (*ANSWERS, *MAPS)
        if name in known
    }
    attributions |= {f"{name}-sweep": {"use": name, "target": "sweep"} for name in SWEEPS if name in known}
    return {
        "suite": "doctor-metrics",
        "title": "Are the metrics themselves to be trusted?",
        "datasets": {name: {"use": name, **_small(registry, name)} for name in phantoms},
        "tasks": {f"{name}-{task['label']}": task for name, info in phantoms.items() for task in _tasks(info)},
        "attributions": attributions,
        "explains": dict(JUDGES["densenet"]),
        "judges": dict(JUDGES),
        "metrics": {name: {"use": name} for name in metrics},
        "cases": cases,
        "gallery": 0,
    }


def _small(registry: Registry, name: str) -> dict[str, Any]:
    names = {f.name for f in fields(registry.offers["datasets"][name].spec.params)}
    return {"size": SIDE} if "size" in names else {}


def _phantoms(registry: Registry) -> Iterable[tuple[str, DatasetInfo]]:
    """Yield the datasets that know the exact counterfactual of every case and need no file."""
    for name, offer in registry.offers["datasets"].items():
        try:
            info: DatasetInfo = offer.spec.describe(offer.spec.params())
        except CfbenchError:  # it needs settings, so it is no phantom
            continue
        if info.truth and not info.assets and len(info.space) == 2:
            yield name, info


def _tasks(info: DatasetInfo) -> Iterable[dict[str, Any]]:
    """Yield one task of a phantom: its first graded label, the upper half of the grades being positive."""
    for label, values in info.labels.items():
        if 2 <= len(values) <= 10:
            grades = sorted(values)
            kind = "binary" if len(grades) == 2 else "ordinal"
            yield {"label": label, "kind": kind, "grades": grades, "positive": grades[len(grades) // 2 :]}
            return
