"""The cross product of a suite, as steps and measurements."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cfbench.errors import CfbenchError
from cfbench.plan import rules
from cfbench.plan.assessed import plan_assessed
from cfbench.plan.graph import Graph
from cfbench.plan.model import Measurement, Plan, Step
from cfbench.plan.ranks import Group, plan_ranks
from cfbench.records import Cell
from cfbench.specs import Asset, DatasetInfo, Task
from cfbench.suite import AttributionUse, Component, Suite


@dataclass(frozen=True)
class Row:
    """A cell of the suite with its parts; `why_not` if it is impossible, `broken` if that is a fault."""

    cell: Cell
    generator: Component | None
    use: AttributionUse | None
    task: Task | None
    why_not: str = ""
    broken: bool = False


def make_plan(suite: Suite, unavailable: rules.Unavailable) -> Plan:
    """Plan a suite. `unavailable` says why an asset cannot be used, or returns nothing."""
    info = {name: _describe(component) for name, component in suite.datasets.items()}
    steps: dict[str, Step] = {}
    audits: dict[str, str] = {}
    ranks: dict[Group, str] = {}
    measurements: list[Measurement] = []
    galleries: dict[Cell, str] = {}
    figures: dict[tuple[Cell, str, str], str] = {}
    assessed: dict[tuple[str, str, str, str], str] = {}
    for name, dataset in suite.datasets.items():
        graph = Graph(suite, dataset, info[name], steps)
        audits |= {name: graph.audit} if graph.audit else {}
        for row in _rows(suite, name, info[name], unavailable):
            measurements += _measurements(graph, row, unavailable)
            if not row.why_not and suite.gallery and info[name].images:
                galleries |= _gallery(graph, row)
            figures |= _figures(graph, row)
        asked = [task for task in suite.tasks.values() if not rules.why_not_task(task, name, info[name])]
        assessed |= plan_assessed(graph, asked)
        ranks |= plan_ranks(graph, measurements)
    measurements += _published(suite)
    keys = {m.key for m in measurements if m.key} | set(galleries.values()) | set(figures.values())
    audits = {name: key for name, key in audits.items() if any(m.key and m.cell.dataset == name for m in measurements)}
    return Plan(
        suite=suite,
        info=info,
        steps=_needed(steps, keys | set(audits.values()) | set(ranks.values()) | set(assessed.values())),
        measurements=tuple(measurements),
        galleries=galleries,
        figures=figures,
        audits=audits,
        ranks=ranks,
        assessed=assessed,
        assets=_assets(suite, info, measurements),
        remarks=tuple(_remarks(suite, measurements)),
    )


def _describe(component: Component) -> DatasetInfo:
    try:
        info: DatasetInfo = component.spec.describe(component.params)  # type: ignore[attr-defined]
    except CfbenchError as error:
        raise type(error)(f"datasets.{component.name}: {error}") from error
    return info


def _rows(suite: Suite, dataset: str, info: DatasetInfo, unavailable: rules.Unavailable) -> Iterator[Row]:
    broken = rules.why_not_dataset(info, unavailable)
    tasks = {task: rules.why_not_task(task, dataset, info) for task in suite.tasks.values()}
    possible = [task for task, why in tasks.items() if not why]
    for seed in suite.seeds:
        for generator in suite.generators.values():
            cell = Cell(dataset=dataset, task=None, generator=generator.name, attribution=None, seed=seed)
            why = "left out by the suite (cross.exclude)" if _excluded(suite, cell) else broken
            why = why or rules.why_not_component(generator, info, unavailable) or _no_images(generator, info, dataset)
            yield Row(cell, generator, None, possible[0] if possible else None, why, bool(broken) and why == broken)
        for task, why_not_task in tasks.items():
            for use in suite.attributions.values():
                for partner in _partners(suite, use, info):
                    row = _row(suite, dataset, task, partner, use, seed)
                    why = broken or why_not_task or _why_not(row, suite, dataset, info, unavailable)
                    yield Row(row.cell, partner, use, task, why, bool(broken))


def _row(suite: Suite, dataset: str, task: Task, generator: Component | None, use: AttributionUse, seed: int) -> Row:
    name = generator.name if generator else None
    cell = Cell(dataset=dataset, task=task.name, generator=name, attribution=use.component.name, seed=seed)
    return Row(cell, generator, use, task, "left out by the suite (cross.exclude)" if _excluded(suite, cell) else "")


def _excluded(suite: Suite, cell: Cell) -> bool:
    """Return whether a rule of `cross.exclude` names this cell."""
    return any(all(getattr(cell, key) == value for key, value in rule.items()) for rule in suite.exclude)


def _why_not(row: Row, suite: Suite, dataset: str, info: DatasetInfo, unavailable: rules.Unavailable) -> str:
    assert row.use  # noqa: S101 - only called for rows of an attribution
    attribution = row.use.component
    return (
        row.why_not
        or rules.why_not_ask(row.use, row.task, dataset)
        or rules.why_not_pair(attribution, row.generator, info, dataset)
        or rules.why_not_explained(attribution, suite)
        or rules.why_not_component(attribution, info, unavailable)
        or (rules.why_not_component(row.generator, info, unavailable) if row.generator else "")
    )


def _no_images(generator: Component, info: DatasetInfo, dataset: str) -> str:
    return "" if info.images else f"{generator.name} learns from images; {dataset} provides codes only"


def _partners(suite: Suite, use: AttributionUse, info: DatasetInfo) -> list[Component | None]:
    """Return what an attribution is crossed with; where a dataset provides codes, nothing has to make them."""
    if not _needs_generator(use):
        return [None]
    published: list[Component | None] = [None] if _reads_codes(use, info) else []
    return published + (list(suite.generators.values()) if info.images else [])


def _reads_codes(use: AttributionUse, info: DatasetInfo) -> bool:
    return bool(info.codes) and "latent" in use.component.spec.needs  # type: ignore[attr-defined]


def _needs_generator(use: AttributionUse) -> bool:
    return bool(use.component.spec.needs_generator)  # type: ignore[attr-defined]


def _views(row: Row) -> list[str]:
    """Return the views that a row has."""
    if row.use is None:
        provides = row.generator.spec.provides if row.generator else frozenset()  # type: ignore[attr-defined]
        rebuilt = ["reconstruction", "reconstruction-random"] if "latent" in provides else []
        return rebuilt + (["sample"] if "sampling" in provides else [])
    spec: Any = row.use.component.spec
    views: list[str] = ["probe"] if spec.provides & {"score", "grade"} else []
    if "heat" in spec.provides:
        views.append("map")
    if "counterfactual" in spec.provides:
        views.append(row.use.ask.view)
        views += ["cycle"] if row.use.ask.view == "counterfactual" else []
    return views


def _source(graph: Graph, row: Row, view: str) -> str:
    """Return the step that makes the lines of a view."""
    seed, generator = row.cell.seed, row.generator
    if row.use is None:
        assert generator  # noqa: S101 - a row has a generator or an attribution
        if view == "sample":
            return graph.sample(generator, seed)
        return graph.reconstruct(generator, seed, "random" if view == "reconstruction-random" else "inverted")
    assert row.task  # noqa: S101 - a row with an attribution has a task
    if view == "probe":
        return graph.predict(row.use.component, generator, row.task, seed)
    if view == "cycle":
        return graph.cycle(row.use, generator, row.task, seed)
    return graph.explain(row.use, generator, row.task, seed)


def _rebuilt(graph: Graph, row: Row) -> str | None:
    """Return the step that makes the reconstructions of a row's generator, if it can."""
    if row.use and row.generator and "latent" in row.generator.spec.provides:  # type: ignore[attr-defined]
        return graph.reconstruct(row.generator, row.cell.seed, row.use.rest)
    return None


