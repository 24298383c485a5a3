"""Seconds from a command to its end: `--help`, `plan`, and a sweep that has nothing to do."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7


def measure(*arguments: str) -> float:
    """Give the median wall clock of several runs of a whole process."""
    seconds: list[float] = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Print a line for each command; a bare interpreter is the peer."""
    with tempfile.TemporaryDirectory() as folder:
        bare = measure("-c", "pass")
        print(f"{'python -c pass':<40} {bare:.2f} s")
        commands: list[tuple[str, ...]] = [("--help",), ("plan", f"results_dir={folder}")]
        if Path("results/studies/phantom_compositional_two_source/report.html").exists():
            commands.append(("sweep",))
        for command in commands:
            print(f"{'cg_lab ' + command[0]:<40} {measure('-m', 'cg_lab', *command):.2f} s")


if __name__ == "__main__":
    main()
