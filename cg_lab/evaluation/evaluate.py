"""`run_eval`: every option's log-likelihood for every question, kept so that any metric can be computed later."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.models.backbone import LoadedBackbone, restore_weights
from cg_lab.models.encoding import Example
from cg_lab.models.scoring import score_options
from cg_lab.questions import Question
from cg_lab.serialize import replacing


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One test question with all that its row says."""

    id: str
    subset: str
    group: str | None
    question: Question
    example: Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a finished evaluation found."""

    num_questions: int
    accuracy: float
    seconds: float


PREDICTIONS = pa.schema(
    [
        ("question", pa.string()),
        ("subset", pa.string()),
        ("group", pa.string()),
        ("instruction", pa.string()),
        ("options", pa.list_(pa.string())),
        ("log_probs", pa.list_(pa.float64())),
        ("answer", pa.int32()),
        ("choice", pa.int32()),
        ("correct", pa.bool_()),
    ]
)
"""Columns of predictions.parquet, one row a question."""


def run_eval(
    backbone: LoadedBackbone, weights: Path | None, asked: list[Asked], predictions: Path, batch_size: int
) -> Evaluation:
    """Score questions and write predictions.parquet, whole or not at all.

    Parameters
    ----------
    backbone
        Its weights are replaced.
    weights
        Folder of the fine-tuned weights; None scores the untouched backbone.
    asked
        The test questions, encoded.
    predictions
        The file to write.
    batch_size
        Questions of one forward pass.

    """
    restore_weights(backbone, weights)
    began = time.perf_counter()
    scores = score_options(backbone, [item.example for item in asked], batch_size)
    seconds = time.perf_counter() - began
    rows = [_to_row(item, score) for item, score in zip(asked, scores, strict=True)]
    with replacing(predictions) as beside:
        pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), beside)
    return Evaluation(
        num_questions=len(rows), accuracy=sum(bool(row["correct"]) for row in rows) / len(rows), seconds=seconds
    )


def _to_row(item: Asked, scores: tuple[float, ...]) -> dict[str, object]:
    choice = max(range(len(scores)), key=lambda position: scores[position])
    return {
        "question": item.id,
        "subset": item.subset,
        "group": item.group,
        "instruction": item.question.text,
        "options": list(item.question.options),
        "log_probs": list(scores),
        "answer": item.question.answer,
        "choice": choice,
        "correct": choice == item.question.answer,
    }
