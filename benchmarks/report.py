"""Statistics and the report of a large study whose answers are drawn.

    python benchmarks/report.py [--cells 1000]

A thousand paired comparisons with ten thousand resamples each, against scipy's `bootstrap`; then the whole report of a
study of so many cells or a few more, with probabilities, examples and what is taken for what.
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

from cg_lab.analysis.bootstrap import Resampling, Scores, resample_means, subtract, summarize
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.evaluation.predictions import PREDICTIONS
from cg_lab.mat import Subset
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
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
        summarize(float(difference.correct_SQ.mean()), resample_means([difference], resampling)[0], 0.95)
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
    targets = 1
    while len((plan := build_study(targets)).cells) < cells:
        targets += 1
    with tempfile.TemporaryDirectory() as place:
        layout = Layout(Path(place))
        write_plan(layout, plan)
        write_answers(layout, plan)
        begun = time.perf_counter()
        files = write_report(layout, plan.study)
        seconds = time.perf_counter() - begun
        text = files.html.read_text(encoding="utf-8")
        assert all(f"<h2>{heading}</h2>" in text for heading in ("How sure the models are", "Examples"))
        print(
            f"report of {len(plan.cells):,} cells, {len(plan.contrasts)} held-out questions with {SEEDS} seeds, "
            f"{text.count('data:image')} images: {seconds:.1f} s, {files.html.stat().st_size / 1e6:.2f} MB of HTML"
        )


def build_study(num_targets: int) -> Plan:
    """Plan a study of phantoms, whose images can be shown, with the first so many subsets held out."""
    seeds = ",".join(map(str, range(SEEDS)))
    catalog = read_catalog(read_study([]).data)
    targets = ",".join(subset.name for subset in catalog.subsets[:num_targets])
    study = read_study([f"targets=[{targets}]", f"seeds=[{seeds}]", "study=many"])
    return build_plan([Run(name="", study=study, catalog=catalog, backbone=identify_model(study.model))])


def write_answers(layout: Layout, plan: Plan) -> None:
    """Leave what all evaluations leave, with drawn answers."""
    subsets = {subset.name: subset for subset in plan.catalogs[0].subsets}
    for number, job in enumerate(plan.evals):
        table = draw_answers(subsets[job.target], np.random.default_rng(number))
        layout.job(job.id).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, layout.predictions(job.id))
        accuracy = float(np.mean(table["score"].to_numpy()))
        write_result(
            layout,
            EvalResult(
                job=job, num_questions=table.num_rows, accuracy=accuracy, seconds=1.0, host="here", started=STARTED
            ),
        )  # fmt: skip


def draw_answers(subset: Subset, generator: np.random.Generator) -> pa.Table:
    """Draw what a model answers to each question of a subset: options, their log-likelihoods and the likeliest."""
    count, width = subset.num_test, subset.num_options
    options = list(subset.labels[:width])
    log_probs_QO = np.log(generator.dirichlet(np.ones(width), size=count))
    answers = np.arange(count) % width
    choices = log_probs_QO.argmax(axis=1)
    rows = [
        {
            "question": f"{subset.name}/test/{number}", "subset": subset.name, "instruction": "What does it show?",
            "options": options, "log_probs": log_probs_QO[number].tolist(), "answer": int(answers[number]),
            "choice": int(choices[number]), "correct": bool(choices[number] == answers[number]),
            "score": float(choices[number] == answers[number]),
        }
        for number in range(count)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    given = parser.parse_args()
    measure_comparisons(1000)
    measure_report(given.cells)


if __name__ == "__main__":
    main()
