"""A whole two-source matrix on this machine: planned, run, reported; against one cold process for each experiment.

The catalogue is of phantoms, the matrix as large as Med-MAT's table 3: 23 targets, two combinations for each, with the
zero-shot, unrelated, related and ceiling arms, and every model is asked about all targets. The peer starts a process
for each experiment as it was declared, without sharing: it loads the model, trains with all threads and answers the
same questions, by the same code. A few of its experiments are run, spread over the matrix; their median stands for all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime
from itertools import pairwise, product
from pathlib import Path

from shapes import describe_machine

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.bench import Conduct, ModelBench, Surface
from cg_lab.execution.packs import Order
from cg_lab.execution.run import run_plan
from cg_lab.execution.team import Team
from cg_lab.journal import read_events
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import ORIGINAL, EvalJob
from cg_lab.reporting.write import write_report
from cg_lab.results import Layout, write_plan
from cg_lab.serialize import content_id

NUM_TARGETS = 23
OVERRIDES = [
    "seeds=[0]", "arms=[zero_shot,unrelated,related,ceiling]", "design.directions=[modality,area]",
    "design.combinations=1", "design.max_samples=768", "data.test_per_subset=64", "tracking=none",
    "evaluation.untouched_by=likelihood", "cache_gb=0",
]  # fmt: skip
QUICK = ["data.train_per_subset=32", "data.test_per_subset=8", "design.max_samples=64"]


def make_plan(num_targets: int, more: list[str]) -> Plan:
    """Plan the matrix and let every model be asked about every target."""
    catalog = read_catalog(read_study([*OVERRIDES, *more]).data)
    # Spread over the catalogue, so that every element is held out somewhere.
    names = sorted(catalog.names, key=lambda name: content_id("target", 1, [name]))[:num_targets]
    study = read_study([*OVERRIDES, *more, f"targets=[{','.join(sorted(names))}]"])
    plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_model(study.model))])
    evals = {job.id: job for job in plan.evals}
    for tune, target in product([None, *plan.finetunes], sorted(names)):
        job = EvalJob(
            data=catalog.data, backbone=plan.backbones[0], target=target, checkpoint_of=tune.id if tune else None,
            protocol=ORIGINAL,
        )  # fmt: skip
        evals.setdefault(job.id, job)
    return replace(plan, evals=tuple(evals[job_id] for job_id in sorted(evals)))


def make_order(plan: Plan, more: list[str]) -> Order:
    """Run on this machine, a job on each core."""
    study = read_study([*OVERRIDES, *more])
    return Order(study=plan.study, cluster=study.cluster, tracking=study.tracking, eval_batch_size=64)


def measure_gaps(layout: Layout) -> list[float]:
    """Give the seconds between a job's end and the next one's begin in the same process."""
    moments: dict[int, list[tuple[float, str]]] = {}
    for journal in layout.jobs.glob("*/journal.jsonl"):
        process = 0
        for event in read_events(journal):
            process = event.get("pid", process)
            if event["event"] in {"started", "done"}:
                moment = datetime.fromisoformat(event["time"]).timestamp()
                moments.setdefault(process, []).append((moment, event["event"]))
    gaps: list[float] = []
    for listed in moments.values():
        # Of two events in one millisecond the end comes first.
        listed.sort(key=lambda pair: (pair[0], pair[1] != "done"))
        gaps += [
            begin - end for (end, first), (begin, second) in pairwise(listed) if (first, second) == ("done", "started")
        ]
    return gaps


def run_cold(number: int, arguments: argparse.Namespace) -> None:
    """Run one experiment from its beginning, in this process."""
    more = QUICK if arguments.quick else []
    plan = make_plan(arguments.targets, more)
    tune = plan.finetunes[number]
    with tempfile.TemporaryDirectory() as folder:
        surface = Surface(
            plan=plan, order=make_order(plan, more), layout=Layout(Path(folder)), threads=os.cpu_count() or 1,
            team=Team(rank=0, size=1),
        )  # fmt: skip
        bench = ModelBench(surface)
        conduct = Conduct(event=lambda *_, **__: None, is_stopping=bool, parts=1)
        for job in (tune, *(job for job in plan.evals if job.checkpoint_of == tune.id)):
            bench.run(job, conduct)


def main() -> None:
    """Run the matrix, then some of the peer's experiments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=NUM_TARGETS)
    parser.add_argument("--cold", type=int, default=6, help="experiments of the peer to run")
    parser.add_argument("--quick", action="store_true", help="small subsets, to see that it runs")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        run_cold(arguments.one, arguments)
        return
    print(describe_machine())
    more = QUICK if arguments.quick else []
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        began = time.perf_counter()
        plan = make_plan(arguments.targets, more)
        write_plan(layout, plan)
        outcome = run_plan(plan, make_order(plan, more), layout, lambda _: None)
        files = write_report(layout, plan.study)
        ours = time.perf_counter() - began
        gaps = measure_gaps(layout)
        assert outcome.num_failed == 0
        assert not files.effects.missing
    declared = sum(1 for cell in plan.cells if cell.finetune_job is not None)
    print(
        f"{len(plan.cells)} cells over {arguments.targets} targets: {len(plan.finetunes)} fine-tunes for {declared} "
        f"declared ones, {len(plan.evals)} evaluations, intervals and report: {ours:.0f} s"
    )
    print(f"from a job's end to the next one's begin: {statistics.median(gaps):.3f} s, at most {max(gaps):.3f} s")
    command = [sys.executable, __file__, f"--targets={arguments.targets}", *(["--quick"] if arguments.quick else [])]
    seconds: list[float] = []
    for place in range(arguments.cold):
        began = time.perf_counter()
        number = place * len(plan.finetunes) // arguments.cold
        subprocess.run([*command, f"--one={number}"], check=True, stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    cold = statistics.median(seconds) * declared
    print(
        f"one cold process for each of {declared} experiments: {statistics.median(seconds):.1f} s each (median of "
        f"{arguments.cold}), {cold:.0f} s in all: {cold / ours:.2f} x"
    )


if __name__ == "__main__":
    main()
