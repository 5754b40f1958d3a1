"""Slots of this machine, and jobs that wait for them."""

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Protocol

from cfbench_local.environment import ON_SHARED_CORES
from cfbench_local.forkserver import ForkedWorker, start_forkserver
from cfbench_local.plugin import LocalParams

if TYPE_CHECKING:
    from cfbench.jobs import Job, State

#: Seconds between two looks at what runs.
_PAUSE = 0.02


class Running(Protocol):
    """A worker process, forked or fresh."""

    def exit_code(self) -> int | None:
        """Return how it exited (negative: by that signal), or None while it runs."""
        ...

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        ...


class FreshWorker:
    """A worker in a fresh interpreter: needed on a GPU, where a process that has touched CUDA cannot be forked."""

    def __init__(self, job: "Job", gpu: str) -> None:
        environment = {**ON_SHARED_CORES, **os.environ, "CUDA_VISIBLE_DEVICES": gpu}
        command = [sys.executable, "-m", "cfbench_local.process", str(job.file)]
        with job.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own worker
                command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )

    def exit_code(self) -> int | None:
        """Return how it exited, or None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        self._process.kill()
        self._process.wait()


class LocalExecutor:
    """Runs the longest waiting job that there is room for; equally long ones in the order of submission."""

    def __init__(self, params: LocalParams) -> None:
        self._cores = params.cores or len(os.sched_getaffinity(0))
        self._gpus = [gpu.strip() for gpu in params.gpus.split(",") if gpu.strip()]
        self._waiting: list[Job] = []
        self._running: dict[str, tuple[Job, Running, str]] = {}
        self._codes: dict[str, int] = {}
        self._looked = 0.0

    def submit(self, job: "Job") -> None:
        """Take a job; start it when there is room."""
        if not self._gpus:
            start_forkserver(job.loads)
        self._waiting.append(job)
        self._start()

    def state(self, job: "Job") -> "State":
        """Return where a job stands."""
        if time.monotonic() - self._looked > _PAUSE:  # a run asks about hundreds of waiting jobs at a time
            self._looked = time.monotonic()
            if self._reap():
                self._start()
        if job.name in self._codes:
            return "ended"
        return "running" if job.name in self._running else "waiting"

    def how_ended(self, job: "Job") -> str:
        """Return a sentence about how a job's process ended; nothing if it ended well."""
        code = self._codes[job.name]
        if code == 0:
            return ""
        if code < 0:
            killed = signal.Signals(-code).name
            hint = " (out of memory?)" if killed == "SIGKILL" else ""
            return f"its worker was killed by {killed}{hint}; see {job.log}"
        return f"its worker exited with {code}; see {job.log}"

    def close(self) -> None:
        """Kill what still runs."""
        for _, worker, _ in self._running.values():
            worker.kill()
        self._running.clear()
        self._waiting.clear()

    def _start(self) -> None:
        for job in sorted(self._waiting, key=lambda job: -job.expected):
            gpu = self._free_gpu()
            used = sum(other.threads for other, _, _ in self._running.values())
            if gpu is None or (self._running and not self._gpus and used + self._demand(job) > self._cores):
                continue
            self._waiting.remove(job)
            worker: Running = FreshWorker(job, gpu) if self._gpus else ForkedWorker(job)
            self._running[job.name] = (job, worker, gpu)

    def _demand(self, job: "Job") -> int:
        return min(job.threads, self._cores)

    def _free_gpu(self) -> str | None:
        """Return a GPU that no job uses, "" on a CPU, or None when all are taken."""
        if not self._gpus:
            return ""
        taken = {gpu for _, _, gpu in self._running.values()}
        return next((gpu for gpu in self._gpus if gpu not in taken), None)

    def _reap(self) -> bool:
        """Note which workers have ended, and return whether one has."""
        before = len(self._running)
        for name, (_, worker, _) in list(self._running.items()):
            code = worker.exit_code()
            if code is not None:
                self._codes[name] = code
                del self._running[name]
        return len(self._running) < before
