"""Plan over a manifest of millions of lines: the first time, again, and with one file touched.

    python benchmarks/manifest.py FOLDER [--rows 2000000] [--files 4000] [--subsets 40] [--once]
    python benchmarks/manifest.py FOLDER --rows 20000 --files 20000 --side 96

Every line names a path of its own; so many different files lie there, each under as many names (hard links), or with
`--once` under one, so that most lines name images that are not there. Seconds and the peak of memory are those of a
whole process; seconds of CPU tell what a busy machine hides.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

PER_FOLDER = 5_000
LABELS = 4
PER_PATIENT = 2
"""Different files of one patient."""

WRAPPER = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""Asks for a process's memory from a small one: a fork begins with the memory of its parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process took."""

    seconds: float
    cpu: float
    memory_gb: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.cpu:.1f} s of CPU), {self.memory_gb:.2f} GB"


def write_manifest(folder: Path, rows: int, files: int, subsets: int, side: int, *, is_once: bool) -> None:
    """Draw the files, link them under other names, and list all names."""
    drawn = folder / "drawn"
    drawn.mkdir(parents=True)
    for number in range(files):
        coarse = np.random.default_rng(number).integers(0, 256, (12, 12), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        image.save(drawn / f"{number}.png", compress_level=1)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "label", "modality", "area", "task", "group"])
        for row in range(rows):
            number = row % files
            subset = (row // files + number * subsets // files) % subsets
            name = f"images/{row // PER_FOLDER:04d}/{row:07d}.png"
            if row == number or not is_once:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(drawn / f"{number}.png", folder / name)
            label = f"finding {(number // PER_PATIENT + subset) % LABELS}"
            elements = (f"modality {subset % 5}", f"area {subset // 5 % 4}", f"task {subset // 20}")
            writer.writerow([name, label, *elements, f"patient {number // PER_PATIENT}"])
    shutil.rmtree(drawn)


def measure(command: list[str]) -> Cost:
    """Run a command."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", WRAPPER, *command], check=True, capture_output=True, text=True)
    cpu, memory = map(float, done.stdout.strip().strip("[]").split(","))
    return Cost(seconds=time.perf_counter() - begun, cpu=cpu, memory_gb=memory * 1024 / 1e9)


def touch(folder: Path) -> None:
    """Give one file a new time, under all of its names; one of few names is copied to a file of its own first."""
    path = next(folder.glob("images/0000/*.png"))
    payload = path.read_bytes()
    path.unlink()
    path.write_bytes(payload)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--files", type=int, default=4_000)
    parser.add_argument("--subsets", type=int, default=40)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--once", action="store_true", help="let each file lie there under one name alone")
    given = parser.parse_args()
    if not given.folder.exists():
        write_manifest(given.folder, given.rows, given.files, given.subsets, given.side, is_once=given.once)
    results = given.folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    command = [sys.executable, "-m", "cg_lab", "plan", "data=manifest", f"data.path={given.folder / 'manifest.csv'}",
               "targets=[modality-0-area-0-task-0]", "seeds=[0]", f"results_dir={results}", "study=large"]  # fmt: skip
    first = measure(command)
    print(f"{given.rows:,} lines, {given.files:,} files: the first plan {first}", flush=True)
    again = measure(command)
    print(f"unchanged {again}: {again.seconds / first.seconds:.3f} of the first", flush=True)
    touch(given.folder)
    touched = measure(command)
    print(
        f"one file touched {touched}: {touched.seconds / first.seconds:.3f} of the first, "
        f"{touched.seconds / again.seconds:.2f} x unchanged ({touched.cpu / again.cpu:.2f} x by CPU)"
    )


if __name__ == "__main__":
    main()
