"""What a run's workers import anyway, so that an executor can load it once."""

from collections.abc import Iterable
from types import ModuleType

from cfbench.execute.stale import components_of
from cfbench.plan import Plan, Step
from cfbench.registry import Registry


def shared_modules(steps: Iterable[Step], plan: Plan, registry: Registry) -> tuple[str, ...]:
    """Return the modules of the enabled plugins, and those that components of these steps name (`Spec.loads`).

    A component is a step's own, or its input's: a step that asks a fitted judge builds the judge's network.
    """
    used = {
        component
        for step in steps
        for near in (step, *(plan.steps[key] for key in step.inputs.values()))
        for component in components_of(near.payload)
    }
    plugins = (each.__name__ for each in registry.manager.get_plugins() if isinstance(each, ModuleType))
    return tuple(sorted({*plugins, *(module for kind, use in used for module in registry.find(kind, use).loads)}))
