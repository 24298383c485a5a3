"""Statistics and the report of a large study whose answers are drawn.

    python benchmarks/report.py [--cells 1000]

A thousand paired comparisons with ten thousand resamples each, against scipy's `bootstrap`; then the whole report of a
study of about so many cells.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import bootstrap

from cg_lab.analysis.bootstrap import Resampling, Scores, resample_mean, subtract, summarize
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.reporting.write import write_report
from cg_lab.results import EvalResult, Layout, write_plan, write_result

STARTED = "2026-01-01T00:00:00+00:00"
QUESTIONS = 240
SEEDS = 3


def measure_comparisons(count: int) -> None:
    """Compare a thousand pairs of arms."""
    generator = np.random.default_rng(0)
    names = tuple(map(str, range(QUESTIONS)))

    def draw() -> Scores:
        right = (generator.random((SEEDS, QUESTIONS)) < 0.5).astype(float)
        return Scores(questions=names, groups=names, correct_SQ=right)

    pairs = [(draw(), draw()) for _ in range(count)]
    resampling = Resampling(num_resamples=10_000, seed=0, confidence=0.95)
    begun, cpu = time.perf_counter(), time.process_time()
    for first, second in pairs:
        difference = subtract(first, second)
        summarize(float(difference.correct_SQ.mean()), resample_mean(difference, resampling), 0.95)
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    few = 20
    begun = time.perf_counter()
    for first, second in pairs[:few]:
        means = (first.correct_SQ - second.correct_SQ).mean(axis=0)
        bootstrap((means,), np.mean, n_resamples=10_000, method="percentile", rng=generator)
    peer = (time.perf_counter() - begun) / few * count
    print(
        f"{count:,} paired comparisons of {SEEDS} x {QUESTIONS} answers, 10,000 resamples each: {seconds:.1f} s, "
        f"{used:.1f} s of CPU; scipy's bootstrap over questions alone, from {few} of them, {peer:.1f} s: "
        f"{peer / seconds:.1f} x"
    )


def measure_report(cells: int) -> None:
    """Write the whole report of a study."""
    per_seed = 68
    seeds = max(1, round(cells / per_seed))
    seed_list = ",".join(map(str, range(seeds)))
    study = read_study(["data=med_mat", "design=two_source", f"seeds=[{seed_list}]", "study=many"])
    backbone = identify_backbone(study.model)
    plan = build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        layout = Layout(Path(place))
        write_plan(layout, plan)
        sizes = {subset.name: subset.num_test for subset in plan.catalogs[0].subsets}
        for job in plan.evals:
            count = sizes[job.target]
            score = (generator.random(count) < 0.5).astype(float)
            table = pa.table({"question": [str(row) for row in range(count)], "group": [None] * count, "score": score})
            layout.job(job.id).mkdir(parents=True, exist_ok=True)
            pq.write_table(table, layout.predictions(job.id))
            write_result(
                layout,
                EvalResult(
                    job=job,
                    num_questions=count,
                    accuracy=float(score.mean()),
                    seconds=1.0,
                    host="here",
                    started=STARTED,
                ),
            )
        begun = time.perf_counter()
        files = write_report(layout, "many")
        seconds = time.perf_counter() - begun
        print(
            f"report of {len(plan.cells):,} cells and {len(plan.contrasts)} held-out questions: {seconds:.1f} s, "
            f"{files.html.stat().st_size / 1e6:.1f} MB of HTML"
        )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    given = parser.parse_args()
    measure_comparisons(1000)
    measure_report(given.cells)


if __name__ == "__main__":
    main()
