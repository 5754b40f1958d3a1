"""Workers forked from a process that has torch loaded: a start takes some 20 ms instead of seconds."""

import multiprocessing
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cfbench_local.environment import ON_SHARED_CORES
from cfbench_local.process import run_job

if TYPE_CHECKING:
    from cfbench.jobs import Job

_context = multiprocessing.get_context("forkserver")


def start_forkserver(modules: Sequence[str]) -> None:
    """Begin to load torch and these modules in the fork server, unless it runs. It never touches a GPU.

    A module that cannot be imported is left out: the step that needs it says so, with a trace.
    """
    from multiprocessing import forkserver

    for variable, value in ON_SHARED_CORES.items():
        os.environ.setdefault(variable, value)  # the fork server, which loads torch, inherits it
    _context.set_forkserver_preload(["cfbench_local.preload", *modules])
    forkserver.ensure_running()


class ForkedWorker:
    """A worker process forked from the fork server."""

    def __init__(self, job: "Job") -> None:
        theirs, self._lifeline = _context.Pipe(duplex=False)
        self._process = _context.Process(target=run_job, args=(str(job.file), str(job.log), theirs), daemon=False)
        self._process.start()
        theirs.close()

    def exit_code(self) -> int | None:
        """Return how it exited (negative: by that signal), or None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        self._process.kill()
        self._process.join()
