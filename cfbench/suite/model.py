"""A suite after reading: frozen, typed, complete."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from cfbench.specs import Spec, Task


@dataclass(frozen=True)
class Component:
    """A plugin as a suite uses it: its spec, with every parameter filled in."""

    #: Its name in the suite.
    name: str
    kind: str
    spec: Spec
    params: Any

    def to_json(self) -> dict[str, Any]:
        """Return what a worker needs to build it, and what its cache key is made from."""
        return {
            "kind": self.kind,
            "use": self.spec.name,
            "version": self.spec.version,
            "params": json.loads(json.dumps(asdict(self.params))),
        }


@dataclass(frozen=True)
class AttributionUse:
    """An attribution and what it is asked for: `"flip"`, `"sweep"` or one grade."""

    component: Component
    target: str | float


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What a suite file says."""

    name: str
    title: str = ""
    description: str = ""
    datasets: Mapping[str, Component]
    tasks: Mapping[str, Task]
    generators: Mapping[str, Component] = field(default_factory=dict)
    attributions: Mapping[str, AttributionUse] = field(default_factory=dict)
    judges: Mapping[str, Component] = field(default_factory=dict)
    metrics: Mapping[str, Component] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    #: At most so many test cases per dataset, drawn by hash; 0 = all.
    cases: int = 0
    #: Share of the training patients that is kept for judges, if there are any.
    judge_share: float = 0.33
    #: Cases shown in the gallery per cell.
    gallery: int = 12
    #: Each mapping names a combination (dataset, task, generator, attribution) that is left out.
    exclude: tuple[Mapping[str, str], ...] = ()
    #: The resolved configuration that it was built from.
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Return the digest that names its run folder. Metrics are left out, since `score` may add some later."""
        config = {key: value for key, value in self.config.items() if key != "metrics"}
        return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
