"""Jobs: what an executor gets to run. Files are the protocol, so that any place that sees them can work."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

State = Literal["waiting", "running", "ended"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A group of steps for one worker: `python -m cfbench.worker <file>`.

    The worker appends one JSON line per event (step started, progress, done, failed) to `events`, and writes results
    into the store.
    """

    name: str
    file: Path
    events: Path
    log: Path
    threads: int
    #: Modules that jobs of this run import anyway; the same for all of them. An executor that forks workers may load
    #: them beforehand, others may ignore them.
    loads: tuple[str, ...] = ()
    #: Seconds that it takes, about. An executor may start the longest first, so that none is left alone at the end.
    expected: float = 0.0


class Executor(Protocol):
    """Runs jobs somewhere. Constructed from its spec's params."""

    def submit(self, job: Job) -> None:
        """Take a job; start it when there is room."""
        ...

    def state(self, job: Job) -> State:
        """Return where a job stands; `ended` whatever became of it (its events tell)."""
        ...

    def how_ended(self, job: Job) -> str:
        """Return a sentence about an ended job's exit, such as `killed by signal 9 (out of memory?)`; "" if well."""
        ...

    def close(self) -> None:
        """Stop what still runs; wait until it is gone."""
        ...
