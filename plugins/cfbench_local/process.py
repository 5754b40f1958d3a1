"""The inside of a worker process: its output goes to the job's log, and it dies when the run dies."""

import os
import sys
import threading
from multiprocessing.connection import Connection


def run_job(file: str, log: str, lifeline: Connection) -> None:
    """Do a job in this (forked) process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    _work(file, lifeline.fileno())


def _work(file: str, lifeline: int) -> None:
    from cfbench.worker import main

    threading.Thread(target=_die_with_run, args=(lifeline,), daemon=True).start()
    sys.exit(main([file]))


def _die_with_run(lifeline: int) -> None:
    """End this process once the run is gone: nobody waits for its result, and the next run resumes it.

    The run holds the other end of this pipe and never writes; reading returns when that end is closed, by death too.
    The parent's process id would not tell: the fork server, which is a forked worker's parent, outlives the run.
    """
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    _work(sys.argv[1], sys.stdin.fileno())
