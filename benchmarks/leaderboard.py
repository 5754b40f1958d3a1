"""What the leaderboard's pages cost: time to make them, their size, and time to open them in a browser.

    python benchmarks/leaderboard.py [--rows 150] [--metrics 30] [--cases 1000] [--methods 10] [--lines 200]

Processor time of one thread for the table page alone (records in memory to finished HTML) and for a whole site (reading
and checking records, every page, written to the disk): for the given table, one of 1,000 rows, one with the scores of
every case (pages of pairs and trade-offs), and a gallery. If a Chromium is found, pages are opened from the disk in a
frame: time until loaded, script included, and how many of the gallery's pictures were loaded by then.
"""

import argparse
import json
import random
import re
import shutil
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

from cfbench.compare.site import build as compared
from cfbench.leaderboard.environment import make_environment
from cfbench.leaderboard.pages import make_pages
from cfbench.leaderboard.runs import read_runs
from cfbench.leaderboard.site import build
from cfbench.records import Cell, Record

#: Views in turn, so that the table has groups of columns.
VIEWS = ("probe", "reconstruction", "sample", "counterfactual", "sweep", "map")


def records(rows: int, metrics: int) -> Iterator[Record]:
    """Yield a full table of random numbers, one in forty failed."""
    draw = random.Random(0)
    for row in range(rows):
        cell = Cell(dataset="d", task="t", generator=f"generator-{row % 12}", attribution=f"method-{row}", seed=0)
        for metric in range(metrics):
            about = {"suite": "bench", "cell": cell, "metric": f"metric-{metric}", "view": VIEWS[metric % len(VIEWS)]}
            if draw.random() < 1 / 40:
                yield Record(**about, status="failed", reason=f"worker {row % 7} was killed")
                continue
            value, half = draw.random(), draw.random() / 10
            yield Record(
                **about,
                value=value,
                low=value - half,
                high=value + half,
                interval="bootstrap",
                n=150,
                patients=115,
                coverage=1.0,
                direction="higher",
            )


def table_run(folder: Path, rows: int, metrics: int) -> Path:
    """Write a run of a full table, with ranks."""
    folder.mkdir()
    found = list(records(rows, metrics))
    (folder / "records.jsonl").write_text("".join(record.to_json() + "\n" for record in found))
    names = [f"generator-{row % 12} / method-{row}" for row in range(rows)]
    ranks = [
        {
            "dataset": "d",
            "task": "t",
            "view": VIEWS[m % len(VIEWS)],
            "metric": f"metric-{m}",
            "reasons": {},
            "pairs": [],
        }
        | {"tiers": {name: 1 + i % 5 for i, name in enumerate(names)}}
        for m in range(metrics)
    ]
    (folder / "ranks.json").write_text(json.dumps(ranks))
    return folder


def scored_run(folder: Path, rows: int, metrics: int, lines: int) -> Path:
    """Write a run whose numbers have scores of cases, and whose ranks have tested pairs."""
    import pyarrow as pa
    from pyarrow import parquet

    (folder / "scores").mkdir(parents=True)
    draw, found, ranks = random.Random(1), [], []
    names = [f"method-{row}" for row in range(rows)]
    for metric in range(metrics):
        group = {"dataset": "d", "task": "t", "view": "counterfactual", "metric": f"metric-{metric}"}
        for row, name in enumerate(names):
            key = f"measure-{row * metrics + metric:016x}"
            scores = {"case": [f"case-{i}" for i in range(lines)], "score": [draw.random() for _ in range(lines)]}
            parquet.write_table(pa.table(scores), folder / "scores" / f"{key}.parquet")
            cell = Cell(dataset="d", task="t", generator=None, attribution=name, seed=0)
            about = {"suite": "bench", "cell": cell, "metric": group["metric"], "view": group["view"], "key": key}
            number = {"value": draw.random(), "low": 0.0, "high": 1.0, "n": lines, "direction": "higher"}
            found.append(Record(**about, **number))
        pairs = [
            {"a": a, "b": b, "difference": draw.gauss(0, 0.1), "low": -0.1, "high": 0.1, "p": draw.random()}
            for a, b in combinations(names, 2)
        ]
        tiers = {name: 1 + i % 5 for i, name in enumerate(names)}
        ranks.append({**group, "tiers": tiers, "reasons": {}, "pairs": pairs})
    (folder / "records.jsonl").write_text("".join(record.to_json() + "\n" for record in found))
    (folder / "ranks.json").write_text(json.dumps(ranks))
    return folder


