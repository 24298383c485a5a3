"""Read what the jobs of a plan left: scores of finished evaluations, and reasons for the others."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.analysis.bootstrap import Scores
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob
from cg_lab.results import Layout, read_failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What there is and what there is not, by id of the evaluation."""

    scores: dict[str, Scores]
    reasons: dict[str, str]
    metrics: dict[str, dict[str, float]]
    """Beside accuracy, by name; empty for results that older versions wrote."""


def read_scores(plan: Plan, layout: Layout) -> Readings:
    """Read the predictions of every finished evaluation of a plan."""
    scores: dict[str, Scores] = {}
    reasons: dict[str, str] = {}
    metrics: dict[str, dict[str, float]] = {}
    for job in plan.evals:
        if not layout.result(job.id).exists():
            reasons[job.id] = _explain(job, layout)
            continue
        try:
            scores[job.id] = _read_one(layout, job.id)
            metrics[job.id] = json.loads(layout.result(job.id).read_bytes()).get("metrics", {})
        except (OSError, pa.ArrowInvalid) as error:
            reasons[job.id] = f"predictions.parquet of job {job.id} can't be read ({_first_line(str(error))})"
    return Readings(scores=scores, reasons=reasons, metrics=metrics)


def _read_one(layout: Layout, job_id: str) -> Scores:
    file = pq.ParquetFile(layout.predictions(job_id))
    score = "score" if "score" in file.schema_arrow.names else "correct"  # as older versions wrote it
    table = file.read(columns=["question", "group", score]).to_pydict()
    questions = tuple(table["question"])
    groups = tuple(group or question for group, question in zip(table["group"], questions, strict=True))
    return Scores(questions=questions, groups=groups, correct_SQ=np.array([table[score]], dtype=np.float64))


def _explain(job: EvalJob, layout: Layout) -> str:
    if job.checkpoint_of and (failure := read_failure(layout, job.checkpoint_of)):
        return f"its fine-tune failed ({failure.kind}): {_first_line(failure.message)}"
    if failure := read_failure(layout, job.id):
        return f"failed ({failure.kind}): {_first_line(failure.message)}"
    return "not run yet"


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0] or "no message"
