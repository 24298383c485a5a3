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
    if log_probs.null_count or not len(log_probs) or not log_probs.value_lengths().to_numpy().all():
        return None
    return to_shares(log_probs).max(axis=1)


def to_shares(log_probs: pa.ListArray) -> FloatArray:
    """Make the log-likelihoods of each question's options add up to 1.

    Returns
    -------
    Array of shape (questions, most options), 0 beyond a question's own.

    """
    widths_Q = log_probs.value_lengths().to_numpy()
    values_QO = np.full((len(widths_Q), int(widths_Q.max())), -np.inf)
    values_QO[np.arange(values_QO.shape[1]) < widths_Q[:, None]] = log_probs.flatten().to_numpy()
    weights_QO = np.exp(values_QO - values_QO.max(axis=1, keepdims=True))
    return weights_QO / weights_QO.sum(axis=1, keepdims=True)


def _explain(job: EvalJob, layout: Layout) -> str:
    if job.checkpoint_of and (failure := read_failure(layout, job.checkpoint_of)):
        return f"its fine-tune failed ({failure.kind}): {_first_line(failure.message)}"
    if failure := read_failure(layout, job.id):
        return f"failed ({failure.kind}): {_first_line(failure.message)}"
    return "not run yet"


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0] or "no message"
