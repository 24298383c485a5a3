"""The section "Examples": a few test questions with what each arm answered, and what is taken for what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from cg_lab.arms import Arm
from cg_lab.planning.plan import Contrast, Plan
from cg_lab.reporting.answered import Answers, BoxAnswers, OptionAnswers, read_answers
from cg_lab.reporting.captions import BOXES, LEFT_OUT, tell_bars, tell_kinds, tell_missing, tell_rule
from cg_lab.reporting.cards import Card, make_card
from cg_lab.reporting.confusions import Confusions, count_confusions
from cg_lab.reporting.examples import Pick, Turn, choose_examples, spread_turns
from cg_lab.reporting.names import name_questions
from cg_lab.reporting.thumbnails import Thumbnails, read_thumbnails
from cg_lab.results import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustration:
    """One held-out question with its examples."""

    name: str
    cards: tuple[Card, ...]
    confusions: Confusions | None
    """Of the arm that is asked about; None of boxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """All that the section shows."""

    parts: tuple[Illustration, ...]
    main: str
    """The arm that is asked about."""
    rule: str
    kinds: tuple[str, ...]
    """How each kind of example is chosen."""
    no_images: str
    """Why images are absent; empty if none is."""
    bars: str
    """What bars mean; empty where there are none."""
    boxes: str
    """The same of boxes."""

    @property
    def has_tables(self) -> bool:
        """Whether there are confusions in tables."""
        return any(part.confusions and part.confusions.shares for part in self.parts)

    @property
    def has_lists(self) -> bool:
        """Whether there are confusions that no table holds."""
        return any(part.confusions and not part.confusions.shares for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A held-out question with what its arms answered."""

    contrast: Contrast
    main: Arm
    answers: Mapping[Arm, Answers]
    picks: tuple[Pick, ...]

    @property
    def samples(self) -> frozenset[str]:
        """Ids of the test questions that are shown."""
        return frozenset(self.answers[self.main].questions[pick.place] for pick in self.picks)


def illustrate(plan: Plan, layout: Layout, answered: Collection[str], *, images: bool) -> Section | None:
    """Make the section.

    Parameters
    ----------
    plan, layout
        The study, and where its files lie.
    answered
        Ids of evaluations whose predictions can be read.
    images
        False leaves images out and opens none.

    Returns
    -------
    None where nothing was answered yet, or no file says what.

    """
    jobs = _list_jobs(plan, answered)
    planned = {(cell.contrast, cell.arm) for cell in plan.cells}
    mains = [(contrast, _find_main(contrast, planned)) for contrast in plan.contrasts]
    asked = [(contrast, main) for contrast, main in mains if (contrast.id, main) in jobs]
    turns = spread_turns(len(asked))
    read = [_read(*asked[turn.place], turn, jobs, layout) for turn in turns]
    told = [one for one in read if one is not None]
    if not told:
        return None
    pictures = _read_pictures(plan, layout, told) if images else {}
    names = name_questions(plan)
    parts = tuple(
        _show(one, names[one.contrast.id], pictures.get(_find_place(plan, one), Thumbnails(found={}, reasons={})))
        for one in told
    )
    reasons = [card.no_image for part in parts for card in part.cards if card.no_image]
    missing = tell_missing(reasons, sum(len(part.cards) for part in parts)) if images else LEFT_OUT
    return _tell(told, parts, tell_rule(len(told), len(plan.contrasts), turns[0].count), missing)


def _tell(told: Sequence[_Told], parts: tuple[Illustration, ...], rule: str, no_images: str) -> Section:
    """Put the rest in words."""
    main = told[0].main.traits.words
    given = [found for one in told for found in one.answers.values()]
    has_boxes = any(isinstance(found, BoxAnswers) for found in given)
    with_options = [found for found in given if isinstance(found, OptionAnswers)]
    reasons = {pick.reason for one in told for pick in one.picks}
    return Section(
        parts=parts,
        main=main,
        rule=rule,
        kinds=tell_kinds(reasons, main, has_options=bool(with_options), has_boxes=has_boxes),
        no_images=no_images,
        bars=tell_bars(is_written=any(found.is_written for found in with_options)) if with_options else "",
        boxes=BOXES if has_boxes else "",
    )


def _find_main(contrast: Contrast, planned: Collection[tuple[str, Arm]]) -> Arm:
    """Give the arm that a question is about; the untouched backbone where only that is asked."""
    main = contrast.main
    return main.arm if main and (contrast.id, main.arm) in planned else Arm.ZERO_SHOT


def _list_jobs(plan: Plan, answered: Collection[str]) -> dict[tuple[str, Arm], list[str]]:
    """List the finished evaluations of each arm of each held-out question, by seed as the plan has them."""
    jobs: dict[tuple[str, Arm], list[str]] = {}
    for cell in plan.cells:
        if cell.eval_job in answered and not cell.variant and cell.arm.traits.asks_target:
            jobs.setdefault((cell.contrast, cell.arm), []).append(cell.eval_job)
    return jobs


def _read(
    contrast: Contrast, main: Arm, turn: Turn, jobs: Mapping[tuple[str, Arm], list[str]], layout: Layout
) -> _Told | None:
    answers: dict[Arm, Answers] = {}
    for arm in (arm for arm in Arm if arm is main or (arm.traits.is_headline and not arm.traits.is_main)):
        try:
            found = read_answers(layout, jobs.get((contrast.id, arm), []))
        except (OSError, pa.ArrowException):
            continue  # read_scores has said so, or it went since
        if found is not None:
            answers[arm] = found
    if main not in answers:
        return None
    other = answers.get(Arm.UNRELATED)
    comparable = other is not None and other.questions == answers[main].questions
    picks = choose_examples(
        answers[main].questions, answers[main].marks, other.marks if other and comparable else None, turn
    )
    return _Told(contrast=contrast, main=main, answers=answers, picks=picks)


def _read_pictures(plan: Plan, layout: Layout, told: Sequence[_Told]) -> dict[int, Thumbnails]:
    """Read the images of all examples, by the catalogue's place: the same ids may stand for images of two worlds."""
    pictures: dict[int, Thumbnails] = {}
    for place, catalog in enumerate(plan.catalogs):
        wanted: dict[str, frozenset[str]] = {}
        for one in told:
            if _find_place(plan, one) == place:
                wanted[one.contrast.target] = wanted.get(one.contrast.target, frozenset()) | one.samples
        if wanted:
            pictures[place] = read_thumbnails(catalog, layout.data, wanted)
    return pictures


def _find_place(plan: Plan, one: _Told) -> int:
    return plan.setting_by_name[one.contrast.setting].catalog


def _show(one: _Told, name: str, pictures: Thumbnails) -> Illustration:
    main = one.answers[one.main]
    return Illustration(
        name=name,
        cards=tuple(make_card(pick, one.main, one.answers, pictures) for pick in one.picks),
        confusions=count_confusions(main.list_given()) if isinstance(main, OptionAnswers) else None,
    )
