"""How long `recommend` takes over Med-MAT's catalogue with a thousand finished cells, as a whole process.

    python benchmarks/recommend_speed.py

Each classification subset alone, asked about all others, with made-up results; nothing is trained. The search for
mixtures of up to five subsets is a part of it, and is measured by itself too.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_graph, build_plan
from cg_lab.recommendation import rank_mixtures
from cg_lab.recommendation.finished_answers import read_evidence
from cg_lab.recommendation.subset_relations import relate_subsets
from cg_lab.results import EvalResult, Layout, write_plan, write_result
from cg_lab.study import Backbone

STUDY = ("data=med_mat", "design=transfer", "arms=[zero_shot,related]", "seeds=[0]", "study=evidence")
ROUNDS = 5
STARTED = "2026-01-01T00:00:00.000+00:00"


def main() -> None:
    """Make results and measure."""
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        study = read_study([*STUDY])
        catalog, backbone = read_catalog(study.data), identify_model(study.model)
        plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=backbone)])
        write_plan(layout, plan)
        dice = random.Random(0)
        for job in plan.evals:
            result = EvalResult(
                job=job, num_questions=200, accuracy=dice.uniform(0.3, 0.9), seconds=1.0, host="here", started=STARTED
            )
            write_result(layout, result)
        target = plan.contrasts[0].target
        command = [sys.executable, "-m", "cg_lab", "recommend", target, "data=med_mat", f"results_dir={folder}"]
        seconds = [time_call(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(ROUNDS)]
        counted = f"{len(catalog.subsets)} subsets, {len(plan.cells):,} finished cells"
        print(f"{counted}: {median(seconds):.2f} s (median of {ROUNDS})")
        relations = relate_subsets(build_graph(catalog, study))
        assert isinstance(backbone, Backbone)
        evidence = read_evidence(layout, relations, target, data=catalog.data, backbone=backbone, recipe=study.finetune)
        searching = time_call(lambda: rank_mixtures(relations, evidence, target, 1536, most=10, confidence=0.95))
        print(f"of which search and calibration {searching:.2f} s")


def time_call(work: Callable[[], object]) -> float:
    """Give the seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
