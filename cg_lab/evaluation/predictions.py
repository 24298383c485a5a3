"""What evaluations leave: a row a question, whichever way a model was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.answer_parser import parse_choice
from cg_lab.evaluation.metrics import Answered, summarize_choices
from cg_lab.questions import AnswerForm, BoxQuestion, Question, rotate
from cg_lab.serialize import replacing

if TYPE_CHECKING:
    from cg_lab.models.batches import Example  # a server is asked without torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One test question with all that its row says."""

    id: str
    subset: str
    group: str | None
    label: str
    question: Question | BoxQuestion
    turns: tuple[Example, ...] = ()
    """It, encoded in every order of its options in which it is asked, turned by 0, 1, 2, ...; empty where a server is
    asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a finished evaluation found."""

    num_questions: int
    accuracy: float
    """Share of questions answered right; of boxes, the mean intersection over union."""
    metrics: dict[str, float]
    """As `cg_lab.evaluation.metrics` names them."""
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
        ("score", pa.float64()),
        ("turned_log_probs", pa.list_(pa.list_(pa.float64()))),
        ("written", pa.list_(pa.string())),
        ("parsed", pa.list_(pa.int32())),
        ("true_boxes", pa.list_(pa.list_(pa.float64()))),
        ("found_boxes", pa.list_(pa.list_(pa.float64()))),
        ("confidence", pa.float64()),
    ]
)
"""Columns of predictions.parquet, one row a question; null where a question has no such thing."""
Row = dict[str, Any]


Scores = Sequence[tuple[tuple[float, ...], ...]]
"""For each question and each of its orders, the log-likelihood of each option as displayed."""


def tabulate_choices(
    asked: Sequence[Asked], scores: Scores, texts: Sequence[tuple[str, ...]], form: AnswerForm
) -> tuple[list[Row], dict[str, float]]:
    """Give the rows of questions with options, and their metrics.

    Parameters
    ----------
    asked
        The questions.
    scores
        Of each; empty where nothing was scored, and then what was written counts.
    texts
        What was written to each, in each order; empty where nothing was.
    form
        What was asked for, a letter or a text.

    """
    rows: list[Row] = []
    answers: list[Answered] = []
    for item, shown, text in zip(asked, scores, texts, strict=True):
        question = item.question
        assert isinstance(question, Question)
        answer = Answered(
            num_options=len(question.options),
            answer=question.answer,
            log_probs=shown,
            parsed=tuple(
                parse_choice(words, rotate(question, order).options, form) for order, words in enumerate(text)
            ),
        )
        answers.append(answer)
        rows.append(
            {
                **describe_question(item),
                "options": list(question.options),
                "log_probs": list(answer.option_log_probs) or None,
                "answer": question.answer,
                "choice": answer.choice,
                "correct": answer.is_right,
                "score": float(answer.is_right),
                "turned_log_probs": [list(row) for row in shown] if len(shown) > 1 else None,
                "written": list(text) or None,
                "parsed": list(answer.parsed) or None,
            }
        )
    return rows, summarize_choices(answers)


def describe_question(item: Asked) -> Row:
    """Give the columns that all rows have."""
    return {"question": item.id, "subset": item.subset, "group": item.group, "instruction": item.question.text}


def write_predictions(path: Path, rows: list[Row], metrics: dict[str, float], seconds: float) -> Evaluation:
    """Write predictions.parquet, whole or not at all, and say what it amounts to."""
    with replacing(path) as beside:
        pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), beside)
    accuracy = sum(row["score"] for row in rows) / len(rows)
    return Evaluation(num_questions=len(rows), accuracy=accuracy, metrics=metrics, seconds=seconds)
