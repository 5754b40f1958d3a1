"""Where jobs run, and in which order."""

import json
import time

from cfbench.cli.session import make_executor
from cfbench.jobs import Job
from cfbench.registry import load
from cfbench_local.executor import LocalExecutor
from cfbench_local.plugin import LocalParams


def test_a_gpu_run_takes_the_gpus_that_are_named_or_visible(monkeypatch):
    """No GPU is needed to see which ones it would take."""
    registry = load(["mlflow"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert make_executor(registry, "local", [], "cuda")._gpus == ["2", "3"]
    assert make_executor(registry, "local", ["gpus=1"], "cuda")._gpus == ["1"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert make_executor(registry, "local", [], "cuda")._gpus


def test_cores_bound_what_runs_at_once():
    assert make_executor(load(["mlflow"]), "local", ["cores=3", "gpus=0"], "cpu")._cores == 3


def job(folder, name, expected):
    base = folder / name
    content = {"store": str(folder), "events": f"{base}.events", "log": f"{base}.log", "threads": 1, "device": "cpu"}
    base.with_suffix(".json").write_text(json.dumps({**content, "disabled": ["mlflow"], "steps": []}))
    files = {"file": base.with_suffix(".json"), "events": base.with_suffix(".events"), "log": base.with_suffix(".log")}
    return Job(name=name, threads=1, expected=expected, **files)


def test_the_longest_waiting_job_starts_first(tmp_path):
    executor = LocalExecutor(LocalParams(cores=1))
    jobs = [job(tmp_path, name, expected) for name, expected in (("a", 1), ("b", 2), ("c", 9), ("d", 2))]
    order = []
    try:
        for each in jobs:
            executor.submit(each)
        while len(order) < 4 or any(executor.state(each) != "ended" for each in jobs):
            order += [each.name for each in jobs if executor.state(each) != "waiting" and each.name not in order]
            time.sleep(0.01)
    finally:
        executor.close()
    assert [executor.how_ended(each) for each in jobs] == [""] * 4
    assert order == ["a", "c", "b", "d"], "the first finds the machine free, then the longest, then as submitted"
