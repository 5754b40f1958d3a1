"""Volumes that are no cubes, through a whole suite: everything of the ADNI suite at toy size."""

from pathlib import Path

from PIL import Image
from plugins.volumes_made import make_adni
from tiny import cfbench

from cfbench.records import read_records

SUITE = Path(__file__).parents[2] / "suites" / "papers" / "liu2025-adni.yaml"
SMALL = (
    "datasets.adni.size=[16,19,13]",
    "datasets.adni.spacing=10",
    "datasets.adni.valid=0.2",
    *(f"generators.dae.{name}=[1,2]" for name in ("channel_mult", "encoder_mult")),
    "generators.dae.precision=float32",
    *(
        f"generators.dae.{name}=4"
        for name in ("channels", "steps", "batch", "z_dim", "time_dim", "groups", "latent_width", "latent_batch")
    ),
    *(f"generators.dae.{name}=3" for name in ("encode_steps", "decode_steps", "latent_steps", "latent_decode_steps")),
    "generators.pca.z_dim=4",
    "explains.preset=quick",
    *(f"{part}.steps=4" for part in ("explains", "judges.cnn")),
    # What costs time and shows nothing more of sizes.
    *(
        f"{part}=null"
        for part in ("judges.resnet", "attributions.walk", "attributions.nearest", "attributions.adversarial")
    ),
    *(f"metrics.{name}=null" for name in ("auc-hard", "f1", "l2", "flip-explained", "fd-judge-floor")),
)


def test_the_adni_suite_runs_on_volumes_that_are_no_cubes(tmp_path):
    root = make_adni(tmp_path / "data", 80)
    arguments = ("-p", "no:mlflow", "run", SUITE, f"datasets.adni.root={root}", *SMALL, "--offline")
    done = cfbench(*arguments, cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "runs" / "liu2025-adni").iterdir()
    records = [r for r in read_records(folder / "records.jsonl") if r.status != "published"]
    assert not [r for r in records if r.status == "failed"]
    there = {(r.cell.generator, r.cell.attribution, r.metric) for r in records if r.status == "ok"}
    for generator in ("dae", "pca"):
        assert {(generator, "svm", metric) for metric in ("auc", "l1", "ssim", "flip")} <= there
    assert {(None, name, "flip") for name in ("identity", "class-mean")} <= there
    assert {r.cell.generator for r in records if r.status == "skipped"} >= {"text-ldm"}
    # Pictures of ADNI are for their owner: they are made, and stay in the store.
    assert not list(folder.rglob("*-input.png"))
    shown = set()
    for path in (tmp_path / "home").rglob("*-input.png"):
        with Image.open(path) as picture:
            shown.add(picture.size)
    assert shown == {(13 + 13 + 19 + 4, 19)}
