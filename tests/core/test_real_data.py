"""Real fundus images (RetinaMNIST), from the folder that $CFBENCH_TEST_DATA names."""

from pathlib import Path

import pytest
from tiny import cfbench

from cfbench.records import read_records

SUITE = Path(__file__).parents[2] / "suites" / "retina.yaml"
QUICK = (
    "generators.dae=null",
    "generators.stylegan2-e4e=null",
    "generators.text-ldm=null",
    "attributions.edit=null",
    "explains.steps=20",
    "judges.cnn.steps=20",
    "judges.resnet=null",
    "judges.densenet=null",
    "attributions.sweep=null",
    "cases=80",
    "gallery=2",
    "metrics=[auc, mae, flip, l1, ssim, lpips-resized]",
)


def run(where: Path, root: Path):
    arguments = ("-p", "no:mlflow", "run", SUITE, f"datasets.retina.root={root}", *QUICK, "--offline")
    done = cfbench(*arguments, cwd=where, CFBENCH_HOME=str(where / "home"))
    (folder,) = (where / "runs" / "retina").iterdir()
    return done, read_records(folder / "records.jsonl")


def test_the_retina_suite_runs_from_a_local_folder_by_one_override(tmp_path, test_data):
    done, records = run(tmp_path, test_data / "medmnist")
    assert done.returncode == 0, done.stdout + done.stderr
    auc = next(r for r in records if r.metric == "auc")
    assert auc.unit == "image"
    assert auc.n == 80
    assert auc.value > 0.65, "a linear probe on eigen-images sees retinopathy (0.84 on all 400 cases)"
    skipped = [r for r in records if r.status == "skipped"]
    assert {r.metric for r in skipped} == {"lpips-resized"}
    assert "alexnet" in skipped[0].reason


def test_a_missing_file_fails_with_its_path_and_what_to_do(tmp_path):
    done, records = run(tmp_path, tmp_path / "empty")
    assert done.returncode == 1
    assert {r.status for r in records} == {"failed"}
    assert all(str(tmp_path / "empty" / "retinamnist.npz") in r.reason for r in records)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_file_that_is_not_the_official_one_is_refused(tmp_path, test_data, damage):
    data = bytearray((test_data / "medmnist" / "retinamnist.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "retinamnist.npz").write_bytes(bytes(data[: len(data) // 2] if damage == "truncated" else data))
    done, records = run(tmp_path, tmp_path)
    assert done.returncode == 1
    assert {r.status for r in records if r.metric != "lpips-resized"} == {"failed"}
    expected = "another size" if damage == "truncated" else "expected md5"
    assert any(expected in r.reason for r in records)
