"""One example as a page shows it: what each arm makes of a test question; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cg_lab.arms import Arm
from cg_lab.boxes import Box
from cg_lab.percentages import percent
from cg_lab.reporting.answered import Answers, BoxAnswers, OptionAnswers
from cg_lab.reporting.captions import tell_why
from cg_lab.reporting.confusions import NO_OPTION
from cg_lab.reporting.examples import Pick
from cg_lab.reporting.thumbnails import Thumbnail, Thumbnails

MOST_LINES = 6
"""Options of an example that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One arm beside an example."""

    name: str
    colour: str
    is_right: bool
    detail: str
    """Of boxes, how well they fit."""
    answer: str
    """In words."""
    found: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What one arm makes of one option."""

    share: float
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One option of an example; or what is no option, where an arm's answer named none."""

    text: str
    is_right: bool
    bars: tuple[Bar, ...]
    """In the order of the columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One example."""

    question: str
    why: str
    of: str
    """How many test questions it was chosen from."""
    right: str
    """The right answer in words."""
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    """Empty of boxes."""
    num_more: int
    """Options that are not shown."""
    true: tuple[Box, ...]
    image: Thumbnail | None
    no_image: str
    """Why there is none; empty if there is, or if none was asked for."""

    @property
    def width(self) -> int:
        """Of the image; boxes without one lie on a square."""
        return self.image.width if self.image else 100

    @property
    def height(self) -> int:
        """Of the image."""
        return self.image.height if self.image else 100


def make_card(pick: Pick, arm: Arm, answers: Mapping[Arm, Answers], pictures: Thumbnails) -> Card:
    """Show one test question.

    Parameters
    ----------
    pick
        Which one, and why.
    arm
        The arm that is asked about.
    answers
        Of all arms that are shown, in their order.
    pictures
        Images by id of the test question.

    """
    main = answers[arm]
    sample = main.questions[pick.place]
    columns: list[tuple[Column, Answers, int]] = []
    for name, found in answers.items():
        if sample in found.questions and type(found) is type(main):
            place = found.questions.index(sample)
            columns.append((_make_column(name, found, place), found, place))
    lines: tuple[Line, ...] = ()
    num_more = 0
    if isinstance(main, OptionAnswers):
        options = [(found, place) for _, found, place in columns if isinstance(found, OptionAnswers)]
        lines, num_more = _shorten(tuple(_list_lines(main, pick.place, options)))
    why, of = tell_why(pick, arm.traits.words)
    return Card(
        question=main.texts[pick.place],
        why=why,
        of=of,
        right=_tell_right(main, pick.place),
        columns=tuple(column for column, _, _ in columns),
        lines=lines,
        num_more=num_more,
        true=main.true[pick.place] if isinstance(main, BoxAnswers) else (),
        image=pictures.found.get(sample),
        no_image=pictures.reasons.get(sample, ""),
    )


def _tell_right(main: Answers, place: int) -> str:
    if isinstance(main, BoxAnswers):
        count = len(main.true[place])
        return f"{count} box{'es' if count != 1 else ''}"
    return main.options[place][int(main.answer_Q[place])]


def _make_column(arm: Arm, found: Answers, place: int) -> Column:
    detail, boxes = "", ()
    if isinstance(found, BoxAnswers):
        boxes = found.found[place]
        detail = f"IoU {percent(float(found.iou_Q[place]))}" if boxes else "no box"
        answer = detail
    else:
        chosen = int(found.chosen_Q[place])
        answer = NO_OPTION
        if chosen >= 0:
            answer = f"{found.options[place][chosen]} {percent(float(found.shares_QO[place, chosen]))}"
    is_right = bool(found.marks.is_right_Q[place])
    traits = arm.traits
    return Column(name=traits.words, colour=traits.colour, is_right=is_right, detail=detail, answer=answer, found=boxes)


def _list_lines(main: OptionAnswers, place: int, columns: Sequence[tuple[OptionAnswers, int]]) -> Iterator[Line]:
    """List the options as the question has them, and at the end what named none of them."""
    bars: list[dict[str, Bar]] = []
    for found, where in columns:
        chosen = int(found.chosen_Q[where])
        shares = found.shares_QO[where].tolist()
        named = {
            option: Bar(share=share, is_chosen=number == chosen)
            for number, (option, share) in enumerate(zip(found.options[where], shares, strict=False))
        }
        bars.append(named | {"": Bar(share=max(0.0, 1 - sum(shares)), is_chosen=chosen < 0)})
    nothing = Bar(share=0.0, is_chosen=False)
    for number, option in enumerate(main.options[place]):
        is_right = number == int(main.answer_Q[place])
        yield Line(text=option, is_right=is_right, bars=tuple(column.get(option, nothing) for column in bars))
    if any(column[""].share > 1e-6 for column in bars):
        yield Line(text="", is_right=False, bars=tuple(column[""] for column in bars))


def _shorten(lines: tuple[Line, ...]) -> tuple[tuple[Line, ...], int]:
    """Leave out options of little weight, never the right one or one that was chosen; say how many."""

    def weigh(line: Line) -> tuple[bool, float]:
        matters = line.is_right or any(bar.is_chosen for bar in line.bars)
        return matters, max((bar.share for bar in line.bars), default=0.0)

    kept = sorted(lines, key=weigh, reverse=True)[:MOST_LINES]
    return tuple(line for line in lines if line in kept), len(lines) - len(kept)
