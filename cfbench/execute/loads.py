"""What a run's workers import that takes seconds, so that an executor can load it once."""

from collections.abc import Iterable

from cfbench.execute.stale import components_of
from cfbench.plan import Plan, Step
from cfbench.registry import Registry


def slow_modules(steps: Iterable[Step], plan: Plan, registry: Registry) -> tuple[str, ...]:
    """Return the modules that components of these steps name as slow (`Spec.loads`).

    A component is a step's own, or its input's: a step that asks a fitted judge builds the judge's network.
    """
    used = {
        component
        for step in steps
        for near in (step, *(plan.steps[key] for key in step.inputs.values()))
        for component in components_of(near.payload)
    }
    return tuple(sorted({module for kind, use in used for module in registry.find(kind, use).loads}))
