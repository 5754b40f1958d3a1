"""What it costs to bring a large run into MLflow: a database beside the run, and a server over HTTP.

    python benchmarks/mlflow_sync.py [--cells 200] [--metrics 30] [--cases 6] [--database-only]

Wall-clock and processor seconds of `cfbench mlflow sync` from nothing, of a second sync that finds everything there,
and the size of what was written. Every cell has the given number of metrics, each with interval, number of lines and
coverage; forty parameters; and a gallery of so many cases with four pictures each. The server is a `mlflow server` of
one process with a database of its own, on this machine: its work is not in our processor time, but in the wall clock.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from PIL import Image

from cfbench.records import Cell, Record
from cfbench_mlflow.sync import sync
from cfbench_mlflow.target import ENVIRONMENT

VIEWS = ("probe", "counterfactual", "sweep")
ROLES = ("input", "counterfactual", "difference", "truth")


def cells(count: int) -> list[Cell]:
    """Return different cells: generators and attributions, ten of each dataset and seed."""
    return [
        Cell(dataset="d", task="t", generator=f"g{i % 10}", attribution=f"a{i // 10 % 10}", seed=i // 100)
        for i in range(count)
    ]


def records(count: int, metrics: int) -> list[Record]:
    """Return random numbers, one in forty failed."""
    draw, found = random.Random(0), []
    for cell in cells(count):
        for i in range(metrics):
            about = {"suite": "bench", "cell": cell, "metric": f"metric-{i}", "view": VIEWS[i % len(VIEWS)]}
            if draw.random() < 1 / 40:
                found.append(Record(**about, status="failed", reason="the worker was killed"))
                continue
            value = draw.random()
            numbers = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 150, "coverage": 1.0}
            found.append(Record(**about, **numbers, direction="higher"))
    return found


def make_run(folder: Path, count: int, metrics: int, cases: int) -> list[Record]:
    """Write what a sync reads of a run folder, and return its records."""
    folder.mkdir(parents=True)
    (folder / "gallery").mkdir()
    draw = np.random.default_rng(0)
    images = {}
    for case in range(cases):
        for role in ROLES:
            Image.fromarray(draw.integers(0, 255, (64, 64), dtype=np.uint8)).save(
                folder / "gallery" / f"{case}-{role}.png"
            )
        images[case] = {role: f"{case}-{role}.png" for role in ROLES}
    items = [
        {"id": f"c{i}", "grade": 3.0, "target": 0.0, "status": "ok", "images": images[i], "numbers": {"L1": 0.1}}
        for i in range(cases)
    ]
    shown = [{**cell.__dict__, "public": True, "items": items} for cell in cells(count)]
    (folder / "gallery" / "index.json").write_text(json.dumps({"cells": shown}))
    params = {"use": "x", "version": 1, "params": {f"p{i}": i for i in range(40)}}
    about = {
        "suite": "bench",
        "suite_hash": folder.name,
        "started": "2026-11-20T10:00:00+00:00",
        "components": {"generators": {f"g{i}": params for i in range(10)}},
        "datasets": {"d": {"use": "phantom", "fingerprint": "f"}},
    }
    (folder / "run.json").write_text(json.dumps(about))
    found = records(count, metrics)
    (folder / "records.jsonl").write_text("".join(record.to_json() + "\n" for record in found))
    return found


def measure(name: str, folder: Path, found: list[Record], uri: str) -> None:
    """Print what a first and a second sync cost."""
    sync([], folder.parent / "empty", uri)  # imports, and the tables of a fresh database
    for what in ("first sync", "second sync"):
        wall, cpu = time.perf_counter(), time.process_time()
        done = sync(found, folder, uri)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{name:9} {what:12} {wall:6.1f} s, {cpu:6.1f} s of our processor; {done.created} cells written")


@contextmanager
def server(root: Path) -> Iterator[str]:
    """Run a tracking server over an own database, artifacts through the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{root / 'server.db'}",
        "--artifacts-destination",
        str(root / "files"),
    ]
    environment = {**os.environ, **ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                try:
                    urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except (URLError, OSError):
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--metrics", type=int, default=30)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--database-only", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        folder = root / "runs" / "bench" / "0123456789ab"
        found = make_run(folder, asked.cells, asked.metrics, asked.cases)
        print(f"{asked.cells} cells x {asked.metrics} metrics, {asked.cases} cases with pictures each")
        measure("database", folder, found, f"sqlite:///{root / 'mlflow.db'}")
        if not asked.database_only:
            with server(root) as uri:
                measure("server", folder, found, uri)
        sizes = {p: p.stat().st_size for p in root.rglob("*") if p.is_file()}
        print(
            f"database {sizes[root / 'mlflow.db'] / 1e6:.1f} MB, pictures "
            f"{sum(s for p, s in sizes.items() if 'mlflow-artifacts' in p.parts) / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
