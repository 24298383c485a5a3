"""`run_eval`: all that a checkpoint answers to every question, kept so that any metric can be computed later."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.answer_parser import parse_choice
from cg_lab.boxes import Detection, find_style, overlay, parse_boxes
from cg_lab.evaluation.metrics import Answered, summarize_boxes, summarize_choices
from cg_lab.models.backbone import LoadedBackbone, using_weights
from cg_lab.models.batches import Example
from cg_lab.models.encoding import find_size
from cg_lab.models.generating import write_answers
from cg_lab.models.scoring import score_options
from cg_lab.planning.work import Protocol
from cg_lab.questions import BoxQuestion, Question, rotate
from cg_lab.serialize import replacing

MAX_NEW_TOKENS = 64
"""Of an answer to a question with options, after which it is cut off."""
MAX_BOX_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One test question with all that its row says."""

    id: str
    subset: str
    group: str | None
    label: str
    question: Question | BoxQuestion
    turns: tuple[Example, ...]
    """It, encoded in every order of its options in which it is asked, turned by 0, 1, 2, ..."""


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


def run_eval(
    backbone: LoadedBackbone,
    weights: Path | None,
    asked: list[Asked],
    protocol: Protocol,
    predictions: Path,
    batch_size: int,
) -> Evaluation:
    """Let a checkpoint answer questions and write predictions.parquet, whole or not at all.

    Parameters
    ----------
    backbone
        Its weights are replaced.
    weights
        Folder of the fine-tuned weights; None asks the untouched backbone.
    asked
        The test questions, encoded: all with options, or all with boxes.
    protocol
        How answers are read.
    predictions
        The file to write.
    batch_size
        Questions of one forward pass.

    Raises
    ------
    UnreadableCheckpointError
        If the weights can't be read.

    """
    with using_weights(backbone, weights):
        began = time.perf_counter()
        answer = _find_boxes if isinstance(asked[0].question, BoxQuestion) else _choose
        rows, metrics = answer(backbone, asked, protocol, batch_size)
        seconds = time.perf_counter() - began
    with replacing(predictions) as beside:
        pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), beside)
    accuracy = sum(row["score"] for row in rows) / len(rows)
    return Evaluation(num_questions=len(rows), accuracy=accuracy, metrics=metrics, seconds=seconds)


def _choose(
    backbone: LoadedBackbone, asked: list[Asked], protocol: Protocol, batch_size: int
) -> tuple[list[Row], dict[str, float]]:
    scores = [()] * len(asked)
    if protocol.by != "generation":
        scores = score_options(backbone, [item.turns for item in asked], batch_size)
    texts: list[tuple[str, ...]] = [()] * len(asked)
    if protocol.by != "likelihood":
        # Beside likelihoods, which count, one order tells how the two agree.
        turns = [item.turns if protocol.by == "generation" else item.turns[:1] for item in asked]
        written = iter(write_answers(backbone, [turn for row in turns for turn in row], batch_size, MAX_NEW_TOKENS))
        texts = [tuple(next(written).text for _ in row) for row in turns]
    rows: list[Row] = []
    answers: list[Answered] = []
    for item, shown, text in zip(asked, scores, texts, strict=True):
        question = item.question
        assert isinstance(question, Question)
        form = backbone.identity.answer
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
                **_describe(item),
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


def _find_boxes(
    backbone: LoadedBackbone, asked: list[Asked], _: Protocol, batch_size: int
) -> tuple[list[Row], dict[str, float]]:
    style = find_style(backbone.model.config.model_type)
    written = write_answers(backbone, [item.turns[0] for item in asked], batch_size, MAX_BOX_TOKENS)
    rows: list[Row] = []
    detections: list[Detection] = []
    for item, answer in zip(asked, written, strict=True):
        question = item.question
        assert isinstance(question, BoxQuestion)
        found = parse_boxes(answer.text, style, find_size(backbone, item.turns[0].image))
        detections.append(Detection(found=found, true=question.boxes, confidence=answer.log_prob, label=item.label))
        iou = overlay(found, question.boxes).iou
        rows.append(
            {
                **_describe(item),
                "correct": iou >= 0.5,
                "score": iou,
                "written": [answer.text],
                "true_boxes": [list(box) for box in question.boxes],
                "found_boxes": [list(box) for box in found],
                "confidence": answer.log_prob,
            }
        )
    return rows, summarize_boxes(detections)


def _describe(item: Asked) -> Row:
    return {"question": item.id, "subset": item.subset, "group": item.group, "instruction": item.question.text}
