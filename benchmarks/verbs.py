"""What looks at a finished study of many cells: `status`, `report` and `sync`, each as a whole process.

    python benchmarks/verbs.py [--cells 20000] [--seeds 1] [--keep FOLDER]

A study over the catalogue of `planner.py`, all of whose jobs left made-up journals, results and answers; nothing is
trained. Reading the plan, a part of each verb, is measured by itself too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from planner import BACKBONE, Taken, make_catalog, make_study, time_process

from cg_lab.arms import Arm
from cg_lab.evaluation.predictions import PREDICTIONS
from cg_lab.mat import Subset
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.results import EvalResult, FinetuneResult, Layout, write_plan, write_result

STARTED = "2026-01-01T00:00:00.000+00:00"
STUDY = "many"
LOGGED = 20
"""Steps of a fine-tune's curve."""
SHARES = {Arm.ZERO_SHOT: 0.5, Arm.UNRELATED: 0.55, Arm.RELATED: 0.7, Arm.CEILING: 0.9, Arm.SOURCES: 0.9}
"""Of answers that are right, by arm; half of the others'."""
READ_PLAN = "import sys; from pathlib import Path; from cg_lab.results import read_plan; read_plan(Path(sys.argv[1]))"


def main() -> None:
    """Make the study and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="make the study here, and leave it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_verbs(given.keep or Path(folder), given.cells, given.seeds)


def measure_verbs(folder: Path, num_cells: int, num_seeds: int) -> None:
    """Make a study and time the verbs on it."""
    layout = Layout(folder)
    plan = plan_study(num_cells, num_seeds)
    write_plan(layout, plan)
    write_results(layout, plan)
    jobs = f"{len(plan.finetunes):,} fine-tunes, {len(plan.evals):,} evaluations"
    size = layout.plan(STUDY).stat().st_size / 1e6
    print(f"{len(plan.cells):,} cells, {len(plan.contrasts):,} held-out questions, {jobs}, plan of {size:.0f} MB")
    del plan
    where = [f"study={STUDY}", f"results_dir={folder}"]
    _tell("reading the plan", time_process("-c", READ_PLAN, str(layout.plan(STUDY))))
    _tell("status", time_process("-m", "cg_lab", "status", *where), "; floor 3 s")
    _tell("report", time_process("-m", "cg_lab", "report", *where), "; floor 30 s")
    files = [path for path in layout.study(STUDY).glob("*.*") if path.name != "plan.json"]
    told = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f}" for path in sorted(files))
    print(f"{'':<24} MB: {told}")
    for name in ("sync", "sync, nothing new"):
        taken = time_process("-m", "cg_lab", "sync", *where)
        runs = json.loads((layout.study(STUDY) / ".synced.json").read_text(encoding="utf-8"))["runs"]
        each = f", {taken.seconds / runs * 1e3:.1f} ms a run, {taken.processor_s / runs * 1e3:.1f} ms of processors"
        _tell(name, taken, each + ("; floor 20 ms" if name == "sync" else ""))


def _tell(name: str, taken: Taken, more: str = "") -> None:
    print(
        f"{name:<24} {taken.seconds:6.2f} s, {taken.processor_s:.2f} s of processors, {taken.memory_gb:.2f} GB{more}",
        flush=True,
    )


def plan_study(num_cells: int, num_seeds: int) -> Plan:
    """Plan a study of at least so many cells, with as few targets as it takes."""
    catalog = make_catalog()
    study = replace(make_study(), study=STUDY, seeds=tuple(range(num_seeds)))

    def build(num_targets: int) -> Plan:
        targets = catalog.names[:: len(catalog.names) // num_targets][:num_targets]
        run = Run(name="", study=replace(study, targets=targets), catalog=catalog, backbone=BACKBONE)
        return build_plan([run])

    return build(-(-num_cells // len(build(1).cells)))


def write_results(layout: Layout, plan: Plan) -> None:
    """Leave what all jobs leave but weights."""
    for job in plan.finetunes:
        _write_journal(layout, job.id, [2.0 * 0.9**step for step in range(LOGGED)])
        write_result(
            layout,
            FinetuneResult(
                job=job, steps=5 * LOGGED, samples=1536, loss_first=2.0, loss_last=0.3, seconds=60, host="node1",
                started=STARTED,
            ),
        )  # fmt: skip
    subsets = {subset.name: subset for subset in plan.catalogs[0].subsets}
    arms = {cell.eval_job: cell.arm for cell in plan.cells}
    for number, job in enumerate(plan.evals):
        _write_journal(layout, job.id, [])
        table = draw_answers(subsets[job.target], SHARES.get(arms[job.id], 0.5), np.random.default_rng(number))
        pq.write_table(table, layout.predictions(job.id))
        accuracy = float(np.mean(table["score"].to_numpy()))
        metrics = {"chance_corrected_accuracy": 2 * accuracy - 1, "recall_A": accuracy, "recall_B": accuracy}
        metrics |= {"letter_recall_spread": 0.0, "calibration_error": 0.1, "brier_score": 0.4}
        write_result(
            layout,
            EvalResult(
                job=job, num_questions=table.num_rows, accuracy=accuracy, metrics=metrics, seconds=5, host="node1",
                started=STARTED,
            ),
        )  # fmt: skip


def _write_journal(layout: Layout, job_id: str, losses: Sequence[float]) -> None:
    """Write a journal as one attempt leaves it."""
    events = [{"time": STARTED, "event": "started", "host": "node1", "task": "local"}]
    events += [
        {"time": STARTED, "event": "log", "step": 5 * step, "loss": loss, "learning_rate": 1e-4, "samples_per_s": 25.0}
        for step, loss in enumerate(losses)
    ]
    events.append({"time": STARTED, "event": "done"})
    layout.job(job_id).mkdir(parents=True, exist_ok=True)
    layout.journal(job_id).write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")


def draw_answers(subset: Subset, share: float, generator: np.random.Generator) -> pa.Table:
    """Draw what a model answers to each question of a subset: so large a share is right."""
    count, width = subset.num_test, subset.num_options
    answer_Q = np.arange(count) % width
    log_probs_QO = np.log(generator.dirichlet(np.ones(width), size=count))
    places_Q = log_probs_QO.argmax(axis=1)
    choice_Q = np.where(generator.random(count) < share, answer_Q, (answer_Q + 1) % width)
    rows_Q = np.arange(count)
    kept = log_probs_QO[rows_Q, choice_Q].copy()  # the likeliest option is the one that is chosen
    log_probs_QO[rows_Q, choice_Q] = log_probs_QO[rows_Q, places_Q]
    log_probs_QO[rows_Q, places_Q] = np.where(places_Q == choice_Q, log_probs_QO[rows_Q, places_Q], kept)
    right_Q = choice_Q == answer_Q
    columns: dict[str, object] = {
        "question": [f"{subset.name}/test/{number}" for number in range(count)],
        "subset": [subset.name] * count,
        "instruction": ["What does it show?"] * count,
        "options": [list(subset.labels[:width])] * count,
        "log_probs": list(log_probs_QO),
        "answer": answer_Q,
        "choice": choice_Q,
        "correct": right_Q,
        "score": right_Q.astype(float),
    }
    arrays = [pa.array(columns.get(part.name, [None] * count), part.type) for part in PREDICTIONS]
    return pa.Table.from_arrays(arrays, schema=PREDICTIONS)


if __name__ == "__main__":
    main()
