"""Which test questions are shown."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from cg_lab.reporting.confusions import MOST_CONFUSIONS, NO_OPTION, count_confusions
from cg_lab.reporting.examples import MOST_EXAMPLES, Marks, Reason, Turn, choose_examples, spread_turns

NAMES = tuple("abcdefg")
ALL = Turn(place=0, reasons=tuple(Reason), count=3)


def mark(scores: list[float], right: str, sure: list[float] | None = None) -> Marks:
    return Marks(
        score_Q=np.array(scores),
        is_right_Q=np.array([letter == "+" for letter in right]),
        sure_Q=np.array(sure or scores),
    )


MAIN = mark([0.1, 0.9, 0.8, 0.2, 0.7, 0.6, 0.3], "-++-++-", sure=[0.6, 0.9, 0.8, 0.95, 0.7, 0.6, 0.5])
OTHER = mark([0.5] * 7, "+--+-++")


def test_each_kind_is_chosen_by_its_rule() -> None:
    picks = choose_examples(NAMES, MAIN, OTHER, ALL)
    assert [(pick.reason, NAMES[pick.place], pick.num_like) for pick in picks] == [
        (Reason.GAINED, "c", 3),  # of e, c and b the middle one
        (Reason.MISTAKEN, "d", 3),
        (Reason.TYPICAL, "f", 7),
    ]


def test_no_question_is_shown_twice() -> None:
    picks = choose_examples(("only",), mark([0.2], "-"), None, ALL)
    assert [pick.reason for pick in picks] == [Reason.MISTAKEN]


def test_equals_are_told_apart_by_their_ids_and_not_by_their_order() -> None:
    main = mark([0.5] * 7, "-------")
    there = {NAMES[pick.place] for pick in choose_examples(NAMES, main, None, ALL)}
    back = NAMES[::-1]
    assert there == {back[pick.place] for pick in choose_examples(back, main, None, ALL)}


def test_a_kind_without_questions_leaves_its_place_to_the_next() -> None:
    turn = Turn(place=0, reasons=(Reason.GAINED, Reason.MISTAKEN, Reason.TYPICAL), count=1)
    assert [pick.reason for pick in choose_examples(NAMES, MAIN, None, turn)] == [Reason.MISTAKEN]


@given(st.integers(1, 400))
def test_examples_are_few_and_spread_over_all_held_out_questions(count: int) -> None:
    turns = spread_turns(count)
    places = [turn.place for turn in turns]
    assert sum(turn.count for turn in turns) <= MOST_EXAMPLES
    assert len(turns) == min(count, MOST_EXAMPLES)
    assert places == sorted(set(places))
    assert all(place < count for place in places)
    steps = np.diff([*places, count])
    assert steps.max() - steps.min() <= 1
    assert {turn.reasons[0] for turn in turns} == set(Reason) or len(turns) < 5


def test_confusions_of_many_labels_are_listed_and_of_few_make_a_table() -> None:
    few = count_confusions([("a", "a"), ("a", "b"), ("b", NO_OPTION)])
    assert few.chosen == ("a", "b", NO_OPTION)
    assert few.shares == ((0.5, 0.5, 0), (0, 0, 1))
    many = count_confusions([(str(number), str(number + 1)) for number in range(20)] + [("7", "8")])
    assert many.shares == ()
    assert len(many.worst) == MOST_CONFUSIONS
    assert (many.worst[0].right, many.worst[0].chosen, many.worst[0].count) == ("7", "8", 2)
    assert (many.num_wrong, many.num_answers) == (21, 21)
