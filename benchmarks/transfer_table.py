"""What training on every pair, on single subsets and on some larger mixtures does for every other subset of a world.

    python benchmarks/transfer_table.py [WORLD] [--seeds 0,1] [--results FOLDER]

Trains what `benchmarks/transfer_tables/WORLD.csv` lacks, as one study with `design=transfer`, and writes it anew;
without a world it says what the tables have.
`--results` keeps the fine-tunes in a folder, so that a run that was stopped goes on. A fine-tune takes some 15 s on one
core, and there are 114 for each seed of a world. benchmarks/recommend.py reads the tables.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import pyarrow.parquet as pq

from cg_lab.results import Layout, read_plan

TABLES = Path(__file__).parent / "transfer_tables"
MODALITIES, AREAS, TASKS = ("CT", "MRI", "US"), ("Lung", "Brain"), ("Mass", "Bleed")
SUBSETS = tuple(sorted("-".join(cell).lower() for cell in product(MODALITIES, AREAS, TASKS)))
SAMPLES = 1536
HEAD = ("seed", "mixture", "target", "right_first", "right_second", "questions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How one fine-tune answered one target's test questions."""

    seed: int
    mixture: tuple[str, ...]
    target: str
    right_first: int
    """Of the first half of the questions, which may serve for validation; the other half then judges."""
    right_second: int
    questions: int
    """Of both halves."""


def list_mixtures() -> list[tuple[str, ...]]:
    """List single subsets, pairs, and for each target all others, its related ones, and the nearest of these."""
    found: dict[tuple[str, ...], None] = dict.fromkeys([*combinations(SUBSETS, 1), *combinations(SUBSETS, 2)])
    for target in SUBSETS:
        shared = {name: sum(map(str.__eq__, name.split("-"), target.split("-"))) for name in SUBSETS}
        for fewest in (0, 1, 2):
            found[tuple(name for name in SUBSETS if name != target and shared[name] >= fewest)] = None
    return list(found)


def read_table(world: str) -> list[Answers]:
    """Read what was trained before."""
    path = TABLES / f"{world}.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Answers(
                seed=int(row["seed"]),
                mixture=tuple(row["mixture"].split("+")),
                target=row["target"],
                right_first=int(row["right_first"]),
                right_second=int(row["right_second"]),
                questions=int(row["questions"]),
            )
            for row in csv.DictReader(file)
        ]


def write_table(world: str, answers: list[Answers]) -> None:
    """Write a table, in order of seed, size and name."""
    rows = sorted(answers, key=lambda part: (part.seed, len(part.mixture), part.mixture, part.target))
    with (TABLES / f"{world}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(
            (part.seed, "+".join(part.mixture), part.target, part.right_first, part.right_second, part.questions)
            for part in rows
        )


def train(world: str, seed: int, mixtures: list[tuple[str, ...]], results: Path, keep: str = "nothing") -> None:
    """Train on some mixtures and ask about all subsets that they show nothing of; what is done is not repeated."""
    named = ",".join(f"[{','.join(mixture)}]" for mixture in mixtures)
    command = [
        sys.executable,
        "-m",
        "cg_lab",
        "sweep",
        "design=transfer",
        "design.sizes=[]",
        f"design.mixtures=[{named}]",
    ]
    command += [f"data.world={world}", f"data.modalities=[{','.join(MODALITIES)}]", f"data.areas=[{','.join(AREAS)}]"]
    command += [f"data.tasks=[{','.join(TASKS)}]", "data.targets=null", "arms=[zero_shot,related]", f"seeds=[{seed}]"]
    command += [f"design.max_samples={SAMPLES}", f"study={name_study(world, seed)}", f"results_dir={results}"]
    subprocess.run([*command, "tracking=none", f"keep={keep}", "report_images=false"], check=True)


def name_study(world: str, seed: int) -> str:
    """Name the study of a world and seed."""
    return f"transfer_{world}_{seed}"


def read_answers(results: Path, study: str) -> Iterator[Answers]:
    """Read the answers of a study's finished fine-tunes."""
    layout = Layout(results)
    plan = read_plan(layout.plan(study))
    for job in plan.evals:
        if job.checkpoint_of is None or not layout.result(job.id).exists():
            continue
        tune = plan.finetune_by_id[job.checkpoint_of]
        right = pq.read_table(layout.predictions(job.id), columns=["correct"])["correct"].to_pylist()
        yield Answers(
            seed=tune.seed,
            mixture=tuple(part.subset for part in tune.mixture.parts),
            target=job.target,
            right_first=sum(right[: len(right) // 2]),
            right_second=sum(right[len(right) // 2 :]),
            questions=len(right),
        )


def main() -> None:
    """Train what is missing of some seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", nargs="?")
    parser.add_argument("--seeds", default="0", help="such as 0,1")
    parser.add_argument("--results", type=Path, help="a folder that is kept")
    given = parser.parse_args()
    if given.world is None:
        for path in sorted(TABLES.glob("*.csv")):
            known = read_table(path.stem)
            print(f"{path.stem}: {len({(part.seed, part.mixture) for part in known})} fine-tunes, {len(known)} answers")
        return
    TABLES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        results = given.results or Path(scratch)
        for seed in map(int, given.seeds.split(",")):
            known = read_table(given.world)
            trained = {part.mixture for part in known if part.seed == seed}
            if missing := [mixture for mixture in list_mixtures() if mixture not in trained]:
                train(given.world, seed, missing, results)
                write_table(given.world, [*known, *read_answers(results, name_study(given.world, seed))])


if __name__ == "__main__":
    main()
