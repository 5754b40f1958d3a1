"""Why a number cannot be had: every impossible combination is a sentence, never a hole in the table."""

from collections.abc import Callable

from cfbench.specs import Asset, AttributionSpec, DatasetInfo, GeneratorSpec, MetricSpec, Task
from cfbench.suite import Component, Suite

#: Tells why an asset cannot be used, or nothing if it can.
Unavailable = Callable[[Asset], str]

_CAPABILITY = {"latent": "a latent space", "sampling": "sampling of new images", "editing": "editing by prompt"}


def why_not_dataset(info: DatasetInfo, unavailable: Unavailable) -> str:
    """Return why a dataset's files are not there, or nothing."""
    return "; ".join(filter(None, map(unavailable, info.assets)))


def why_not_component(component: Component, info: DatasetInfo, unavailable: Unavailable) -> str:
    """Return why a component cannot run on this dataset, or nothing."""
    return why_not_dims(component, info) or "; ".join(filter(None, map(unavailable, component.spec.assets)))


def why_not_dims(component: Component, info: DatasetInfo) -> str:
    """Return why a component cannot work on images of this many dimensions, or nothing."""
    if len(info.space) in component.spec.dims:
        return ""
    works = " and ".join(f"{d}D" for d in component.spec.dims)
    return f"{component.name} works on {works} images; these are {len(info.space)}D"


def why_not_task(task: Task, dataset: str, info: DatasetInfo) -> str:
    """Return why a task cannot be asked of a dataset, or nothing."""
    if task.label not in info.labels:
        return f"{dataset} has no label {task.label!r} (it has {', '.join(info.labels) or 'none'})"
    values = set(info.labels[task.label])
    strange, unnamed = sorted(set(task.grades) - values), sorted(values - set(task.grades))
    if values and strange:
        return f"{dataset}: label {task.label!r} never takes the values {strange} that task {task.name} names"
    if unnamed:
        return (
            f"{dataset}: label {task.label!r} also takes the values {unnamed}, which task {task.name} does not name; "
            "add them to `grades` (and to `exclude_from_fit`, if they are to take no part in fits and flips)"
        )
    return ""


def why_not_target(target: str | float, task: Task | None) -> str:
    """Return why a grade cannot be asked for, or nothing."""
    if isinstance(target, str) or task is None or task.grades[0] <= target <= task.grades[-1]:
        return ""
    return f"target {target:g} is outside the grades of task {task.name} ({task.grades[0]:g} to {task.grades[-1]:g})"


def why_not_pair(
    attribution: Component, target: str | float, generator: Component | None, info: DatasetInfo, dataset: str
) -> str:
    """Return why an attribution cannot work with a generator on a dataset, or nothing."""
    spec = attribution.spec
    assert isinstance(spec, AttributionSpec)  # noqa: S101 - the registry checked it
    provides = generator.spec.provides if generator and isinstance(generator.spec, GeneratorSpec) else frozenset[str]()
    for need in sorted(spec.needs):
        if need in _CAPABILITY and need not in provides:
            return f"{attribution.name} needs {_CAPABILITY[need]}, which {_who(generator)} does not provide"
        if need == "truth" and not info.truth:
            return f"{attribution.name} needs exact counterfactuals, which only phantoms have; {dataset} has none"
    if (generator or "images" in spec.needs) and not info.images:
        return f"{attribution.name} needs images; {dataset} provides codes only"
    kind = "flip" if target == "flip" else "grade"
    if kind not in spec.targets and "counterfactual" in spec.provides:
        return f"{attribution.name} cannot be asked for a {kind} (it answers {', '.join(sorted(spec.targets))})"
    return ""


def why_not_metric(metric: Component, view: str, info: DatasetInfo, suite: Suite, task: Task | None) -> str:
    """Return why a metric cannot be measured on a view of this dataset, or nothing."""
    spec = metric.spec
    assert isinstance(spec, MetricSpec)  # noqa: S101 - the registry checked it
    if "truth" in spec.needs and not info.truth:
        return f"{metric.name} needs exact counterfactuals, which only phantoms have"
    if "judge" in spec.needs and not (suite.judges and task):
        return f"{metric.name} needs a judge; the suite has none for this dataset (add a `judges:` section)"
    smallest = min(info.space)
    if spec.smallest_side and smallest < spec.smallest_side and view != "probe":
        hint = f"; try {spec.small_hint}" if spec.small_hint else ""
        return f"{metric.name} needs images of at least {spec.smallest_side} px a side; these have {smallest}{hint}"
    return ""


def _who(generator: Component | None) -> str:
    return generator.name if generator else "a row without generator"
