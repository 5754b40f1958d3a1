"""How long it will take: typical costs of steps, corrected by how this machine does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cfbench.plan import Step

#: Typical seconds of a heavy step on one CPU core; only their ratios matter once the run is under way.
_TYPICAL = {
    "fit_generator": 150.0,
    "fit_judge": 25.0,
    "fit_explained": 25.0,
    "explain": 20.0,
    "invert": 12.0,
    "reconstruct": 8.0,
    "encode": 2.0,
}


@dataclass
class _Running:
    """A step under way: when it was first heard of and how far it was then (a resumed fit does not begin at 0)."""

    since: float
    first: float = 0.0
    share: float = 0.0

    def left(self, now: float) -> float | None:
        """Return the seconds left, or None while too little is known."""
        gained = self.share - self.first
        return (now - self.since) * (1 - self.share) / gained if gained > 0.02 else None


@dataclass
class _Account:
    """What steps have taken, and what they were expected to take."""

    spent: float = 0.0
    expected: float = 0.0

    @property
    def factor(self) -> float:
        """Return how many times as long as expected they took."""
        return self.spent / self.expected if self.expected else 1.0


@dataclass
class Estimate:
    """Follows a run and guesses what is left."""

    finished: int = 0
    _left: dict[str, Step] = field(default_factory=dict)
    _running: dict[str, _Running] = field(default_factory=dict)
    #: By kind of step: one machine is fast at arithmetic and slow at starting processes, another the reverse.
    _kinds: dict[str, _Account] = field(default_factory=dict)
    _all: _Account = field(default_factory=_Account)
    #: Most steps that were seen to run at once.
    _width: int = 1

    def needed(self, steps: Sequence[Step]) -> None:
        """Note the steps that are not done."""
        self._left = {step.key: step for step in steps}

    def began(self, step: Step) -> None:
        """Note that a step runs."""
        self._running[step.key] = _Running(time.monotonic())
        self._width = max(self._width, len(self._running))

    def progress(self, step: Step, done: int, total: int) -> None:
        """Note how far it is."""
        share = done / max(total, 1)
        running = self._running.setdefault(step.key, _Running(time.monotonic()))
        if running.share == 0.0 and share > 0.02:  # its first word: what was done before is no measure of its speed
            running.since, running.first = time.monotonic(), share
        running.share = share

    def ended(self, step: Step) -> None:
        """Note that it is done; its cost corrects what is expected of the others."""
        self.finished += 1
        running = self._running.pop(step.key, None)
        if running and running.first == 0.0:
            for account in (self._kinds.setdefault(step.kind, _Account()), self._all):
                account.spent += time.monotonic() - running.since
                account.expected += typical(step)
        self._left.pop(step.key, None)

    def left_of(self, step: Step) -> str:
        """Return the time left of one running step, such as `1:20 left`."""
        running = self._running.get(step.key)
        seconds = running.left(time.monotonic()) if running else None
        return "" if seconds is None else f"{duration(seconds)} left"

    def left(self) -> str:
        """Return the time left of all steps."""
        each = [self._seconds(step) for step in self._left.values()]
        seconds = max(sum(each) / self._width, max(each, default=0.0))
        return f"about {duration(seconds)} left" if seconds >= 1 else "nearly done"

    def _seconds(self, step: Step) -> float:
        """Return what one step will take from now on."""
        known = self._running[step.key].left(time.monotonic()) if step.key in self._running else None
        if known is not None:
            return known
        of_kind = self._kinds.get(step.kind)
        general = self._all.factor if self._all.expected > 30 else 1.0
        return typical(step) * (of_kind.factor if of_kind and of_kind.expected else general)


def typical(step: Step) -> float:
    """Return the seconds that a step takes, about."""
    return _TYPICAL.get(step.kind, 0.5) * (1.0 if step.heavy else 0.1)


def duration(seconds: float) -> str:
    """Return `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
