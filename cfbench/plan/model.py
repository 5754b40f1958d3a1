"""What a plan is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cfbench.records import Cell
from cfbench.specs import Asset, DatasetInfo
from cfbench.suite import Suite


@dataclass(frozen=True, kw_only=True)
class Step:
    """One piece of work whose result is stored under its key."""

    kind: str
    key: str
    #: What a person reads while it runs.
    label: str
    #: Role to the key of the step whose result it needs.
    inputs: Mapping[str, str]
    #: Everything else that it needs, as JSON values.
    payload: Mapping[str, Any]
    threads: int = 1
    #: Whether a component's training or sampling makes it long; guides estimates of the time left.
    heavy: bool = False
    #: Keys of steps that must have ended well before it starts, though its result does not depend on theirs.
    after: tuple[str, ...] = ()
    #: Steps of one group share what they load, and run in one process.
    group: str = ""

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Return the keys of all steps that must be done before it."""
        return (*self.inputs.values(), *self.after)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number that the suite asks for: the key of the step that makes it, or why it cannot be had."""

    cell: Cell
    metric: str
    view: str
    direction: str
    key: str | None = None
    status: Literal["planned", "skipped", "failed", "published"] = "planned"
    #: Why it cannot be had; of a published number, where it is from.
    reason: str = ""
    #: The number, if somebody has published it.
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps in an order in which they can run, and the measurements that they serve."""

    suite: Suite
    info: Mapping[str, DatasetInfo]
    steps: Mapping[str, Step]
    measurements: tuple[Measurement, ...]
    #: Gallery steps, by cell.
    galleries: Mapping[Cell, str] = field(default_factory=dict)
    #: Figure steps, by cell, figure and view.
    figures: Mapping[tuple[Cell, str, str], str] = field(default_factory=dict)
    #: Rank steps, by (dataset, task, view, metric).
    ranks: Mapping[tuple[str, str | None, str, str], str] = field(default_factory=dict)
    #: Steps that say what a classifier is worth, by (dataset, task, role, classifier).
    assessed: Mapping[tuple[str, str, str, str], str] = field(default_factory=dict)
    #: Audit steps, by dataset: a dataset that fails its audit has no numbers.
    audits: Mapping[str, str] = field(default_factory=dict)
    #: Files that the planned numbers need, wherever they are.
    assets: tuple[Asset, ...] = ()
    #: Remarks for the reader, such as a metric that no cell can use.
    remarks: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[str, ...]:
        """Return the keys of the steps that draw."""
        return (*self.galleries.values(), *self.figures.values())

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return the keys of the steps whose results the reader asked for."""
        keys = (
            [m.key for m in self.measurements if m.key]
            + list(self.pictures)
            + list(self.audits.values())
            + list(self.ranks.values())
            + list(self.assessed.values())
        )
        return tuple(dict.fromkeys(keys))
