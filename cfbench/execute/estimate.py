"""How long it will take: typical costs of steps, corrected by how this machine does."""

import time
from collections.abc import Sequence

from cfbench.plan import Step

#: Typical seconds of a heavy step on two CPU cores; only their ratios matter once the run is under way.
_TYPICAL = {
    "fit_generator": 150.0,
    "fit_judge": 25.0,
    "explain": 20.0,
    "invert": 12.0,
    "reconstruct": 8.0,
    "encode": 2.0,
}


class Estimate:
    """Follows a run and guesses what is left."""

    def __init__(self) -> None:
        self.finished = 0
        self._left: dict[str, float] = {}
        self._begun: dict[str, tuple[float, float]] = {}
        self._spent = 0.0
        self._expected = 0.0

    def needed(self, steps: Sequence[Step]) -> None:
        """Note the steps that are not done."""
        self._left = {step.key: _typical(step) for step in steps}

    def began(self, step: Step) -> None:
        """Note that a step runs."""
        self._begun[step.key] = (time.monotonic(), 0.0)

    def progress(self, step: Step, done: int, total: int) -> None:
        """Note how far it is."""
        started = self._begun.get(step.key, (time.monotonic(), 0.0))[0]
        self._begun[step.key] = (started, done / max(total, 1))

    def ended(self, step: Step) -> None:
        """Note that it is done; its cost corrects what is expected of the others."""
        self.finished += 1
        started, _ = self._begun.pop(step.key, (time.monotonic(), 0.0))
        self._spent += time.monotonic() - started
        self._expected += _typical(step)
        self._left.pop(step.key, None)

    def left_of(self, step: Step) -> str:
        """Return the time left of one running step, such as `1:20 left`."""
        started, share = self._begun.get(step.key, (0.0, 0.0))
        return f"{duration((time.monotonic() - started) * (1 - share) / share)} left" if share > 0.02 else ""

    def left(self) -> str:
        """Return the time left of all steps."""
        factor = self._spent / self._expected if self._expected > 30 else 1.0
        seconds = 0.0
        for key, typical in self._left.items():
            started, share = self._begun.get(key, (0.0, 0.0))
            seconds += (time.monotonic() - started) * (1 - share) / share if share > 0.05 else typical * factor
        return f"about {duration(seconds)} left" if seconds >= 1 else "nearly done"


def _typical(step: Step) -> float:
    """Return what a step takes, about; a component that asks for one thread is a light one (judges are not)."""
    light = step.threads == 1 and step.kind != "fit_judge"
    return _TYPICAL.get(step.kind, 0.5) * (0.1 if light else 1.0)


def duration(seconds: float) -> str:
    """Return `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
