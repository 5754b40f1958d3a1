from cfbench.cli.session import make_executor
from cfbench.registry import load


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
