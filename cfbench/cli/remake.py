"""Steps of a plan done again for some of the test cases, on what was learnt before."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from cfbench.errors import CfbenchError
from cfbench.plan import Plan, Step
from cfbench.protocols import Cases, Context
from cfbench.registry import Registry
from cfbench.steps import STEPS
from cfbench.steps.cases import Subset
from cfbench.steps.work import Work
from cfbench.store import Store
from cfbench.worker import make

#: Kinds of steps whose results are learnt or read once: they do not depend on which test cases are asked.
_KEPT = ("prepare", "fit_generator", "fit_attribution", "fit_explained", "fit_judge")
#: Of these, what is made without being asked for.
_CHEAP = ("prepare", "encode")
#: What may go wrong in a step without being a fault of ours.
STEP_ERRORS = (CfbenchError, RuntimeError, ValueError, OSError, LookupError)


class NotLearntError(CfbenchError):
    """What a number stands on would have to be learnt first."""


@dataclass(frozen=True)
class _Sampled(Work):
    """One step at work on some of the test cases; None = all."""

    chosen: frozenset[str] | None = None

    @cached_property
    def test(self) -> Cases:
        """Return the chosen test cases, in their order."""
        cases = super().test
        if self.chosen is None:
            return cases
        return Subset(cases, [i for i, case in enumerate(cases.ids) if case in self.chosen])


class _Overlay(Store):
    """A store for what is made again, that reads what was learnt from the user's own."""

    def __init__(self, root: Path, base: Store, learnt: Iterable[str]) -> None:
        super().__init__(root)
        self._base, self._learnt = base, frozenset(learnt)

    def folder(self, key: str) -> Path:
        """Return where the artifact is, or would be."""
        return self._base.folder(key) if key in self._learnt else super().folder(key)


@dataclass
class Remake:
    """Makes steps of a plan again."""

    plan: Plan
    registry: Registry
    #: The user's store: what was learnt is taken from there, and put there if it is learnt now.
    base: Store
    #: An empty folder.
    scratch: Path
    #: Cases of each dataset; 0 = all of them.
    cases: int
    #: Of the draw of cases.
    seed: int
    #: Whether to learn what the store does not have.
    train: bool
    device: str
    #: Is told what happens, a sentence at a time.
    report: Callable[[str], None]
    #: Dataset to the cases that were drawn; None = all.
    drawn: dict[str, frozenset[str] | None] = field(default_factory=dict)
    #: Step to why it could not be made.
    _failed: dict[str, Exception] = field(default_factory=dict)

    @cached_property
    def store(self) -> Store:
        """Return the store of what is made."""
        return _Overlay(self.scratch, self.base, [key for key, step in self.plan.steps.items() if _is_learnt(step)])

    def work(self, step: Step, dataset: str, out: Path | None = None) -> Work:
        """Return what a step sees when it works on the drawn cases of its dataset."""
        if dataset not in self.drawn:
            self.drawn[dataset] = self._draw(step, dataset)
        return self._work(step, out or self.scratch, self.drawn[dataset])

    def make(self, step: Step, dataset: str) -> Path:
        """Do a step again, unless it was done before, and return the folder of its result."""
        if not self.store.has(step.key):
            meta = {"step": step.kind, "payload": step.payload, "inputs": step.inputs}
            with self.store.writing(step.key, meta) as out:
                STEPS[step.kind](self.work(step, dataset, out))
        return self.store.read(step.key).folder

    def make_below(self, key: str, dataset: str) -> None:
        """Make everything that a step stands on. Raises the error of the first step that could not be made."""
        for below in self.below(key):
            if below.key in self._failed:
                raise self._failed[below.key]
            try:
                if _is_learnt(below):
                    self._require_learnt(below)
                else:
                    self.make(below, dataset)
            except STEP_ERRORS as error:
                self._failed[below.key] = error
                raise

    def below(self, key: str) -> Iterator[Step]:
        """Yield the steps that a step stands on, inputs first."""
        needed, stack = set[str](), list(self.plan.steps[key].inputs.values())
        while stack:
            one = stack.pop()
            if one not in needed:
                needed.add(one)
                stack += self.plan.steps[one].inputs.values()
        return (step for one, step in self.plan.steps.items() if one in needed)

    def _draw(self, step: Step, dataset: str) -> frozenset[str] | None:
        ids = sorted(self._work(step, self.scratch, None).test.ids)
        everything = not self.cases or self.cases >= len(ids)
        return None if everything else frozenset(Random(f"{self.seed}{dataset}").sample(ids, self.cases))

    def _work(self, step: Step, out: Path, chosen: frozenset[str] | None) -> Work:
        context = Context(
            seed=step.payload["seed"],
            folder=self.store.scratch(step.key, "verify"),
            device=self.device,
            progress=_silent,
        )
        return _Sampled(step.payload, step.inputs, out, context, self.registry, self.store, chosen)

    def _require_learnt(self, step: Step) -> None:
        """Raise NotLearntError unless what was learnt is in the store, or may be learnt now."""
        if self.base.has(step.key):
            return
        if not self.train and step.kind not in _CHEAP:
            raise NotLearntError(
                f"{step.label}: it is not in this machine's store and would take training (--train does it)"
            )
        self.report(f"{step.label}: not in the store, made now")
        facts: dict[str, Any] = {"kind": step.kind, "key": step.key, "inputs": step.inputs, "payload": step.payload}
        with self.base.lock(step.key):
            if not self.base.has(step.key):
                make(facts, {"device": self.device, "threads": step.threads}, self.registry, self.base, _silent)


def _is_learnt(step: Step) -> bool:
    return step.kind in _KEPT or (step.kind == "encode" and step.payload.get("part") == "guide")


def _silent(_done: int, _total: int, _what: str) -> None:
    """Take notice of progress, and say nothing."""
