"""Read what the models of an arm answered, question by question and over its seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cg_lab.boxes import Box
from cg_lab.reporting.confusions import NO_OPTION
from cg_lab.reporting.examples import Marks
from cg_lab.reporting.read import to_shares
from cg_lab.results import Layout

ASKED = ("question", "instruction")
CHOSEN = (*ASKED, "options", "log_probs", "answer", "choice")
FOUND = (*ASKED, "true_boxes", "found_boxes", "score", "correct", "confidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionAnswers:
    """What an arm answered to questions with options."""

    questions: tuple[str, ...]
    """Ids."""
    texts: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    answer_Q: np.ndarray
    shares_QO: np.ndarray
    """Probability of each option, mean over seeds, 0 beyond a question's options; of what was parsed from what models
    wrote, the share of seeds that chose it."""
    choices_SQ: np.ndarray
    """What each seed chose; -1 where no option was found."""
    is_written: bool
    """Whether answers were parsed and have no probabilities."""

    @property
    def chosen_Q(self) -> np.ndarray:
        """The option that is likeliest over all seeds; -1 where most answers named none."""
        named_Q = self.shares_QO.max(axis=1) >= 1 - self.shares_QO.sum(axis=1) - 1e-9
        return np.where(named_Q, self.shares_QO.argmax(axis=1), -1)

    @property
    def marks(self) -> Marks:
        """Give what examples are chosen by."""
        return Marks(
            score_Q=self.shares_QO[np.arange(len(self.questions)), self.answer_Q],
            is_right_Q=self.chosen_Q == self.answer_Q,
            sure_Q=self.shares_QO.max(axis=1),
        )

    def list_given(self) -> Iterator[tuple[str, str]]:
        """Give the right and the chosen answer of each question and seed."""
        for choice_Q in self.choices_SQ.tolist():
            for options, answer, choice in zip(self.options, self.answer_Q.tolist(), choice_Q, strict=True):
                yield options[answer], NO_OPTION if choice < 0 else options[choice]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxAnswers:
    """What one seed of an arm found in images."""

    questions: tuple[str, ...]
    texts: tuple[str, ...]
    true: tuple[tuple[Box, ...], ...]
    found: tuple[tuple[Box, ...], ...]
    iou_Q: np.ndarray
    is_right_Q: np.ndarray
    confidence_Q: np.ndarray

    @property
    def marks(self) -> Marks:
        """Give what examples are chosen by."""
        return Marks(score_Q=self.iou_Q, is_right_Q=self.is_right_Q, sure_Q=self.confidence_Q)


Answers = OptionAnswers | BoxAnswers


def read_answers(layout: Layout, job_ids: Sequence[str]) -> Answers | None:
    """Read the finished evaluations of one arm of a held-out question, one a seed.

    Returns
    -------
    Means over seeds; of boxes, which have no mean, those of the first seed. None where the files do not say what was
    answered, as those that older versions wrote.

    """
    options: list[pa.Table] = []
    for job_id in job_ids:
        file = pq.ParquetFile(layout.predictions(job_id))
        names = set(file.schema_arrow.names)
        if names.issuperset(FOUND):
            table = file.read(columns=list(FOUND))
            if table.num_rows and not table["true_boxes"].null_count:
                return _read_boxes(table)
        if names.issuperset(CHOSEN):
            table = file.read(columns=list(CHOSEN))
            if table.num_rows and not table["options"].null_count:
                options.append(table)
    same = [table for table in options if table["question"].equals(options[0]["question"])]
    return _read_options(same) if same else None


def _read_options(tables: Sequence[pa.Table]) -> OptionAnswers:
    first = tables[0]
    widths_Q = first["options"].combine_chunks().value_lengths().to_numpy()
    choices_SQ = np.array([pc.fill_null(table["choice"], -1).to_numpy() for table in tables])
    is_written = any(table["log_probs"].null_count for table in tables)
    shares_SQO = [
        _mark_choices(choice_Q, widths_Q) if is_written else to_shares(table["log_probs"].combine_chunks())
        for table, choice_Q in zip(tables, choices_SQ, strict=True)
    ]
    return OptionAnswers(
        questions=tuple(first["question"].to_pylist()),
        texts=tuple(first["instruction"].to_pylist()),
        options=tuple(tuple(row) for row in first["options"].to_pylist()),
        answer_Q=first["answer"].to_numpy(),
        shares_QO=np.mean(shares_SQO, axis=0),
        choices_SQ=choices_SQ,
        is_written=is_written,
    )


def _mark_choices(choice_Q: np.ndarray, widths_Q: np.ndarray) -> np.ndarray:
    return (np.arange(int(widths_Q.max())) == choice_Q[:, None]).astype(np.float64)


def _read_boxes(table: pa.Table) -> BoxAnswers:
    return BoxAnswers(
        questions=tuple(table["question"].to_pylist()),
        texts=tuple(table["instruction"].to_pylist()),
        true=tuple(map(_to_boxes, table["true_boxes"].to_pylist())),
        found=tuple(map(_to_boxes, table["found_boxes"].to_pylist())),
        iou_Q=table["score"].to_numpy(),
        is_right_Q=table["correct"].to_numpy(),
        confidence_Q=pc.fill_null(table["confidence"], 0.0).to_numpy(),
    )


def _to_boxes(rows: list[list[float]] | None) -> tuple[Box, ...]:
    return tuple((row[0], row[1], row[2], row[3]) for row in rows or ())
