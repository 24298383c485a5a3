"""Which test questions a report shows, by a rule that sees numbers alone; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

T = TypeVar("T")

MOST_EXAMPLES = 12
"""Of a report, over all held-out questions."""


class Reason(StrEnum):
    """Why a test question is shown."""

    GAINED = "gained"
    """The model asked about is right and the other one wrong: of these the middle one, by the right answer's score."""
    MISTAKEN = "mistaken"
    """The model asked about is wrong: of these the one that it is surest of."""
    TYPICAL = "typical"
    """Of all the middle one, by the right answer's score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How one arm did on each test question."""

    score_Q: np.ndarray
    """Probability of the right option; of boxes the intersection over union."""
    is_right_Q: np.ndarray
    sure_Q: np.ndarray
    """How sure the arm is of what it answers; only the order counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A test question that is shown."""

    place: int
    """Among the test questions."""
    reason: Reason
    num_like: int
    """Questions that it was chosen from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A held-out question that is shown with examples."""

    place: int
    """Among the held-out questions."""
    reasons: tuple[Reason, ...]
    """In the order in which they are tried."""
    count: int
    """Examples, at most."""


def spread(parts: Sequence[T], most: int) -> list[T]:
    """Choose some at even steps along a list, or all if there are no more, without a look at results.

    >>> spread(range(30), 3)
    [0, 10, 20]
    """
    shown = min(len(parts), most)
    return [parts[number * len(parts) // shown] for number in range(shown)]


def spread_turns(count: int, most: int = MOST_EXAMPLES) -> tuple[Turn, ...]:
    """Spread examples over held-out questions: evenly along their list, without a look at results.

    Up to four questions have an example of each kind. More have fewer each, beginning with another kind from one to
    the next.

    >>> [(turn.reasons[0].value, turn.count) for turn in spread_turns(3, most=6)]
    [('gained', 2), ('mistaken', 2), ('typical', 2)]
    """
    shown = min(count, most)
    if not shown:
        return ()
    each = min(len(Reason), most // shown)
    kinds = tuple(Reason)
    turns: list[Turn] = []
    for number, place in enumerate(spread(range(count), most)):
        first = 0 if each == len(kinds) else number % len(kinds)
        turns.append(Turn(place=place, reasons=kinds[first:] + kinds[:first], count=each))
    return tuple(turns)


def choose_examples(questions: Sequence[str], main: Marks, other: Marks | None, turn: Turn) -> tuple[Pick, ...]:
    """Choose the test questions of one held-out question; no one is chosen twice.

    Parameters
    ----------
    questions
        Ids, which decide between equals.
    main, other
        The arm that is asked about, and the one that it is compared with; without another one nothing is `GAINED`.
    turn
        A reason without a question leaves its place to the next one.

    Returns
    -------
    Picks in the order of `Reason`.

    """
    picks: list[Pick] = []
    for reason in turn.reasons:
        ranked = _rank(questions, main, other, reason)
        left = [place for place in ranked if place not in {pick.place for pick in picks}]
        if left and len(picks) < turn.count:
            place = left[0] if reason is Reason.MISTAKEN else left[(len(left) - 1) // 2]
            picks.append(Pick(place=place, reason=reason, num_like=len(ranked)))
    return tuple(sorted(picks, key=lambda pick: list(Reason).index(pick.reason)))


def _rank(questions: Sequence[str], main: Marks, other: Marks | None, reason: Reason) -> list[int]:
    """List the places of the questions of one kind in their order."""

    def by_score(place: int) -> tuple[float, str]:
        return float(main.score_Q[place]), questions[place]

    def by_sureness(place: int) -> tuple[float, str]:
        return -float(main.sure_Q[place]), questions[place]

    key: Callable[[int], tuple[float, str]] = by_score
    fits_Q = np.ones(len(questions), dtype=bool)
    if reason is Reason.MISTAKEN:
        fits_Q, key = ~main.is_right_Q, by_sureness
    elif reason is Reason.GAINED:
        fits_Q = main.is_right_Q & ~other.is_right_Q if other else ~fits_Q
    return sorted(np.flatnonzero(fits_Q).tolist(), key=key)
