"""Which rows of a suite are compared with each other: those that answer one metric on one view of one task."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from cfbench.plan.graph import Graph
from cfbench.plan.model import Measurement, Plan, Step
from cfbench.records import row_name
from cfbench.store import content_key
from cfbench.suite import Suite

Group = tuple[str, str | None, str, str]
#: Views whose images answer a target: there, how little an image changes means something only if the target is met.
_ASKED = ("counterfactual", "sweep", "walk", "cycle")


def plan_ranks(graph: Graph, measurements: Iterable[Measurement]) -> dict[Group, str]:
    """Add a rank step for every group with two rows or more, or with several seeds, and return their keys."""
    found: dict[Group, dict[str, dict[int, str]]] = {}
    for m in measurements:
        if m.key and m.cell.dataset == graph.dataset.name and m.direction != "none":
            rows = found.setdefault((m.cell.dataset, m.cell.task, m.view, m.metric), {})
            rows.setdefault(row_name(m.cell), {})[m.cell.seed] = m.key
    sentinels = _sentinels(graph.suite)
    ranks = {}
    for group, rows in found.items():
        if len(rows) > 1 or any(len(seeds) > 1 for seeds in rows.values()):
            validity = found.get((*group[:2], "counterfactual", _validity(graph.suite) or ""), {})
            ranks[group] = _step(graph, group, rows, sentinels, validity)
    return ranks


def ranks_without(plan: Plan, failed: Collection[str]) -> Plan:
    """Return a plan that compares what is left once some numbers have failed for good."""
    steps, ranks = dict(plan.steps), {}
    for group, key in plan.ranks.items():
        step = plan.steps[key]
        inputs = {role: made for role, made in step.inputs.items() if made not in failed}
        if key in failed and len({role.split(":")[1] for role in inputs if role.startswith("row:")}) > 1:
            fewer = _with_inputs(step, inputs)
            steps[fewer.key], ranks[group] = fewer, fewer.key
        else:
            ranks[group] = key
    return replace(plan, steps=steps, ranks=ranks)


def _with_inputs(step: Step, inputs: Mapping[str, str]) -> Step:
    key = content_key(step.kind, {"instead": step.key, "inputs": inputs})
    return replace(step, key=key, inputs=inputs)


def _step(
    graph: Graph,
    group: Group,
    rows: Mapping[str, Mapping[int, str]],
    sentinels: set[str],
    validity: Mapping[str, Mapping[int, str]],
) -> str:
    metric = graph.suite.metrics[group[3]]
    spec: Any = metric.spec
    floor = (_validity(graph.suite) or "a validity metric") if spec.role == "proximity" and group[2] in _ASKED else ""
    inputs = {f"row:{i}:{seed}": key for i, name in enumerate(rows) for seed, key in rows[name].items()}
    if floor:
        inputs |= {
            f"validity:{i}:{seed}": key for i, name in enumerate(rows) for seed, key in validity.get(name, {}).items()
        }
    return graph.rank(
        metric.name,
        {
            "rows": [
                {"name": name, "sentinel": name.rpartition(" / ")[2] in sentinels, "seeds": list(seeds)}
                for name, seeds in rows.items()
            ],
            "direction": spec.direction,
            "range": list(spec.range),
            "floor": floor,
        },
        inputs,
    )


def _sentinels(suite: Suite) -> set[str]:
    return {name for name, use in suite.attributions.items() if use.component.spec.sentinel}  # type: ignore[attr-defined]


def _validity(suite: Suite) -> str | None:
    """Return the suite's first metric of whether counterfactuals reach their target, as a share."""
    for metric in suite.metrics.values():
        spec: Any = metric.spec
        share = spec.range == (0, 1) and spec.direction == "higher" and "judge" in spec.needs
        if spec.role == "validity" and share and "counterfactual" in spec.views:
            return metric.name
    return None
