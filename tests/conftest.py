"""Shape checks for everything under test, and a home of its own for every test session."""

import os
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Two test processes on two cores: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
CHECKED = (
    "cfbench.audit",
    "cfbench.protocols",
    "cfbench.statistics",
    "cfbench.steps",
    "cfbench.types",
    "cfbench_autoencoder",
    "cfbench_cnn",
    "cfbench_dae",
    "cfbench_densenet",
    "cfbench_doctor",
    "cfbench_figures",
    "cfbench_files",
    "cfbench_folder",
    "cfbench_hyperplane",
    "cfbench_idrid",
    "cfbench_latents",
    "cfbench_medmnist",
    "cfbench_metrics",
    "cfbench_nets",
    "cfbench_pca",
    "cfbench_phantoms",
    "cfbench_radiographs",
    "cfbench_saliency",
    "cfbench_sdedit",
    "cfbench_sentinels",
    "cfbench_text_ldm",
    "cfbench_volumes",
    "cfbench_stylegan2",
)
install_import_hook(CHECKED, "typechecks.check")
assert not {name for name in sys.modules if name.startswith("cfbench_")}, "imported before the shape checks"


@pytest.fixture
def test_data() -> Path:
    """The folder of real images, or a skip that says why."""
    folder = os.environ.get("CFBENCH_TEST_DATA")
    if not folder:
        pytest.skip("CFBENCH_TEST_DATA is not set: no real data on this machine")
    return Path(folder)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never touch the user's store, data or weights."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CFBENCH_HOME", str(home / "cfbench"))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