def _beside(graph: Graph, row: Row, metric: Component) -> Mapping[str, str]:
    """Return the steps that make what a metric reads beside the lines of the view, by role."""
    needs: frozenset[str] = metric.spec.needs  # type: ignore[attr-defined]
    found = {"rebuilt": _rebuilt(graph, row)} if "rebuilt" in needs else {}
    if "perturbed" in needs and row.use and row.task:
        found["perturbed"] = graph.perturbed(row.use, row.generator, row.task, row.cell.seed, metric.params.sigma)
    return {role: key for role, key in found.items() if key}


def _measurements(graph: Graph, row: Row, unavailable: rules.Unavailable) -> Iterator[Measurement]:
    for metric in graph.suite.metrics.values():
        spec: Any = metric.spec
        for view in (view for view in _views(row) if view in spec.views):
            why = (
                row.why_not
                or rules.why_not_view(view, row.use, row.generator, graph.info, row.cell.dataset)
                or rules.why_not_dims(metric, graph.info)
                or rules.why_not_metric(metric, view, graph.info, graph.suite, row.task)
                or rules.why_not_component(metric, graph.info, unavailable)
            )
            common: dict[str, Any] = {
                "cell": row.cell,
                "metric": metric.name,
                "view": view,
                "direction": spec.direction,
            }
            if why:
                yield Measurement(**common, status="failed" if row.broken else "skipped", reason=why)
            else:
                source, beside = _source(graph, row, view), _beside(graph, row, metric)
                yield Measurement(**common, key=graph.measure(metric, view, source, beside, row.task))


