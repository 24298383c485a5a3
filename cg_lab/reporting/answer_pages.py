"""`answers/` beside a report: a page on which every answer can be looked at, and the pieces that it loads."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import jinja2

from cg_lab.arms import Arm
from cg_lab.planning.plan import Plan
from cg_lab.reporting.answer_images import CHUNK, WrittenImages, list_image_sets, write_images
from cg_lab.reporting.answer_pieces import cut_pieces, encode_piece, write_script
from cg_lab.reporting.captions import LEFT_OUT
from cg_lab.reporting.exams import NO_CHOICE, Exam, read_exams
from cg_lab.reporting.read import Readings
from cg_lab.results import Layout
from cg_lab.serialize import write_text

FOLDER = "answers"
"""Beside report.html."""
PAGE = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPages:
    """What can be browsed."""

    num_questions: int
    """About targets, each counted once for every held-out question that asks it."""
    num_source_questions: int
    """The same about sources."""
    num_answers: int


def write_answer_pages(
    plan: Plan, layout: Layout, readings: Readings, templates: jinja2.Environment, folder: Path, *, images: bool
) -> AnswerPages | None:
    """Write the page and its pieces; what an earlier report left there goes.

    Parameters
    ----------
    plan, layout, readings
        The study, where its files lie, and what is there of it.
    templates
        Holds the page.
    folder
        Of the report.
    images
        False leaves images out, opens none, and removes those that are there.

    Returns
    -------
    None where nothing was answered yet, or no file says what; then there is no folder either.

    """
    folder = folder / FOLDER
    if not images:
        shutil.rmtree(folder, ignore_errors=True)
    exams = read_exams(plan, layout, readings)
    if not exams:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    sets = list_image_sets(plan, exams)
    shown = WrittenImages(names=("",) * len(sets.sets), files=frozenset(), note=LEFT_OUT)
    if images:
        shown = write_images(plan, layout, sets.sets, folder)
    pieces = cut_pieces([exam.num_answers for exam in exams])
    for number, piece in enumerate(pieces):
        content = encode_piece([exams[place] for place in piece], [sets.of_exams[place] for place in piece])
        write_text(folder / f"piece-{number}.js", write_script("receive", number, content))
    index = {
        "exams": [
            _describe(exam, number, place - piece.start)
            for number, piece in enumerate(pieces)
            for place, exam in ((place, exams[place]) for place in piece)
        ],
        "arms": [[arm.traits.words, arm.traits.colour, int(arm.traits.is_headline)] for arm in Arm],
        "images": list(shown.names),
        "chunk": CHUNK,
        "none": NO_CHOICE,
    }
    pages = AnswerPages(
        num_questions=sum(exam.questions.num_rows for exam in exams if exam.asks_target),
        num_source_questions=sum(exam.questions.num_rows for exam in exams if not exam.asks_target),
        num_answers=sum(exam.num_answers for exam in exams),
    )
    content = {"plan": plan, "pages": pages, "note": shown.note, "index": json.dumps(index).replace("<", "\\u003c")}
    write_text(folder / PAGE, templates.get_template("answers.html.j2").render(content))
    _remove_others(folder, {PAGE, *(f"piece-{number}.js" for number in range(len(pieces))), *shown.files})
    return pages


def _describe(exam: Exam, piece: int, place: int) -> list[object]:
    """Say of an exam what the page needs before it loads the piece."""
    name = exam.name if exam.asks_target else f"{exam.name}: its source {exam.subset}"
    return [name, int(exam.asks_target), piece, place, exam.num_answers]


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
