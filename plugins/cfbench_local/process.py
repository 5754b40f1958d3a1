"""The inside of a worker process: its output goes to the job's log, and it dies when the run dies."""

import os
import runpy
import sys
import threading
import time


def run_job(file: str, log: str) -> None:
    """Do a job in this (forked) process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    _work(file)


def _work(file: str) -> None:
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    sys.argv = ["cfbench.worker", file]
    runpy.run_module("cfbench.worker", run_name="__main__", alter_sys=False)


def _die_with_parent(parent: int) -> None:
    """End this process once its parent is gone: nobody waits for its result, and the next run resumes it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    _work(sys.argv[1])
