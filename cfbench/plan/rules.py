"""Why a number cannot be had: every impossible combination is a sentence, never a hole in the table."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

from cfbench.specs import Asset, AttributionSpec, DatasetInfo, FigureSpec, GeneratorSpec, MetricSpec, Task
from cfbench.suite import AttributionUse, Component, Suite

#: Tells why an asset cannot be used, or nothing if it can.
Unavailable = Callable[[Asset], str]

_CAPABILITY = {"latent": "a latent space", "sampling": "sampling of new images", "editing": "editing by prompt"}


@runtime_checkable
class Particular(Protocol):
    """Params of an attribution that know what they need beyond what its spec can say: words, a mask by its name."""

    def why_not(self, task: Task, grades: tuple[float, ...], data: DatasetInfo) -> str:
        """Return what the task, asked for these grades, or the dataset lack, after the attribution's name; or "".

        Imports nothing heavy.
        """
        ...


@runtime_checkable
class Stocked(Protocol):
    """Params that name files by which the component's assets cannot be told: weights that the suite chooses."""

    def missing(self) -> str:
        """Return which of them are not on this machine and how to get them, or "". Imports nothing heavy."""
        ...


def why_not_dataset(info: DatasetInfo, unavailable: Unavailable) -> str:
    """Return why a dataset's files are not there, or nothing."""
    return info.missing or "; ".join(filter(None, map(unavailable, info.assets)))


def why_not_component(component: Component, info: DatasetInfo, unavailable: Unavailable) -> str:
    """Return why a component cannot run on this dataset, or nothing."""
    found = why_not_dims(component, info) or why_not_libraries(component) or why_not_files(component)
    return found or "; ".join(filter(None, map(unavailable, component.spec.assets)))


def why_not_libraries(component: Component) -> str:
    """Return which packages a component lacks and how to get them, or nothing; none of them is imported."""
    missing = [name for name in component.spec.libraries if find_spec(name) is None]
    if not missing:
        return ""
    return f"{component.name} needs {' and '.join(missing)}, not installed here: {component.spec.install}"


def why_not_files(component: Component) -> str:
    """Return which files that a component's own parameters name are missing, or nothing."""
    why = component.params.missing() if isinstance(component.params, Stocked) else ""
    return f"{component.name}: {why}" if why else ""


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


def why_not_ask(use: AttributionUse, task: Task | None, dataset: str) -> str:
    """Return why an attribution cannot be asked for this, or nothing."""
    spec, ask = use.component.spec, use.ask
    assert isinstance(spec, AttributionSpec)  # noqa: S101 - the registry checked it
    if "counterfactual" in spec.provides and ask.kind not in spec.targets:
        return f"{use.component.name} cannot be asked for a {ask.kind} (it answers {', '.join(sorted(spec.targets))})"
    if ask.kind != "grade" or task is None:
        return ""
    beyond = [value for value in ask.values if not task.grades[0] <= value <= task.grades[-1]]
    scale = f"the grades of task {task.name} ({task.grades[0]:g} to {task.grades[-1]:g})"
    if beyond and len(beyond) == len(ask.values):
        return f"targets {beyond} are all outside {scale}: there is nothing to measure; ask for some inside as well"
    if beyond and "truth" in spec.needs:
        return f"target {beyond[0]:g} is outside {scale}: {dataset} knows no exact counterfactual there"
    return ""


def why_not_params(use: AttributionUse, task: Task, info: DatasetInfo) -> str:
    """Return what an attribution's own parameters do not find in a task or dataset, or nothing."""
    params = use.component.params
    if not isinstance(params, Particular):
        return ""
    why = params.why_not(task, _asked(use, task), info)
    return f"{use.component.name} {why}" if why else ""


def _asked(use: AttributionUse, task: Task) -> tuple[float, ...]:
    """Return the grades on the task's scale that some case may be asked for; a walk asks for none."""
    if use.ask.kind == "offset":
        return ()
    if use.ask.kind == "flip":
        return tuple(sorted({task.flip_target(grade) for grade in task.grades if grade not in task.exclude}))
    return tuple(v for v in use.ask.values or task.grades if task.grades[0] <= v <= task.grades[-1])


def why_not_explained(attribution: Component, suite: Suite) -> str:
    """Return why an attribution lacks the classifier that it explains, or nothing."""
    spec = attribution.spec
    assert isinstance(spec, AttributionSpec)  # noqa: S101 - the registry checked it
    if not spec.needs & {"explained", "gradients"}:
        return ""
    if suite.explains is None:
        return f"{attribution.name} explains a classifier; the suite names none (add `explains: {{use: ...}}`)"
    if "gradients" in spec.needs and not suite.explains.spec.differentiable:  # type: ignore[attr-defined]
        return f"{attribution.name} needs gradients, which the explained classifier {suite.explains.name} does not give"
    return ""


