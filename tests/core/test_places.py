import subprocess
import sys
from pathlib import Path

import pytest

from cfbench import places


def test_home_is_the_folder_that_the_user_names(monkeypatch, tmp_path):
    monkeypatch.setenv("CFBENCH_HOME", str(tmp_path / "here"))
    assert places.home() == tmp_path / "here"
    assert places.store_folder() == tmp_path / "here" / "store"
    assert places.data_folder() == tmp_path / "here" / "data"


def test_home_expands_the_tilde_and_does_not_depend_on_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CFBENCH_HOME", "~/mine")
    assert places.home() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CFBENCH_HOME", "near")
    assert places.home() == tmp_path / "near"


@pytest.mark.parametrize("empty", [None, ""])
def test_home_is_the_cache_folder_otherwise(monkeypatch, tmp_path, empty):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CFBENCH_HOME", raising=False)
    if empty is not None:
        monkeypatch.setenv("CFBENCH_HOME", empty)
    assert places.home().name == "cfbench"
    if sys.platform == "linux":
        assert places.home() == tmp_path / "cfbench"


@pytest.mark.parametrize(
    "variables",
    [{"TORCH_HOME": "~/weights"}, {"TORCH_HOME": "/w", "XDG_CACHE_HOME": "/c"}, {"XDG_CACHE_HOME": "/c"}, {}],
)
def test_checkpoints_lie_where_torch_hub_looks(monkeypatch, variables):
    hub = pytest.importorskip("torch.hub")
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "TORCH_HUB"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert places.torch_checkpoints() == Path(hub.get_dir()) / "checkpoints"


@pytest.mark.parametrize("module", ["cfbench.places", "cfbench.assets", "cfbench_medmnist.plugin"])
def test_is_light(module):
    heavy = "{'torch', 'numpy', 'requests', 'rich', 'platformdirs'}"
    code = f"import sys, {module}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
