"""Jobs under way: what a worker is told, and how far it is."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cfbench.execute.estimate import typical
from cfbench.execute.events import Tail
from cfbench.execute.folder import RunFolder
from cfbench.jobs import Job
from cfbench.plan import Step


@dataclass
class OpenJob:
    """A job under way."""

    job: Job
    steps: Mapping[str, Step]
    tail: Tail
    #: Keys of the steps that have not ended.
    left: set[str]
    #: Key of the step that its worker is at, if any.
    current: str = ""


def open_job(steps: Sequence[Step], folder: RunFolder, machine: Mapping[str, Any], loads: tuple[str, ...]) -> OpenJob:
    """Write the file of a job that does these steps in turn, and return the job.

    Args:
        steps: of one group.
        folder: of the run.
        machine: `store`, `device` and `disabled` plugins.
        loads: modules that its worker imports anyway.
    """
    base = folder.jobs / f"{steps[0].kind}-{uuid.uuid4().hex[:12]}"
    job = Job(
        name=base.name,
        file=base.with_suffix(".json"),
        events=base.with_suffix(".events"),
        log=base.with_suffix(".log"),
        threads=max(step.threads for step in steps),
        loads=loads,
        expected=sum(map(typical, steps)),
    )
    told = [{"kind": s.kind, "key": s.key, "inputs": dict(s.inputs), "payload": dict(s.payload)} for s in steps]
    content = {**machine, "events": str(job.events), "log": str(job.log), "threads": job.threads, "steps": told}
    folder.write_job(job.file, content)
    by_key = {step.key: step for step in steps}
    return OpenJob(job, by_key, Tail(job.events), set(by_key))
