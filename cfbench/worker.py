"""The worker: `python -m cfbench.worker JOB.json` does the steps of one job, in a process of its own."""

import json
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from cfbench.errors import CfbenchError, CorruptArtifactError, StoreError, UndefinedError
from cfbench.registry import Registry, load
from cfbench.store import Store

#: Seconds between two progress events of a step.
_PULSE = 0.3


class Events:
    """Appends events to a job's file, each line whole and at once."""

    def __init__(self, path: Path) -> None:
        self._handle = path.open("a", encoding="utf-8")
        self._last = 0.0

    def write(self, event: str, step: str = "", **details: Any) -> None:
        """Append one event."""
        self._handle.write(json.dumps({"event": event, "step": step, **details}) + "\n")
        self._handle.flush()

    def progress(self, step: str, done: int, total: int, what: str) -> None:
        """Append a progress event unless the last one was just now."""
        if time.monotonic() - self._last >= _PULSE or done >= total:
            self._last = time.monotonic()
            self.write("progress", step, done=done, total=total, what=what)


def main(argv: list[str]) -> int:
    """Do the steps of a job file. One that fails is an event; the next ones still run."""
    if len(argv) != 1:
        print("usage: python -m cfbench.worker JOB.json", file=sys.stderr)  # noqa: T201 - a program's usage line
        return 2
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    events = Events(Path(job["events"]))
    import torch

    torch.set_num_threads(job["threads"])
    if job["device"] != "cpu":  # on a CPU nothing needs it, and it would import torch's compiler: two seconds
        torch.use_deterministic_algorithms(True, warn_only=True)
    registry, store = load(job["disabled"]), Store(Path(job["store"]))
    for step in job["steps"]:
        events.write("started", step["key"])
        try:
            with store.lock(step["key"]):
                _attempt(step, job, registry, store, events)
        except StoreError as error:
            events.write("failed", step["key"], reason=str(error))
    return 0


def _attempt(step: Mapping[str, Any], job: Mapping[str, Any], registry: Registry, store: Store, events: Events) -> None:
    """Do one step, or find that another run has done it, and say what came of it."""
    key = step["key"]
    if store.has(key):
        events.write("done", key, reused=True)
        return
    try:
        _do(step, job, registry, store, events)
    except CorruptArtifactError as error:
        events.write("corrupt", key, input=error.key, reason=str(error))
    except (CfbenchError, UndefinedError) as error:
        events.write("failed", key, reason=str(error))
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the trace is in the job's log
        traceback.print_exc()
        events.write("failed", key, reason=f"{type(error).__name__}: {error} (trace: {job['log']})")
    else:
        store.drop_scratch(key)
        events.write("done", key, reused=False)


def _do(step: Mapping[str, Any], job: Mapping[str, Any], registry: Registry, store: Store, events: Events) -> None:
    make(step, job, registry, store, lambda done, total, what: events.progress(step["key"], done, total, what))


def make(
    step: Mapping[str, Any],
    machine: Mapping[str, Any],
    registry: Registry,
    store: Store,
    progress: Callable[[int, int, str], None],
) -> None:
    """Do one step in this process and store its result; the caller holds the step's lock.

    Args:
        step: `kind`, `key`, `inputs` and `payload`.
        machine: `device` and `threads`.
        registry: where the step's components are.
        store: where its inputs are, and its result goes.
        progress: see `Context.progress`.
    """
    from cfbench.execute.stale import digests_of
    from cfbench.protocols import Context
    from cfbench.sources import Sources
    from cfbench.steps import STEPS
    from cfbench.steps.work import Work

    key, started = step["key"], time.perf_counter()
    meta: dict[str, Any] = {"step": step["kind"], "payload": step["payload"], "inputs": step["inputs"]}
    sources = digests_of(step["payload"], registry, Sources())
    meta["sources"] = sources
    context = Context(
        seed=step["payload"]["seed"],
        folder=store.scratch(key, sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:12]),
        device=machine["device"],
        progress=progress,
    )
    with store.writing(key, meta) as out:
        STEPS[step["kind"]](Work(step["payload"], step["inputs"], out, context, registry, store))
        meta["cost"] = _cost(time.perf_counter() - started, machine["device"])
        meta["threads"] = machine["threads"]


def _cost(seconds: float, device: str) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "host": platform.node(),
        "device": device,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
