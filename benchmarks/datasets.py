"""Rates of preparing and of loading datasets of files, on generated images; nothing is downloaded.

    python benchmarks/datasets.py [images]

Prints images per second for preparing (radiographs of 2544 x 3056 JPEG to 256 px, as MIMIC-CXR-JPG's, and PNG of
299 px, as COVID-19 Radiography's; with one thread and with one per core) and for loading random batches of 64.
"""

import os
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


def loading(shape: tuple[int, ...], count: int) -> None:
    """Read random batches of 64."""
    layout = Layout(shape=shape, dtype="uint8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("scratch", "out"):
            (folder / part).mkdir()
        pixels = np.zeros(shape, np.uint8)
        one = [Case(id=str(i), patient=str(i), split="train", labels={}, image=pixels) for i in range(count)]
        prepare(one, lambda case: [case], layout, folder / "out", Context(0, folder / "scratch"))
        cases = Prepared(folder / "out").cases("train")
        order = np.random.default_rng(0).permutation(count)

        def load() -> None:
            for start in range(0, count, 64):
                cases.batch(order[start : start + 64].tolist())

        print(f"load    {' x '.join(map(str, shape)):22} 1 thread : {timed(load, count)}")


def main(count: int) -> None:
    """Print all rates."""
    torch.set_num_threads(1)
    preparing((3056, 2544), ".jpg", max(16, count // 20))
    preparing((299, 299), ".png", count)
    loading((1, 96, 96), 10 * count)
    loading((1, 256, 256), 4 * count)
    loading((3, 128, 128), 4 * count)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
