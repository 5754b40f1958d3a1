"""Rates of preparing and of loading datasets of files, on generated images; nothing is downloaded.

    python benchmarks/datasets.py [--images 2000] [--scans 10 100 1000]

Prints images per second for preparing (radiographs of 2544 x 3056 JPEG to 256 px, as MIMIC-CXR-JPG's, and PNG of
299 px, as COVID-19 Radiography's; with one thread and with one per core) and for loading random batches of 64. Then
prepares VerSe-like folders of more and more CT scans, each in a process of its own: seconds per scan by the wall and of
CPU time, and the most memory that the process ever had, which must not grow with the number of scans.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cfbench.protocols import Context
from cfbench_files.cases import Prepared
from cfbench_files.images import Geometry
from cfbench_files.listing import Picture
from cfbench_files.pictures import Reading
from cfbench_files.prepared import Case, Layout, prepare


def timed(work: Callable[[], None], count: int) -> str:
    """Return rates by the wall clock and by CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{count / wall:9,.0f} a second by the wall, {count / cpu:9,.0f} by CPU time"


def pictures(folder: Path, shape: tuple[int, int], suffix: str, count: int) -> list[Picture]:
    """Write a few files, and name each of them many times."""
    files = []
    for i in range(8):
        low = np.random.default_rng(i).normal(128, 40, (64, 64)).clip(0, 255).astype(np.uint8)
        files.append(folder / f"{i}{suffix}")
        Image.fromarray(low).resize(shape[::-1], Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return [
        Picture(name=str(i), path=files[i % 8], patient=str(i), split="train", labels={}, where=str(i))
        for i in range(count)
    ]


def preparing(shape: tuple[int, int], suffix: str, count: int) -> None:
    """Prepare images of a size, by one thread and by all."""
    reading = Reading(geometry=Geometry(256), bits=8, rules={})
    for workers in (1, len(os.sched_getaffinity(0))):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("files", "scratch", "out"):
                (folder / part).mkdir()
            found = pictures(folder / "files", shape, suffix, count)
            context = Context(0, folder / "scratch")
            rate = timed(
                lambda f=found, c=context, o=folder / "out", w=workers: prepare(  # type: ignore[misc]
                    f, reading.read, reading.layout(()), o, c, workers=w
                ),
                count,
            )
        print(f"prepare {shape[1]} x {shape[0]} {suffix:5} {workers} threads: {rate}")


def loading(shape: tuple[int, ...], dtype: str, count: int) -> None:
    """Read random batches of 64."""
    layout = Layout(shape=shape, dtype=dtype)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("scratch", "out"):
            (folder / part).mkdir()
        pixels = np.zeros(shape, dtype)
        one = [Case(id=str(i), patient=str(i), split="train", labels={}, image=pixels) for i in range(count)]
        prepare(one, lambda case: [case], layout, folder / "out", Context(0, folder / "scratch"))
        cases = Prepared(folder / "out").cases("train")
        order = np.random.default_rng(0).permutation(count)

        def load() -> None:
            for start in range(0, count, 64):
                cases.batch(order[start : start + 64].tolist())

        print(f"load    {' x '.join(map(str, shape)):13} {dtype:8} 1 thread : {timed(load, count)}")


#: Voxels of scans of the lumbar spine, 1 mm; the largest has 59 million, 118 MB of 16-bit integers.
SCANS = ((320, 400, 460), (300, 360, 430), (280, 400, 445), (320, 330, 440), (260, 320, 420))
LABELS = (20, 21, 22, 23, 24)


def write_scan(folder: Path, size: tuple[int, int, int]) -> dict[str, Path]:
    """Write one scan with its mask and centroids; return them by the end of their names."""
    import nibabel

    folder.mkdir()
    rng = np.random.default_rng(size[0])
    plane = rng.normal(40, 30, size[1:]).astype(np.int16)
    mask = np.zeros(size, np.uint8)
    centroids: list[dict[str, object]] = [{"direction": ["R", "A", "S"]}]
    for number, label in enumerate(LABELS):
        high = 60 + 80 * number
        mask[110:150, 200:240, high - 15 : high + 15] = label
        centroids.append({"label": label, "X": 130.0, "Y": 220.0, "Z": float(high)})
    ct = np.broadcast_to(plane, size) + 300 * (mask > 0).astype(np.int16)
    found = {end: folder / end for end in ("_ct.nii.gz", "_seg-vert_msk.nii.gz", "_seg-subreg_ctd.json")}
    for voxels, end in ((ct, "_ct.nii.gz"), (mask, "_seg-vert_msk.nii.gz")):
        image = nibabel.Nifti1Image(voxels, np.eye(4))
        nibabel.save(image, found[end])
    found["_seg-subreg_ctd.json"].write_text(json.dumps(centroids), encoding="utf-8")
    return found


def lay_out(scans: list[dict[str, Path]], root: Path, count: int) -> None:
    """Lay some scans out as many, in VerSe's folders; links, so that the disk holds each once."""
    for number in range(count):
        name = f"sub-verse{number:04d}"
        for end, path in scans[number % len(scans)].items():
            kind = "rawdata" if end == "_ct.nii.gz" else "derivatives"
            target = root / "training" / kind / name / f"{name}{end}"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


def prepare_scans(root: Path) -> None:
    """Prepare a folder of scans and print the figures. For a process of its own: memory is that of its whole life."""
    from cfbench_volumes.verse import Params
    from cfbench_volumes.verse_cases import verse

    dataset = verse(Params(root=str(root), valid=0.0))
    with tempfile.TemporaryDirectory() as name:
        for part in ("scratch", "out"):
            (Path(name) / part).mkdir()
        before = peak()
        wall, cpu = time.perf_counter(), time.process_time()
        dataset.prepare(Path(name) / "out", Context(0, Path(name) / "scratch"))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        dataset.load(Path(name) / "out")
        patches = len(dataset.cases("train"))
    scans = patches // len(LABELS)
    print(
        f"prepare {scans:4} CT of up to {' x '.join(map(str, SCANS[0]))}, {len(os.sched_getaffinity(0))} threads: "
        f"{wall / scans:5.3f} s a scan by the wall, {cpu / scans:5.3f} s of CPU time, for {patches / scans:g} patches; "
        f"memory at most {peak():6,.0f} MB, {before:,.0f} of them before"
    )


def peak() -> float:
    """Return the most memory that this process has had, in MB (Linux; `ru_maxrss` would count the parent's too)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1e3


def streaming(counts: list[int]) -> None:
    """Prepare more and more scans, each number in a new process."""
    with tempfile.TemporaryDirectory() as name:
        scans = [write_scan(Path(name) / f"scan {i}", size) for i, size in enumerate(SCANS)]
        for count in counts:
            root = Path(name) / str(count)
            lay_out(scans, root, count)
            subprocess.run([sys.executable, __file__, "--prepare", str(root)], check=True)


def main() -> None:
    """Print all rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="images that are prepared; ten times as many loaded")
    parser.add_argument("--scans", type=int, nargs="*", default=[10, 100, 1000], help="numbers of CT scans")
    parser.add_argument("--prepare", type=Path, help="prepare the scans of this folder, and nothing else")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.prepare:
        prepare_scans(asked.prepare)
        return
    if asked.images:
        preparing((3056, 2544), ".jpg", max(16, asked.images // 20))
        preparing((299, 299), ".png", asked.images)
        loading((1, 96, 96), "uint8", 10 * asked.images)
        loading((1, 96, 96), "uint16", 10 * asked.images)
        loading((1, 256, 256), "uint8", 4 * asked.images)
        loading((3, 128, 128), "uint8", 4 * asked.images)
    streaming(asked.scans)


if __name__ == "__main__":
    main()
