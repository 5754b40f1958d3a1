"""A stranger's plugin: two files, no change to this project, and it stands in the table."""

import pytest
from tiny import TINY, cfbench, write_suite

from cfbench.records import read_records

PLUGIN = '''
"""A metric of my own."""
from dataclasses import dataclass
from cfbench.hookspecs import hookimpl
from cfbench.specs import MetricSpec, param


@dataclass(frozen=True)
class Params:
    power: int = param(2, "exponent")


@hookimpl
def cfbench_metrics():
    return [MetricSpec(name="lp", factory="my_metric_impl:Lp", summary="mean |x_out - x|^p", params=Params, kind="case",
                       views=("counterfactual",), direction="lower", range=(0, 1), worst=1)]
'''
IMPLEMENTATION = '''
class Lp:
    """Mean |x_out - x|^p."""
    def __init__(self, params):
        self.power = params.power

    def score(self, view, context):
        return ((view.x_out - view.x).abs() ** self.power).flatten(1).mean(1)
'''


@pytest.fixture
def strange(tmp_path):
    """A folder on the path that looks like an installed distribution."""
    folder = tmp_path / "site"
    info = folder / "my_metric-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metric\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[cfbench]\nmine = my_metric\n")
    (folder / "my_metric.py").write_text(PLUGIN)
    (folder / "my_metric_impl.py").write_text(IMPLEMENTATION)
    return folder


def small(metrics):
    text = TINY.replace("judges:\n  cnn: {use: cnn, steps: 30}\n", "").replace(
        "generators:\n  pca: {use: pca, z_dim: 12}\n", ""
    )
    lines = [line for line in text.splitlines() if not line.startswith(("metrics:", "  flip:", "  sweep:", "gallery:"))]
    return "\n".join([*lines, f"metrics: {metrics}", "gallery: 0"])


def test_it_is_listed_with_its_distribution_and_parameters(strange, tmp_path):
    done = cfbench("plugins", "lp", cwd=tmp_path, PYTHONPATH=str(strange))
    assert done.returncode == 0, done.stderr
    for words in ("my-metric 1.2", "power", "int", "exponent"):
        assert words in done.stdout


def test_its_numbers_stand_in_the_records(strange, tmp_path):
    write_suite(tmp_path, small("[lp, l1]"))
    go = ("-p", "no:mlflow", "run", "tiny.yaml")
    done = cfbench(*go, cwd=tmp_path, PYTHONPATH=str(strange), CFBENCH_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    values = {(r.metric, r.cell.attribution): r.value for r in read_records(folder / "records.jsonl")}
    assert values["lp", "identity"] == 0
    assert 0 < values["lp", "truth"] < values["l1", "truth"]


def test_one_that_raises_fails_its_own_cells_only(strange, tmp_path):
    (strange / "my_metric_impl.py").write_text(IMPLEMENTATION.replace("return ((", "raise ValueError('bad day') or (("))
    write_suite(tmp_path, small("[lp, l1]"))
    go = ("-p", "no:mlflow", "run", "tiny.yaml")
    done = cfbench(*go, cwd=tmp_path, PYTHONPATH=str(strange), CFBENCH_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert "ValueError: bad day" in done.stdout
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    status = {(r.metric, r.status) for r in read_records(folder / "records.jsonl")}
    assert status == {("lp", "failed"), ("l1", "ok")}


def test_one_that_kills_its_process_fails_its_own_cells_only(strange, tmp_path):
    (strange / "my_metric_impl.py").write_text(
        IMPLEMENTATION.replace("return ((", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV); return ((")
    )
    write_suite(tmp_path, small("[lp, l1]"))
    go = ("-p", "no:mlflow", "run", "tiny.yaml")
    done = cfbench(*go, cwd=tmp_path, PYTHONPATH=str(strange), CFBENCH_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert "SIGSEGV" in done.stdout
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    status = {(r.metric, r.status) for r in read_records(folder / "records.jsonl")}
    assert status == {("lp", "failed"), ("l1", "ok")}


def test_one_that_cannot_be_imported_names_its_way_out(strange, tmp_path):
    (strange / "my_metric.py").write_text("import nowhere_to_be_found")
    done = cfbench("plugins", cwd=tmp_path, PYTHONPATH=str(strange))
    assert done.returncode == 2
    assert "my-metric" in done.stderr
    assert "no:mine" in done.stderr
    assert cfbench("-p", "no:mine", "plugins", cwd=tmp_path, PYTHONPATH=str(strange)).returncode == 0
