"""Questions: the one text form in which every model, tiny or large, is asked, and what is read from its answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from cg_lab.boxes import Box

if TYPE_CHECKING:
    from PIL import Image  # planning reads no image

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class AnswerForm(StrEnum):
    """What a model is asked to answer with."""

    LETTER = "letter"
    """The option's letter, as in the paper."""
    TEXT = "text"
    """The option's own text; options are ranked by its likelihood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A single-choice question about one image, with one right option."""

    text: str
    """The instruction, without options."""
    options: tuple[str, ...]
    answer: int
    """Position of the right option in `options`."""

    def __post_init__(self) -> None:
        assert 2 <= len(self.options) <= len(LETTERS)
        assert len(set(self.options)) == len(self.options)
        assert 0 <= self.answer < len(self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxQuestion:
    """Where something is in an image, answered with boxes."""

    text: str
    boxes: tuple[Box, ...]
    """The true ones, from the upper left on."""


AnyQuestion = Question | BoxQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """Answered questions that stand before a question."""

    questions: tuple[AnyQuestion, ...]
    images: tuple[Image.Image, ...]


_REQUEST = {
    AnswerForm.LETTER: "\nAnswer with the option's letter from the given choices directly.",
    AnswerForm.TEXT: "",
}


def format_question(question: AnyQuestion, form: AnswerForm) -> str:
    """Write a question as the user's turn of a prompt, without the image (Med-MAT, data release: `Question-choice`).

    >>> print(format_question(Question(text="What is seen?", options=("cyst", "mass"), answer=1), AnswerForm.LETTER))
    What is seen?
    A: cyst
    B: mass
    Answer with the option's letter from the given choices directly.
    """
    if isinstance(question, BoxQuestion):
        return question.text
    lines = [f"\n{letter}: {option}" for letter, option in zip(LETTERS, question.options, strict=False)]
    return question.text + "".join(lines) + _REQUEST[form]


def format_answer(question: Question, form: AnswerForm, choice: int | None = None) -> str:
    """Write the answer that a model is trained to give; `choice` picks another option than the right one.

    >>> format_answer(Question(text="What is seen?", options=("cyst", "mass"), answer=1), AnswerForm.LETTER)
    'B'
    """
    position = question.answer if choice is None else choice
    return LETTERS[position] if form is AnswerForm.LETTER else question.options[position]


def rotate(question: Question, steps: int) -> Question:
    """Move every option up by so many places, the first ones to the end.

    >>> rotate(Question(text="", options=("a", "b", "c"), answer=0), 1).options
    ('b', 'c', 'a')
    """
    count = len(question.options)
    options = tuple(question.options[(place + steps) % count] for place in range(count))
    return replace(question, options=options, answer=(question.answer - steps) % count)
