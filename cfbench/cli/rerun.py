"""Numbers of a bundle made again for a random sample of cases, and compared score by score."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cfbench.cli.remake import STEP_ERRORS, NotLearntError, Remake
from cfbench.plan import Step
from cfbench.records import Record
from cfbench.statistics import with_failures
from cfbench.steps.cases import batches
from cfbench.steps.lineage import circular, lineages
from cfbench.steps.measure import take
from cfbench.steps.views import build_view
from cfbench.submission.aggregates import SET_METRIC
from cfbench.submission.bundle import Bundle
from cfbench.submission.checks import Rerun
from cfbench.submission.privacy import Pseudonyms
from cfbench.submission.standing import Number, told

#: Scores near zero may differ by this much more.
_ABSOLUTE = 1e-5
_CHUNK = 64
OTHER_WEIGHTS = "its weights are others than the bundle's (trained anew, or elsewhere): not to be compared"
NEEDS_SECRET = "its cases have pseudonyms; who has the data needs the submission's secret (--secret)"  # noqa: S105 - a sentence
ABSENT = "it cannot be had on this machine (data or weights are missing)"
STALE = "stale: this installation makes it by other work"


@dataclass(frozen=True)
class Comparison:
    """A bundle beside what is made again."""

    bundle: Bundle
    remake: Remake
    #: Relative difference of two scores that other hardware or another number of threads may make.
    tolerance: float
    #: Undoes pseudonyms, for whoever has the data and got the secret.
    names: Pseudonyms | None = None

    def run(self) -> Rerun:
        """Make every number of the bundle again that can be, and compare."""
        outcomes: dict[Number, str] = {}
        faults: list[str] = []
        planned = {(m.cell, m.metric, m.view): m.key for m in self.remake.plan.measurements}
        for record in self.bundle.records:
            if record.status == "ok" and not record.published:
                number = (record.cell, record.metric, record.view)
                outcomes[number], wrong = self._again(record, planned.get(number))
                faults += [f"{told(record)}: {fault}" for fault in wrong]
        return Rerun(outcomes, faults, self._summary())

    def _again(self, record: Record, key: str | None) -> tuple[str, Sequence[str]]:
        """Return the outcome of one number, and how it differs."""
        if key is None:
            return ABSENT, []
        step, dataset = self.remake.plan.steps[key], record.cell.dataset
        if why := self._why_not(step, record):
            return why, []
        try:
            self.remake.make_below(key, dataset)
            wrong = self._compare_set(step, record) if self._is_set(step) else self._compare(step, record)
            unmarked = self._unmarked(step, record)
        except STEP_ERRORS as error:
            return self._told_error(error, dataset), []
        if wrong and self._other_weights(key):
            return ("differs" if unmarked else OTHER_WEIGHTS), unmarked
        return ("differs" if wrong or unmarked else "agrees"), [*wrong, *unmarked]

    def _why_not(self, step: Step, record: Record) -> str:
        """Return why a number is not even tried, or nothing."""
        if step.key != record.key:
            return STALE
        if self.remake.cases and (self._is_set(step) or record.view == "sample"):
            return SET_METRIC
        return NEEDS_SECRET if self._hidden(record.cell.dataset) and self.names is None else ""

    def _is_set(self, step: Step) -> bool:
        return bool(self._spec(step).kind == "set")

    def _spec(self, step: Step) -> Any:
        item = step.payload["metric"]
        return self.remake.registry.find(item["kind"], item["use"])

    def _hidden(self, dataset: str) -> bool:
        return dataset in self.bundle.pseudonymous

    def _told_error(self, error: Exception, dataset: str) -> str:
        """Return what went wrong; of data that must not be named, only what kind of error it was."""
        if isinstance(error, NotLearntError):
            return str(error)
        what = "" if self._hidden(dataset) else f": {str(error)[:300]}"
        return f"it could not be made again ({type(error).__name__}{what})"

    def _unmarked(self, step: Step, record: Record) -> Sequence[str]:
        """Return what the record should say of judges that have learnt from what they judge, and does not."""
        store, found = self.remake.store, set[str]()
        judged = list(lineages(store, step.inputs["source"]))
        for role, look in step.inputs.items():
            if role.startswith(("judged:", "judged_out:")):
                judge = next(lineages(store, store.meta(look)["inputs"]["judge"]))
                found |= {circular(one, judge) for one in judged} - {""}
        marked = any(why.startswith("circular") for why in record.unranked)
        return [f"it is circular, and does not say so: {why}" for why in sorted(found)] if not marked else []

    def _other_weights(self, key: str) -> bool:
        """Return whether what was learnt here is not what the bundle says was learnt there."""
        stated: Mapping[str, Any] = self.bundle.plan["steps"]
        for step in self.remake.below(key):
            weights = stated.get(step.key, {}).get("weights", {})
            here = self.remake.base.digests(step.key) if weights and self.remake.base.has(step.key) else weights
            if any(here.get(name) != digest for name, digest in weights.items()):
                return True
        return False

    def _compare(self, step: Step, record: Record) -> Sequence[str]:
        """Score the drawn lines again, and return how they differ from the bundle's."""
        dataset = record.cell.dataset
        work = self.remake.work(step, dataset)
        view, metric = build_view(work, record.view), work.build("metric")
        parts = [metric.score(take(view, index), work.context) for index in batches(len(view), _CHUNK)]
        made = np.concatenate([part.detach().cpu().double().numpy() for part in parts]) if parts else np.empty(0)
        made = with_failures(made, view.status, self._spec(step).worst)
        names = self.names if self._hidden(dataset) else None
        cases = [names.of(dataset, case) for case in view.ids] if names else list(view.ids)
        given = self.bundle.scores[str(record.key)]
        return list(_differ(_by_case(given.case, given.score), _by_case(cases, made), self.tolerance))

    def _compare_set(self, step: Step, record: Record) -> Sequence[str]:
        """Make a number of the whole set again, with its interval."""
        folder = self.remake.make(step, record.cell.dataset)
        made = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        pairs = {name: (getattr(record, name), made[name]) for name in ("value", "low", "high")}
        return [
            f"{name} is {given} in the bundle, {again} when made again"
            for name, (given, again) in pairs.items()
            if (given is None) != (again is None) or (given is not None and not _same(given, again, self.tolerance))
        ]

    def _summary(self) -> str:
        drawn = self.remake.drawn.items()
        counts = [f"{'all' if ids is None else len(ids)} cases of {name}" for name, ids in sorted(drawn)]
        return f"{', '.join(counts) or 'nothing'} made again (draw {self.remake.seed}), within {self.tolerance:g}"


def _by_case(cases: Sequence[str], scores: Iterable[float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for case, score in zip(cases, scores, strict=True):
        found.setdefault(case, []).append(float(score))
    return found


def _differ(bundle: Mapping[str, list[float]], made: Mapping[str, list[float]], tolerance: float) -> Iterator[str]:
    """Yield how the scores of cases that were made again differ from the bundle's."""
    for case, scores in made.items():
        given = bundle.get(case, [])
        if len(given) != len(scores):
            yield f"case {case}: {len(given)} lines in the bundle, {len(scores)} when made again"
            continue
        for one, other in zip(given, scores, strict=True):
            if not _same(one, other, tolerance):
                yield f"case {case}: score {one:.8g} in the bundle, {other:.8g} when made again"


def _same(a: float, b: float, tolerance: float) -> bool:
    if np.isnan(a) or np.isnan(b):
        return bool(np.isnan(a) and np.isnan(b))
    return abs(a - b) <= _ABSOLUTE + tolerance * max(abs(a), abs(b))
