"""Questions for a served model, and the requests that put them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from cg_lab.data.asking import Exam, pose_shots, pose_test, read_blanks
from cg_lab.data.samples import DataSource
from cg_lab.endpoint_settings import ServedModel
from cg_lab.mat import Subset
from cg_lab.models.endpoint.answer_queue import Request
from cg_lab.models.endpoint.formats import Format, Turn, load_format
from cg_lab.planning.work import EvalJob
from cg_lab.questions import AnswerForm, Question, Shots, format_answer, format_question, rotate


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedExam:
    """Questions for a served model; images are read when their turn comes."""

    model: ServedModel
    source: DataSource
    exam: Exam
    shots: Shots | None
    is_blank: bool
    wants_log_probs: bool
    """Of letters, which come with what is written."""
    orders: int | None
    """In which each question is asked; None for every cyclic one."""
    scores_texts: bool = False
    """Whether each option is put as an answer, whose tokens count."""
    writes: bool = True
    """Whether the model writes an answer."""

    def list_turned(self, place: int) -> list[Question]:
        """Give a question in each order in which it is asked."""
        question = self.exam.questions[place]
        assert isinstance(question, Question)
        return [rotate(question, steps) for steps in range(self.orders or len(question.options))]


def pose_exam(job: EvalJob, source: DataSource, subsets: Mapping[str, Subset]) -> ServedExam:
    """Pose what a job asks."""
    model, protocol = job.backbone, job.protocol
    assert isinstance(model, ServedModel)
    return ServedExam(
        model=model,
        source=source,
        exam=pose_test(source, subsets, job.target, protocol),
        shots=pose_shots(source, subsets, job.target, protocol),
        is_blank=protocol.image == "blank",
        wants_log_probs=protocol.by != "generation" and model.answer is AnswerForm.LETTER,
        scores_texts=protocol.by != "generation" and model.option_log_probs,
        writes=protocol.by != "likelihood" or not model.option_log_probs,
        orders=None if protocol.rotations == "all" else 1,
    )


class RequestWriter:
    """Writes the requests of an exam, a few questions at a time."""

    def __init__(self, exam: ServedExam, batch: int) -> None:
        self.exam = exam
        self.with_log_probs = exam.wants_log_probs
        self.places: list[tuple[int, int, int | None]] = []
        """Place of the question, order, and the option that is put as an answer, by number of the request; no option
        where one is to be written."""
        self._batch = batch
        self._format: Format = load_format(exam.model.format)
        self._shots = tuple(self._write_shots())

    def _write_shots(self) -> Iterator[Turn]:
        model, shots = self.exam.model, self.exam.shots
        for question, image in zip(shots.questions, shots.images, strict=True) if shots else ():
            assert isinstance(question, Question)
            yield Turn(role="user", text=format_question(question, model.answer), image=self._draw(image))
            yield Turn(role="assistant", text=format_answer(question, model.answer))

    def _draw(self, image: Image.Image) -> bytes:
        return write_png(image, self.exam.model.longest_side)

    def write_first(self, *, with_log_probs: bool) -> bytes:
        """Write the first request."""
        self.with_log_probs = with_log_probs
        first = next(self.list_batches(1))[0].body
        self.places.clear()
        return first

    def list_batches(self, batch: int | None = None) -> Iterator[list[Request]]:
        """Write all requests in order."""
        exam, size = self.exam, batch or self._batch
        for start in range(0, len(exam.exam.samples), size):
            samples = exam.exam.samples[start : start + size]
            images = read_blanks(exam.source, samples) if exam.is_blank else exam.source.read_images(samples)
            requests: list[Request] = []
            for place, image in enumerate(images, start):
                png = self._draw(image)
                for order, question in enumerate(exam.list_turned(place)):
                    for option, body in self._write_bodies(question, png):
                        written = json.dumps(body, sort_keys=True).encode()
                        requests.append(Request(number=len(self.places), body=written))
                        self.places.append((place, order, option))
            yield requests

    def _write_bodies(self, question: Question, png: bytes) -> Iterator[tuple[int | None, dict[str, Any]]]:
        """Write what asks one question, and what puts each of its options as an answer."""
        exam, form = self.exam, self.exam.model.answer
        turns = (*self._shots, Turn(role="user", text=format_question(question, form), image=png))
        if exam.writes:
            yield None, self._format.write_request(exam.model, turns, with_log_probs=self.with_log_probs)
        for option in range(len(question.options) if exam.scores_texts else 0):
            put = Turn(role="assistant", text=format_answer(question, form, option))
            yield option, self._format.write_request(exam.model, (*turns, put), with_log_probs=False)


def write_png(image: Image.Image, longest_side: int | None) -> bytes:
    """Write an image without loss, made smaller where it is larger than is said."""
    if longest_side is not None and max(image.size) > longest_side:
        image = image.copy()
        image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
