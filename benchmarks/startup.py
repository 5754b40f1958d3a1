"""Start-up of the light verbs, side by side with a bare interpreter and with importing torch, in one run.

    python benchmarks/startup.py [rounds]

Prints the median wall time of each, and its ratio to a bare `python -c pass`. Commands take turns, so that a machine
that changes its speed slows all of them.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

SUITE = Path(__file__).parents[1] / "suites" / "vcf.yaml"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "cfbench --help": ["-m", "cfbench", "--help"],
    "cfbench plugins": ["-m", "cfbench", "plugins"],
    "cfbench plan suites/vcf.yaml": ["-m", "cfbench", "plan", str(SUITE)],
    "python -c 'import torch'": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    """Time one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main(rounds: int) -> None:
    """Time every command in turn and print the table."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    bare = median(times["python -c pass"][1:])
    for name, taken in times.items():
        middle = median(taken[1:])  # the first round only warms the file cache
        print(f"{name:32}{middle:8.3f} s  {middle / bare:6.1f} x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
