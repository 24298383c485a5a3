"""Read what the jobs of a plan left: scores of finished evaluations, and reasons for the others."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.analysis.bootstrap import FloatArray, Scores
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
    confidences: dict[str, FloatArray]
    """Probability of the option that was chosen, among those offered, for each question; not of written answers."""


def read_scores(plan: Plan, layout: Layout) -> Readings:
    """Read the predictions of every finished evaluation of a plan."""
    scores: dict[str, Scores] = {}
    reasons: dict[str, str] = {}
    metrics: dict[str, dict[str, float]] = {}
    confidences: dict[str, FloatArray] = {}
    for job in plan.evals:
        if not layout.result(job.id).exists():
            reasons[job.id] = _explain(job, layout)
            continue
        try:
            scores[job.id], sure_Q = _read_one(layout, job.id)
            if sure_Q is not None:
                confidences[job.id] = sure_Q
            metrics[job.id] = json.loads(layout.result(job.id).read_bytes()).get("metrics", {})
        except (OSError, pa.ArrowInvalid) as error:
            reasons[job.id] = f"predictions.parquet of job {job.id} can't be read ({_first_line(str(error))})"
    return Readings(scores=scores, reasons=reasons, metrics=metrics, confidences=confidences)


def _read_one(layout: Layout, job_id: str) -> tuple[Scores, FloatArray | None]:
    file = pq.ParquetFile(layout.predictions(job_id))
    score = "score" if "score" in file.schema_arrow.names else "correct"  # as older versions wrote it
    has_log_probs = "log_probs" in file.schema_arrow.names
    whole = file.read(columns=["question", "group", score, *(["log_probs"] if has_log_probs else [])])
    sure_Q = _find_confidence(whole["log_probs"].combine_chunks()) if has_log_probs else None
    table = whole.select(["question", "group", score]).to_pydict()
    questions = tuple(table["question"])
    groups = tuple(group or question for group, question in zip(table["group"], questions, strict=True))
    scores = Scores(questions=questions, groups=groups, correct_SQ=np.array([table[score]], dtype=np.float64))
    return scores, sure_Q


def _find_confidence(log_probs: pa.ListArray) -> FloatArray | None:
    """Give the largest share of the likelihood among each question's options; None where some have no likelihoods."""
    lengths = np.diff(log_probs.offsets.to_numpy())
    if log_probs.null_count or not len(lengths) or not lengths.all():
        return None
    starts = log_probs.offsets.to_numpy()[:-1] - log_probs.offsets.to_numpy()[0]
    values = log_probs.flatten().to_numpy().astype(np.float64)
    largest_Q = np.maximum.reduceat(values, starts)
    weights = np.exp(values - np.repeat(largest_Q, lengths))
    return 1 / np.add.reduceat(weights, starts)


def _explain(job: EvalJob, layout: Layout) -> str:
    if job.checkpoint_of and (failure := read_failure(layout, job.checkpoint_of)):
        return f"its fine-tune failed ({failure.kind}): {_first_line(failure.message)}"
    if failure := read_failure(layout, job.id):
        return f"failed ({failure.kind}): {_first_line(failure.message)}"
    return "not run yet"


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0] or "no message"