def _published(suite: Suite) -> Iterator[Measurement]:
    """Yield the numbers of papers that stand beside the suite's own; they read each metric on its first view."""
    for row in suite.published:
        cell = Cell(dataset=row.dataset, task=row.task, generator=None, attribution=row.name, seed=suite.seeds[0])
        for name, value in row.values.items():
            spec: Any = suite.metrics[name].spec
            yield Measurement(
                cell=cell,
                metric=name,
                view=spec.views[0],
                direction=spec.direction,
                status="published",
                reason=row.source,
                value=value,
            )


def _gallery(graph: Graph, row: Row) -> Mapping[Cell, str]:
    had = _views(row)  # a method that gives images and maps shows both in the view of its images
    views = [view for view in ("reconstruction", "counterfactual", "sweep", "walk", "map") if view in had]
    explained = any(_needs_generator(use) for use in graph.suite.attributions.values())
    if not views or (row.use is None and explained):  # there the reconstruction stands beside the counterfactual
        return {}
    source = _source(graph, row, views[0])
    return {row.cell: graph.gallery(source, views[0], _rebuilt(graph, row), row.task if row.use else None)}


def _figures(graph: Graph, row: Row) -> Mapping[tuple[Cell, str, str], str]:
    """Plan every figure that the row's views can fill; a figure is never a hole in a table, so others are left out."""
    found: dict[tuple[Cell, str, str], str] = {}
    for figure in () if row.why_not else graph.suite.figures.values():
        spec: Any = figure.spec
        for view in (view for view in _views(row) if view in spec.views):
            why = rules.why_not_view(view, row.use, row.generator, graph.info, row.cell.dataset)
            if why or rules.why_not_figure(figure, row.use, row.generator, graph.info):
                continue
            codes = None
            if "latent" in spec.needs and row.generator:
                codes = graph.encode(row.generator, row.cell.seed, "test")
            source = _source(graph, row, view)
            found[row.cell, figure.name, view] = graph.figure(figure, view, source, codes, row.task)
    return found


def _needed(steps: Mapping[str, Step], wanted: set[str]) -> dict[str, Step]:
    """Keep the wanted steps and what they stand on, in the order of making (inputs first)."""
    keep: set[str] = set()
    stack = list(wanted)
    while stack:
        key = stack.pop()
        if key not in keep:
            keep.add(key)
            stack += steps[key].waits_for
    return {key: step for key, step in steps.items() if key in keep}


def _assets(suite: Suite, info: Mapping[str, DatasetInfo], measurements: list[Measurement]) -> tuple[Asset, ...]:
    """Return the files that planned numbers need: none for a metric that no row can have anyway."""
    planned = [m for m in measurements if m.key]
    used = {m.metric for m in planned} | {m.cell.generator for m in planned} | {m.cell.attribution for m in planned}
    parts = [*suite.generators.values(), *(use.component for use in suite.attributions.values())]
    parts += [*suite.metrics.values(), *suite.judges.values()]
    found = [asset for i in info.values() for asset in i.assets]
    for part in parts:
        found += part.spec.assets if part.name in used or part.kind == "judges" else ()
    return tuple(dict.fromkeys(found))


def _remarks(suite: Suite, measurements: list[Measurement]) -> Iterator[str]:
    used = {m.metric for m in measurements}
    for metric in suite.metrics.values():
        if metric.name not in used:
            views = ", ".join(metric.spec.views)  # type: ignore[attr-defined]
            yield f"metric {metric.name} reads {views}; no row of this suite has that, so it is not measured"
