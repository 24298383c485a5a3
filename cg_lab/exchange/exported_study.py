"""What of a study is exported, read for all formats: its test questions, one after the other, with images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Literal

from cg_lab.data.samples import DataSource, Sample
from cg_lab.data.table import TableSource
from cg_lab.exchange.exported_images import list_pngs
from cg_lab.exchange.study_tests import Sources, StudyTest
from cg_lab.planning.plan import Plan
from cg_lab.questions import LETTERS, AnswerForm, AnyQuestion, Question, format_answer, format_question

Images = Literal["copy", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedQuestion:
    """One test question as others read it."""

    id: str
    """The only one of the study with it; answers are imported by it."""
    test: str
    sample: Sample
    question: AnyQuestion
    prompt: str
    """All that a model is asked beside the image, as cg_lab asks it."""
    answer: str
    """What is right, in the form that is asked for; empty for boxes."""
    group: str
    """Patient, slide or look-alike cluster as a number of this export; empty where there is none."""
    sha256: str
    """Of the bytes that the image is decoded from, by which holders of the same data find it; empty for phantoms."""
    image: bytes | None
    """A PNG of the pixels that cg_lab reads; None where images do not travel."""

    @property
    def options(self) -> tuple[str, ...]:
        """To choose from; none for boxes."""
        return self.question.options if isinstance(self.question, Question) else ()

    @property
    def letter(self) -> str:
        """Of the right option; empty for boxes."""
        return LETTERS[self.question.answer] if isinstance(self.question, Question) else ""


@dataclass(slots=True, kw_only=True)
class ExportedStudy:
    """A study on its way to another tool."""

    plan: Plan
    tests: tuple[StudyTest, ...]
    sources: Sources
    form: AnswerForm
    """What models are asked to answer with."""
    images: Images
    _groups: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the study."""
        return self.plan.study

    @property
    def has_images(self) -> bool:
        """Whether images travel."""
        return self.images == "copy"

    def list_questions(self, *, boxes: bool = True) -> Iterator[ExportedQuestion]:
        """Give all test questions in order; `boxes` says whether those that are answered by boxes are among them."""
        tests = [test for test in self.tests if boxes or not test.asks_boxes]
        images = list_pngs(tests, self.sources.folder) if self.has_images else repeat(None)
        for test in tests:
            yield from self._list_test(test, images)
        assert next(images, None) is None  # so that processes that read them end

    def _list_test(self, test: StudyTest, images: Iterator[bytes | None]) -> Iterator[ExportedQuestion]:
        source = self.sources.open(test.catalog)
        exam = test.pose(source)
        assert len(exam.samples) == test.num_questions
        for sample, question in zip(exam.samples, exam.questions, strict=True):
            yield ExportedQuestion(
                id=test.name_question(sample.id),
                test=test.name,
                sample=sample,
                question=question,
                prompt=format_question(question, self.form),
                answer=format_answer(question, self.form) if isinstance(question, Question) else "",
                group=self.number_group(sample.group),
                sha256=find_digest(source, sample),
                image=next(images),
            )

    def number_group(self, group: str | None) -> str:
        """Name a group by a number, since its own name may be a patient's."""
        return self._groups.setdefault(group, f"group {len(self._groups) + 1}") if group else ""


def find_digest(source: DataSource, sample: Sample) -> str:
    """Give the SHA-256 by which holders of the same data find an image; empty for what is drawn."""
    return source.find_digest(sample) if isinstance(source, TableSource) else ""
