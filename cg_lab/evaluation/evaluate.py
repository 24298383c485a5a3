"""`run_eval`: all that a checkpoint answers to every question, kept so that any metric can be computed later."""

from __future__ import annotations

import time
from pathlib import Path

from cg_lab.boxes import Detection, find_style, overlay, parse_boxes
from cg_lab.evaluation.metrics import summarize_boxes
from cg_lab.evaluation.predictions import (
    Asked,
    Evaluation,
    Row,
    describe_question,
    tabulate_choices,
    write_predictions,
)
from cg_lab.models.backbone import LoadedBackbone, using_weights
from cg_lab.models.encoding import find_size
from cg_lab.models.generating import write_answers
from cg_lab.models.scoring import score_options
from cg_lab.models.trained_adapters import MergedAdapters
from cg_lab.planning.work import Protocol
from cg_lab.questions import BoxQuestion

MAX_NEW_TOKENS = 64
"""Of an answer to a question with options, after which it is cut off."""
MAX_BOX_TOKENS = 512


def run_eval(
    backbone: LoadedBackbone,
    weights: Path | MergedAdapters | None,
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
        Folder of the fine-tuned weights, or several whose adapters are merged; None asks the untouched backbone.
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
    return write_predictions(predictions, rows, metrics, seconds)


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
    return tabulate_choices(asked, scores, texts, backbone.identity.answer)


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
                **describe_question(item),
                "correct": iou >= 0.5,
                "score": iou,
                "written": [answer.text],
                "true_boxes": [list(box) for box in question.boxes],
                "found_boxes": [list(box) for box in found],
                "confidence": answer.log_prob,
            }
        )
    return rows, summarize_boxes(detections)
