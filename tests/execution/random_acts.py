"""Random acts on one results folder, killed at any moment; at the end each study is what nobody disturbed.

`python -m tests.execution.random_acts --runs 20 --acts 50 --seed 0` prints each act; a run is replayed with its seed,
though what is under way at an act is up to the machine. All is real, but for the work of jobs, which takes a moment,
and for the two tracking servers, which are two SQLite files: a server takes longer to start than all acts of a run.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.execution.playground import Playground, disturb, find_faults, finish, make_stores


def play(folder: Path, seed: int, num_acts: int) -> list[str]:
    """Do random acts and give what they broke."""
    ground = Playground(folder, random.Random(seed))
    make_stores(ground)
    disturb(ground, num_acts)
    finish(ground)
    return list(find_faults(ground))


def play_all() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--acts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the next one has the next")
    parser.add_argument("--keep", action="store_true", help="keep the folders of runs without a fault too")
    given = parser.parse_args()
    broken = 0
    for seed in range(given.seed, given.seed + given.runs):
        began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix=f"random-acts-{seed}-"))
        print(f"run with seed {seed}, {given.acts} acts, in {folder}", flush=True)
        faults = play(folder, seed, given.acts)
        print(f"seed {seed}: {len(faults)} faults in {time.monotonic() - began:.0f} s", flush=True)
        print("".join(f"  fault: {fault}\n" for fault in faults), end="", flush=True)
        broken += bool(faults)
        if not given.keep and not faults:
            shutil.rmtree(folder)
    print(f"{given.runs - broken} of {given.runs} runs left nothing broken")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(play_all())