def why_not_view(
    view: str, use: AttributionUse | None, generator: Component | None, info: DatasetInfo, dataset: str
) -> str:
    """Return why a row has no such view, or nothing."""
    if use is None or generator or info.images or view == "probe":
        return ""
    return (
        f"{use.component.name} makes images by decoding codes; {dataset} provides codes only, and nothing decodes them"
    )


def why_not_figure(
    figure: Component, use: AttributionUse | None, generator: Component | None, info: DatasetInfo
) -> str:
    """Return why a figure cannot be drawn of a row, or nothing."""
    spec = figure.spec
    assert isinstance(spec, FigureSpec)  # noqa: S101 - the registry checked it
    provides = use.component.spec.provides if use else frozenset[str]()  # type: ignore[attr-defined]
    for need in sorted(spec.needs - {"latent"}):
        if need not in provides:
            return f"{figure.name} needs the method's {need}"
    latent = generator is not None and "latent" in generator.spec.provides  # type: ignore[attr-defined]
    if "latent" in spec.needs and not (latent or info.codes):
        return f"{figure.name} needs latent codes"
    return why_not_dims(figure, info)


def why_not_pair(attribution: Component, generator: Component | None, info: DatasetInfo, dataset: str) -> str:
    """Return why an attribution cannot work with a generator on a dataset, or nothing."""
    spec = attribution.spec
    assert isinstance(spec, AttributionSpec)  # noqa: S101 - the registry checked it
    provides = generator.spec.provides if generator and isinstance(generator.spec, GeneratorSpec) else frozenset[str]()
    if generator is None and info.codes:
        provides = frozenset({"latent"})
    for need in sorted(spec.needs):
        if need in _CAPABILITY and need not in provides:
            return f"{attribution.name} needs {_CAPABILITY[need]}, which {_who(generator)} does not provide"
        if need == "truth" and not info.truth:
            return f"{attribution.name} needs exact counterfactuals, which only phantoms have; {dataset} has none"
    if (generator or "images" in spec.needs) and not info.images:
        return f"{attribution.name} needs images; {dataset} provides codes only"
    return ""


def why_not_metric(metric: Component, view: str, info: DatasetInfo, suite: Suite, task: Task | None) -> str:
    """Return why a metric cannot be measured on a view of this dataset, or nothing."""
    spec = metric.spec
    assert isinstance(spec, MetricSpec)  # noqa: S101 - the registry checked it
    if "truth" in spec.needs and not info.truth:
        return f"{metric.name} needs exact counterfactuals, which only phantoms have"
    if "mask" in spec.needs and not (info.masks or info.truth):
        return f"{metric.name} needs masks, which this dataset does not have"
    if "measure" in spec.needs and (task is None or task.label not in info.measures):
        return f"{metric.name} needs a dataset that measures the task's label on images; this one does not"
    return _why_no_classifier(metric, suite, task) or _why_too_small(metric, view, info)


def _why_no_classifier(metric: Component, suite: Suite, task: Task | None) -> str:
    """Return which classifier that a metric reads is missing, or nothing."""
    needs: frozenset[str] = metric.spec.needs  # type: ignore[attr-defined]
    controls = [judge.spec.control for judge in suite.judges.values()]  # type: ignore[attr-defined]
    if "judge" in needs and not (task and not all(controls)):
        return f"{metric.name} needs a judge; the suite has none for this dataset (add a `judges:` section)"
    if "control" in needs and not (task and any(controls)):
        return f"{metric.name} needs a judge with random weights; the suite has none (add one to `judges:`)"
    if needs & {"explained", "classify"} and not (task and suite.explains):
        return f"{metric.name} needs the classifier that is explained; the suite names none (add `explains:`)"
    return ""


def _why_too_small(metric: Component, view: str, info: DatasetInfo) -> str:
    spec = metric.spec
    assert isinstance(spec, MetricSpec)  # noqa: S101 - the registry checked it
    smallest = min(info.space)
    if spec.smallest_side and smallest < spec.smallest_side and view != "probe":
        hint = f"; try {spec.small_hint}" if spec.small_hint else ""
        return f"{metric.name} needs images of at least {spec.smallest_side} px a side; these have {smallest}{hint}"
    return ""


def _who(generator: Component | None) -> str:
    return generator.name if generator else "a row without generator"