def gallery_run(folder: Path, cases: int, methods: int) -> Path:
    """Write a run of a gallery: four pictures per case and method, each a file of its own."""
    (folder / "gallery").mkdir(parents=True)
    (folder / "records.jsonl").write_text(next(records(1, 1)).to_json() + "\n")
    cells = []
    for method in range(methods):
        items = []
        for case in range(cases):
            images = {"input": picture(folder, f"{case}", case)}
            for role in ("reconstruction", "counterfactual", "difference"):
                images[role] = picture(folder, f"{case}-{method}-{role}", hash((case, method, role)))
            numbers = {"L1": 0.1, "judge before": 0.2, "judge after": 0.9}
            items.append({"id": f"case-{case}", "target": 0, "status": "ok", "images": images, "numbers": numbers})
        cells.append({"dataset": "d", "task": "t", "attribution": f"method-{method}", "public": True, "items": items})
    (folder / "gallery" / "index.json").write_text(json.dumps({"cells": cells}))
    return folder


def picture(folder: Path, name: str, number: int) -> str:
    """Write a small PNG whose content depends on the number, and return its name."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = random.Random(number).randbytes(64)
    rows = b"".join(b"\0" + pixels[8 * i : 8 * i + 8] for i in range(8))
    data = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows, 1))
    (folder / "gallery" / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b""))
    return f"{name}.png"


def timed(what: str, work: Callable[[], object]) -> object:
    """Print the processor time that the work takes, and return what it returns."""
    started = time.process_time()
    found = work()
    print(f"{what:66}{time.process_time() - started:8.2f} s", flush=True)
    return found


def table_page(run: Path) -> str:
    """Time the table page alone, from records in memory to HTML, and return it."""
    read = list(read_runs([run]))
    environment = make_environment()

    def render() -> str:
        context = next(context for _, template, context in make_pages(read) if template == "suite.html")
        return environment.get_template("suite.html").render(context)

    return str(timed("  the table page, from records in memory to HTML", render))


def opened(page: Path) -> None:
    """Print how long a browser takes until the page is loaded (best of three), and how many pictures it loaded."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print("  (no Chromium: time to open is not measured)")
        return
    script = (
        "const t = performance.now(); const f = document.createElement('iframe'); f.width = 1400; f.height = 1000;"
        "f.onload = () => { const took = performance.now() - t; const all = [...f.contentDocument.images];"
        "document.title = [took, all.filter((i) => i.naturalWidth).length, all.length].join(' '); };"
        f"f.src = 'file://{page}'; document.body.append(f);"
    )
    times = []
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        frame.write_text(f"<!doctype html><title>0</title><body><script>{script}</script>")
        flags = "--allow-file-access-from-files --headless --no-sandbox --disable-gpu --no-first-run"
        # A headless browser that dumps a page loads its lazy pictures at once, unless it is told to behave like others.
        flags += " --disable-background-networking --blink-settings=lazyLoadEnabled=true"
        for _ in range(3):
            command = [browser, *flags.split(), f"--user-data-dir={folder}/profile", "--dump-dom", f"file://{frame}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            took, loaded, pictures = re.search(r"<title>([\d.]+) (\d+) (\d+)", done.stdout).groups()
            times.append(float(took))
    size = page.stat().st_size / 2**20
    print(f"  opening {page.name} ({size:.2f} MiB), wall time, best of 3{'':14}{min(times):8.0f} ms", flush=True)
    if int(pictures):
        print(f"    pictures loaded by then: {loaded} of the {pictures} of the page", flush=True)


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 150), ("metrics", 30), ("cases", 1000), ("methods", 10), ("lines", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows, metrics in ((asked.rows, asked.metrics), (1000, 10)):
            print(f"{rows} methods x {metrics} metrics")
            run = table_run(folder / f"table-{rows}", rows, metrics)
            table_page(run)
            timed(
                "  the whole site, read from and written to the disk",
                lambda run=run: build([run], folder / f"site-{run.name}"),
            )
            opened(folder / f"site-{run.name}" / "index.html")
        print(f"{asked.rows} methods x {asked.metrics} metrics x {asked.lines} cases, every pair tested")
        scored, site = scored_run(folder / "scored-run", asked.rows, asked.metrics, asked.lines), folder / "site-scored"
        timed("  the whole site, pairs and trade-offs included", lambda: compared([scored], site))
        for page in ("pairs-bench-1", "tradeoffs-bench-1", "versus-bench-method-0"):
            opened(site / f"{page}.html")
        print(f"{asked.cases} cases x {asked.methods} methods")
        run = gallery_run(folder / "gallery-run", asked.cases, asked.methods)
        timed("  the whole site with its pictures", lambda: build([run], folder / "site-gallery"))
        opened(folder / "site-gallery" / "cases-bench.html")
        opened(folder / "site-gallery" / "cases-bench-1.html")


if __name__ == "__main__":
    main()
