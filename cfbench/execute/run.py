"""Running a plan: ready steps become jobs, their events are followed, finished numbers become records."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from cfbench.errors import CorruptArtifactError
from cfbench.execute.folder import RunFolder
from cfbench.execute.opened import OpenJob, open_job
from cfbench.execute.records import Findings, record_of
from cfbench.execute.schedule import Schedule
from cfbench.jobs import Executor
from cfbench.plan import Measurement, Plan, Step, ranks_without
from cfbench.records import Record
from cfbench.store import Store

_POLL = 0.05
#: Seconds between two writings of the records, which are written whole: after each of a thousand it took half a core.
_WRITE = 2.0


class Display(Protocol):
    """What a person watches."""

    def began(self, step: Step) -> None:
        """Show that a step runs."""
        ...

    def progress(self, step: Step, done: int, total: int, what: str) -> None:
        """Show how far a step is."""
        ...

    def ended(self, step: Step, reason: str) -> None:
        """Show that a step is done (`reason` is "") or why it failed."""
        ...

    def needed(self, steps: Sequence[Step]) -> None:
        """Show what is left to do."""
        ...


@dataclass
class Outcome:
    """What a run came to."""

    records: list[Record]
    computed: int = 0
    reused: int = 0


@dataclass
class Runner:
    """Runs one plan in one folder."""

    plan: Plan
    store: Store
    folder: RunFolder
    executor: Executor
    display: Display
    device: str
    disabled: tuple[str, ...]
    #: Steps that stand on what other code made (see `stale_plugins`).
    stale: Mapping[str, tuple[str, ...]]
    on_record: Callable[[Record], None]
    #: Metric (as plugins call it) to the reason why its numbers are not ranked.
    barred: Mapping[str, str] = field(default_factory=dict)
    #: Modules that workers import anyway (see `shared_modules`).
    loads: tuple[str, ...] = ()
    #: Records of an earlier run that stay beside the new ones (`score`).
    kept: tuple[Record, ...] = ()
    records: dict[int, Record] = field(default_factory=dict)
    computed: int = 0
    _open: list[OpenJob] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _unwritten: bool = False
    _written: float = -inf

    def run(self) -> Outcome:
        """Run until nothing is left that can be done."""
        self.schedule = Schedule(self.plan, self.store, self.plan.wanted)
        self._note_records()
        if self.schedule.needed():  # a run that finds everything done may read from a store that it cannot write
            self.store.require_writable()
        try:
            self._drain()
            reused = len(self.schedule.reused)
            self._compare_what_is_left()
        finally:
            self.executor.close()
            self._write_records(now=True)
        return Outcome(self._all(), self.computed, reused)

    def _drain(self) -> None:
        left = self.schedule.needed()
        while left or self._open:
            self.display.needed(left)
            self._submit()
            while not self._follow():  # asking 20 times a second what is left to do would take a fifth of a core
                self._write_records()
                time.sleep(_POLL)
            self._note_records()
            left = self.schedule.needed()

    def _compare_what_is_left(self) -> None:
        """Rank the other rows of a table column in which one has failed."""
        failed, first = self.schedule.failed, self.plan
        self.plan = ranks_without(first, failed)
        if self.plan.ranks != first.ranks:
            self.schedule = Schedule(self.plan, self.store, self.plan.ranks.values())
            self.schedule.failed.update(failed)
            self._drain()

    def _submit(self) -> None:
        groups: dict[str, list[Step]] = {}
        for step in self.schedule.ready():
            groups.setdefault(step.group or step.key, []).append(step)
        for steps in groups.values():
            self._open.append(self._job(steps))

    def _job(self, steps: Sequence[Step]) -> OpenJob:
        machine = {"store": str(self.store.root), "device": self.device, "disabled": self.disabled}
        opened = open_job(steps, self.folder, machine, self.loads)
        for step in steps:
            self.schedule.start(step.key)
        self.executor.submit(opened.job)
        return opened

    def _follow(self) -> bool:
        """Take what workers tell, and return whether a step or a worker has come to an end."""
        settled = not self._open
        for opened in list(self._open):
            state = self.executor.state(opened.job)
            if state == "waiting":
                continue
            ended = state == "ended"
            for event in opened.tail.read():
                settled |= self._take(opened, event)
            if ended:
                self._close(opened)
            settled |= ended
        return settled

    def _take(self, opened: OpenJob, event: Mapping[str, Any]) -> bool:
        """Take one event, and return whether it ends its step."""
        step = opened.steps[event["step"]]
        if event["event"] == "started":
            opened.current = step.key
            self.display.began(step)
        elif event["event"] == "progress":
            self.display.progress(step, event["done"], event["total"], event["what"])
        else:
            opened.left.discard(step.key)
            opened.current = ""
            self._settle(step, event)
            return True
        return False

    def _settle(self, step: Step, event: Mapping[str, Any]) -> None:
        if event["event"] == "done":
            self.computed += not event["reused"]
            self.schedule.finish(step.key)
            self.display.ended(step, "")
        elif event["event"] == "corrupt":
            self.schedule.lose(event["input"])
            self.schedule.release(step.key)
            self.display.ended(step, event["reason"])
        else:
            self.schedule.fail(step.key, event["reason"])
            self.display.ended(step, event["reason"])

    def _close(self, opened: OpenJob) -> None:
        """A worker that died loses the step it was at; the steps it had not begun are ready again."""
        self._open.remove(opened)
        reason = self.executor.how_ended(opened.job)
        for key in opened.left:
            if key == opened.current or not reason:
                self.schedule.fail(key, reason or f"its worker ended without a result; see {opened.job.log}")
                self.display.ended(opened.steps[key], self.schedule.failed[key])
            else:
                self.schedule.release(key)
        if reason and not opened.current and len(opened.left) == len(opened.steps):
            for key in opened.left:  # it died before its first step: trying for ever would not help
                self.schedule.fail(key, reason)
        if not reason and not opened.left:
            for path in (opened.job.file, opened.job.events):
                path.unlink(missing_ok=True)
            if opened.job.log.exists() and not opened.job.log.stat().st_size:
                opened.job.log.unlink()

    def _note_records(self) -> None:
        """Make the records that can be made by now, and write all of them if there are new ones."""
        fresh = []
        for i, measurement in enumerate(self.plan.measurements):
            if i in self.records:
                continue
            key, audit = measurement.key, self.plan.audits.get(measurement.cell.dataset)
            audited = audit is None or self.schedule.is_done(audit) or audit in self.schedule.failed
            if key is None or key in self.schedule.failed or (audited and self.schedule.is_done(key)):
                try:
                    self.records[i] = self._record(measurement)
                    fresh.append(self.records[i])
                except CorruptArtifactError:
                    self.schedule.lose(str(key))
        self._check_pictures()
        self._unwritten |= bool(fresh)
        for record in fresh:
            self.on_record(record)

    def _write_records(self, *, now: bool = False) -> None:
        """Write all records if there are new ones, unless the last writing was just now."""
        if self._unwritten and (now or time.monotonic() - self._written > _WRITE):
            self.folder.write_records(self._all())
            self._unwritten, self._written = False, time.monotonic()

    def _check_pictures(self) -> None:
        """Read each finished picture once: a damaged one is made again while there is somebody to make it."""
        for key in self.plan.pictures:
            if key not in self._seen and self.schedule.is_done(key):
                try:
                    self.store.read(key)
                    self._seen.add(key)
                except CorruptArtifactError:
                    self.schedule.lose(key)

    def _record(self, measurement: Measurement) -> Record:
        failed, audit = self.schedule.failed, self.plan.audits.get(measurement.cell.dataset)
        if audit in failed and measurement.key:
            failed = {**failed, measurement.key: failed[audit]}
        return record_of(measurement, self.plan, self.store, Findings(failed, self.stale, self.barred))

    def _all(self) -> list[Record]:
        return [*self.kept, *(self.records[i] for i in sorted(self.records))]
