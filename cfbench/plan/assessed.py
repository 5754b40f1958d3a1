"""Which classifiers are to show on real cases what they are worth: those that a number or a picture asks."""

from collections.abc import Iterable, Iterator

from cfbench.plan.graph import Graph
from cfbench.specs import Task
from cfbench.suite import Component, Suite


def plan_assessed(graph: Graph, tasks: Iterable[Task]) -> dict[tuple[str, str, str, str], str]:
    """Plan how good they are: (dataset, task, role, classifier) to step. All that asks them is planned before."""
    needed, found = set(graph.steps), {}
    for task in tasks:
        for role, classifier in _classifiers(graph.suite):
            look = graph.explained(task, None) if role == "explained" else graph.judge(classifier, task, None)
            if look in needed:
                found[graph.dataset.name, task.name, role, classifier.name] = graph.assess(look, task)
    return found


def _classifiers(suite: Suite) -> Iterator[tuple[str, Component]]:
    for judge in suite.judges.values():
        yield "control" if judge.spec.control else "judge", judge  # type: ignore[attr-defined]
    if suite.explains:
        yield "explained", suite.explains
