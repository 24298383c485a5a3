"""What each held-out question's arms were asked, and what each of their seeds answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cg_lab.arms import Arm
from cg_lab.planning.plan import Cell, Plan
from cg_lab.planning.work import Protocol
from cg_lab.reporting.names import name_questions
from cg_lab.reporting.read import Readings
from cg_lab.results import Layout

ASKED = ("question", "instruction", "options", "answer", "true_boxes")
FOUND = ("found_boxes", "confidence")
NO_CHOICE = 255
"""Of an answer in which no option was found, and of one that has no confidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """What one seed of an arm answered to a test."""

    arm: Arm
    variant: str
    seed: int | None
    given_Q: np.ndarray
    """Position of the chosen option, `NO_CHOICE` for none; of boxes the intersection over union in percent."""
    sure_Q: np.ndarray
    """Confidence in percent, `NO_CHOICE` where there is none."""
    found: pa.Array | None
    """Of boxes, those that were found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """A test that a held-out question's arms took: the target's, or that of a source."""

    name: str
    """Of the held-out question."""
    subset: str
    """Whose test questions these are."""
    asks_target: bool
    catalog: int
    """Place of the catalogue that the images belong to."""
    questions: pa.Table
    """One row a test question, in the columns `ASKED`; the same object in all exams that ask the same."""
    sittings: tuple[Sitting, ...]

    @property
    def has_boxes(self) -> bool:
        """Whether boxes are asked for, and not options."""
        return not self.questions["true_boxes"].null_count

    @property
    def num_answers(self) -> int:
        """All answers to all questions."""
        return len(self.sittings) * self.questions.num_rows


_Test = tuple[int, str, Protocol]
"""Catalogue, subset and what is asked: all that decides test questions."""


def read_exams(plan: Plan, layout: Layout, readings: Readings) -> list[Exam]:
    """Read all that was answered: of targets, which a study is about, then of sources.

    Files that do not say what was asked, as those that older versions wrote, or that answer other questions than the
    first of an exam, are left out.
    """
    cells: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan.cells:
        if cell.eval_job in readings.scores:
            cells.setdefault((cell.contrast, cell.subset), []).append(cell)
    reader = _ExamReader(plan, layout, readings)
    read = [reader.read(contrast, subset, own) for (contrast, subset), own in cells.items()]
    return sorted((exam for exam in read if exam is not None), key=lambda exam: not exam.asks_target)


class _ExamReader:
    """Reads exams, and the questions of each test once."""

    def __init__(self, plan: Plan, layout: Layout, readings: Readings) -> None:
        self._plan, self._layout, self._readings = plan, layout, readings
        self._contrasts = {contrast.id: contrast for contrast in plan.contrasts}
        self._jobs = {job.id: job for job in plan.evals}
        self._names = name_questions(plan)
        self._tests: dict[_Test, pa.Table | None] = {}

    def read(self, contrast_id: str, subset: str, cells: list[Cell]) -> Exam | None:
        """Read one exam; None where no file says what was asked and answered."""
        contrast = self._contrasts[contrast_id]
        place = self._plan.setting_by_name[contrast.setting].catalog
        protocol = replace(self._jobs[cells[0].eval_job].protocol, image="original", shots=0)
        test = (place, subset, protocol)
        if test not in self._tests:
            self._tests[test] = self._read_questions(cells[0].eval_job)
        questions = self._tests[test]
        if questions is None:
            return None
        has_boxes = not questions["true_boxes"].null_count
        ids = tuple(questions["question"].to_pylist())
        answered = [cell for cell in cells if self._readings.scores[cell.eval_job].questions == ids]
        found = [self._read_sitting(cell, has_boxes=has_boxes) for cell in answered]
        sittings = tuple(sitting for sitting in found if sitting is not None)
        if not sittings:
            return None
        return Exam(
            name=self._names[contrast_id],
            subset=subset,
            asks_target=cells[0].arm.traits.asks_target,
            catalog=place,
            questions=questions,
            sittings=sittings,
        )

    def _read_questions(self, job_id: str) -> pa.Table | None:
        file = pq.ParquetFile(self._layout.predictions(job_id))
        if not set(ASKED) <= set(file.schema_arrow.names):
            return None
        table = file.read(columns=list(ASKED), use_threads=False)
        is_told = table.num_rows and not (table["options"].null_count and table["true_boxes"].null_count)
        return table.combine_chunks() if is_told else None

    def _read_sitting(self, cell: Cell, *, has_boxes: bool) -> Sitting | None:
        job, readings = cell.eval_job, self._readings
        found: pa.Array | None = None
        if has_boxes:
            table = pq.ParquetFile(self._layout.predictions(job)).read(columns=list(FOUND), use_threads=False)
            found = table["found_boxes"].combine_chunks()
            shares_Q = np.exp(table["confidence"].to_numpy())
            given_Q = _to_percent(readings.scores[job].correct_SQ[0], _round_down)
        elif job in readings.choices:
            given_Q = readings.choices[job].astype(np.uint8)  # -1 becomes NO_CHOICE
            shares_Q = readings.confidences.get(job, np.full(len(given_Q), np.nan))
        else:
            return None
        return Sitting(
            arm=cell.arm,
            variant=cell.variant,
            seed=cell.seed,
            given_Q=given_Q,
            sure_Q=_to_percent(shares_Q),
            found=found,
        )


def _to_percent(shares_Q: np.ndarray, round_off: Callable[[np.ndarray], np.ndarray] = np.round) -> np.ndarray:
    percents_Q = np.full(len(shares_Q), NO_CHOICE, dtype=np.uint8)
    is_known_Q = ~np.isnan(shares_Q)
    percents_Q[is_known_Q] = round_off(100 * np.clip(shares_Q[is_known_Q], 0, 1))
    return percents_Q


def _round_down(percents_Q: np.ndarray) -> np.ndarray:
    """Round so that what counts as right, from 50 % on, still does, and nothing else."""
    return np.floor(percents_Q + 1e-9)
