"""Read what the jobs of a plan left: scores of finished evaluations, and reasons for the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cg_lab.analysis.bootstrap import FloatArray, Scores
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob
from cg_lab.results import AnswerSource, Layout, read_failure
from cg_lab.study import Backbone

AT_ONCE = 500
"""Files whose answers become arrays together, since one by one that takes as long as reading them."""
COLUMNS = pa.schema(
    {
        "question": pa.string(),
        "group": pa.string(),
        "score": pa.float64(),
        "correct": pa.bool_(),
        "log_probs": pa.list_(pa.float64()),
        "choice": pa.int32(),
    }
)
"""What is read of predictions.parquet; older versions wrote no score, and no likelihoods of some answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What there is and what there is not, by id of the evaluation."""

    scores: dict[str, Scores]
    reasons: dict[str, str]
    metrics: dict[str, dict[str, float]]
    """Beside accuracy, by name; empty for results that older versions wrote."""
    confidences: dict[str, FloatArray]
    """Probability of the option that was chosen, among those offered, for each question; not of written answers."""
    choices: dict[str, np.ndarray]
    """Position of the option that was chosen, for each question; -1 where no option was."""
    imported: dict[str, tuple[AnswerSource, ...]] = field(default_factory=dict)
    """Files that answers come from which other tools got."""


def read_scores(plan: Plan, layout: Layout) -> Readings:
    """Read the predictions of every finished evaluation of a plan."""
    done = layout.list_done()
    jobs = [job for job in plan.evals if job.id in done]
    reasons = {job.id: _explain(job, layout) for job in plan.evals if job.id not in done}
    found = Readings(scores={}, reasons=reasons, metrics={}, confidences={}, choices={})
    asked: dict[str, _Asked] = {}
    for start in range(0, len(jobs), AT_ONCE):
        files: list[tuple[EvalJob, _File]] = []
        for job in jobs[start : start + AT_ONCE]:
            try:
                files.append((job, _read_file(layout, job.id)))
            except (OSError, pa.ArrowInvalid) as error:
                reasons[job.id] = f"predictions.parquet of job {job.id} can't be read ({_first_line(str(error))})"
        answers = _split_answers([file.table for _, file in files])
        for (job, file), (right_Q, sure_Q, choice_Q) in zip(files, answers, strict=True):
            known = asked[job.target] = _find_asked(file.table, asked.get(job.target))
            found.scores[job.id] = Scores(questions=known.questions, groups=known.groups, correct_SQ=right_Q[None])
            found.metrics[job.id] = file.metrics
            if file.imported:
                found.imported[job.id] = file.imported
            if len(sure_Q) and not np.isnan(sure_Q).any():
                found.confidences[job.id] = sure_Q
            if "choice" in file.table.schema.names:
                found.choices[job.id] = choice_Q
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What an evaluation left."""

    table: pa.Table
    metrics: dict[str, float]
    imported: tuple[AnswerSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The questions of a file, as it has them and as scores do."""

    columns: pa.Table
    questions: tuple[str, ...]
    groups: tuple[str, ...]


def _read_file(layout: Layout, job_id: str) -> _File:
    content = pa.BufferReader(layout.predictions(job_id).read_bytes())  # in half the time of asking the disk piecemeal
    result = json.loads(layout.result(job_id).read_bytes())
    return _File(
        table=pq.ParquetFile(content).read(columns=COLUMNS.names, use_threads=False),
        metrics=result.get("metrics", {}),
        imported=tuple(AnswerSource(**source) for source in result.get("imported", ())),
    )


def _find_asked(table: pa.Table, last: _Asked | None) -> _Asked:
    """Give the questions of a file: those of the target's last one, where they are the same."""
    columns = table.select(["question", "group"])
    if last is not None and columns.equals(last.columns):
        return last
    questions = tuple(columns["question"].to_pylist())
    groups = zip(columns["group"].to_pylist(), questions, strict=True)
    return _Asked(columns=columns, questions=questions, groups=tuple(group or question for group, question in groups))


def _split_answers(tables: Sequence[pa.Table]) -> Iterator[tuple[FloatArray, FloatArray, np.ndarray]]:
    """Give for each file how right each answer is, how sure, NaN where there are no likelihoods, and what it chose."""
    whole = pa.concat_tables([COLUMNS.empty_table(), *tables], promote_options="permissive")
    score_A, correct_A = (whole[name].cast(pa.float64()).to_numpy() for name in ("score", "correct"))
    right_A = np.where(np.isnan(score_A), correct_A, score_A)
    log_probs = whole["log_probs"].combine_chunks()
    is_given_A = pc.fill_null(log_probs.value_lengths(), 0).to_numpy() > 0
    sure_A = np.full(len(right_A), np.nan)
    if is_given_A.any():
        sure_A[is_given_A] = to_shares(log_probs.filter(pa.array(is_given_A))).max(axis=1)
    choice_A = pc.fill_null(whole["choice"], -1).to_numpy().astype(np.int16)
    for start, end in pairwise(np.cumsum([0, *map(len, tables)])):
        yield right_A[start:end], sure_A[start:end], choice_A[start:end]


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
    for needed in job.needs:
        if failure := read_failure(layout, needed):
            return f"its fine-tune failed ({failure.kind}): {_first_line(failure.message)}"
    if failure := read_failure(layout, job.id):
        return f"failed ({failure.kind}): {_first_line(failure.message)}"
    is_elsewhere = isinstance(job.backbone, Backbone) and job.backbone.is_elsewhere
    return "not imported yet" if is_elsewhere else "not run yet"


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0] or "no message"
