"""What averages of models that were each trained on one subset answer: Merge to Mix (arXiv 2505.16066), no training.

    python benchmarks/merge_table.py WORLD --results FOLDER

Trains on each subset of a world alone in FOLDER, where that is not done yet, averages the weights of each mixture of
transfer_table.py, asks every target the first half of its questions, and writes benchmarks/merged_tables/WORLD.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from transfer_table import SUBSETS, list_mixtures, name_study, train

from cg_lab.evaluation.predictions import tabulate_choices
from cg_lab.execution.packs import read_order
from cg_lab.execution.workset import open_workset
from cg_lab.models.backbone import LoadedBackbone, using_weights
from cg_lab.models.scoring import score_options
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, read_plan

MERGED = Path(__file__).parent / "merged_tables"
HEAD = ("mixture", "target", "right_first", "questions_first")


@cache
def read_merged(world: str) -> dict[tuple[tuple[str, ...], str], float]:
    """Read how many of a target's first questions the average of a mixture's models answered; empty if not measured."""
    path = MERGED / f"{world}.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (tuple(row["mixture"].split("+")), row["target"]): int(row["right_first"]) / int(row["questions_first"])
            for row in csv.DictReader(file)
        }


def find_weights(plan: Plan, layout: Layout) -> dict[str, Path]:
    """Find the weights that were trained on one subset alone."""
    return {
        job.mixture.parts[0].subset: layout.weights(job.id)
        for job in plan.finetunes
        if len(job.mixture.parts) == 1 and job.seed == 0
    }


def read_states(backbone: LoadedBackbone, folders: Mapping[str, Path]) -> dict[str, dict[str, torch.Tensor]]:
    """Read all weights of some fine-tunes, by the names that they have in memory."""
    states: dict[str, dict[str, torch.Tensor]] = {}
    for name, folder in folders.items():
        with using_weights(backbone, folder):
            states[name] = {key: values.clone() for key, values in backbone.model.state_dict().items()}
    return states


def use_average(backbone: LoadedBackbone, states: Sequence[Mapping[str, torch.Tensor]]) -> None:
    """Give a backbone the mean of some fine-tunes' weights."""
    own = backbone.model.state_dict()
    with torch.no_grad():
        for name, values in own.items():
            if values.is_floating_point():
                values.copy_(torch.stack([state[name] for state in states]).mean(dim=0))


def ask_averages(plan: Plan, layout: Layout) -> list[tuple[str, str, int, int]]:
    """Ask every mixture's average about every subset that it shows nothing of."""
    jobs = {job.target: job for job in plan.evals if job.checkpoint_of}
    workset = open_workset(next(iter(jobs.values())), plan, read_order(layout, plan.study), layout, threads=1)
    states = read_states(workset.backbone, find_weights(plan, layout))
    rows: list[tuple[str, str, int, int]] = []
    for mixture in list_mixtures():
        use_average(workset.backbone, [states[name] for name in mixture])
        for target in SUBSETS:
            if target in mixture:
                continue
            asked = workset.ask(jobs[target])
            asked = asked[: len(asked) // 2]
            scores = score_options(workset.backbone, [item.turns for item in asked], 64)
            texts: list[tuple[str, ...]] = [()] * len(asked)
            found, _ = tabulate_choices(asked, scores, texts, workset.backbone.identity.answer)
            rows.append(("+".join(mixture), target, sum(bool(row["correct"]) for row in found), len(found)))
    return rows


def main() -> None:
    """Train what is missing, and write the table of a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--results", type=Path, required=True, help="a folder that is kept")
    parser.add_argument("--study", help="one of it that has trained on each subset alone, with keep=full")
    given = parser.parse_args()
    study = given.study or name_study(given.world, 0)
    if given.study is None:
        train(given.world, 0, [(name,) for name in SUBSETS], given.results, keep="full")
    layout = Layout(given.results)
    rows = ask_averages(read_plan(layout.plan(study)), layout)
    MERGED.mkdir(exist_ok=True)
    with (MERGED / f"{given.world}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
