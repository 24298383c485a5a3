"""What answers add up to, by numbers that can be checked in one's head."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from cg_lab.boxes import Detection
from cg_lab.evaluation.metrics import Answered, summarize_boxes, summarize_choices

LEFT, RIGHT, TOP = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5)


def test_chance_is_taken_off_question_by_question() -> None:
    """Two options guess half, four a quarter: chance is 3/8, and half right is 1/5 of the way from there."""
    answers = [
        Answered(num_options=2, answer=0, log_probs=((0.0, -1.0),)),
        Answered(num_options=4, answer=1, log_probs=((0.0, -1.0, -2.0, -3.0),)),
    ]
    assert summarize_choices(answers)["chance_corrected_accuracy"] == pytest.approx((1 / 2 - 3 / 8) / (5 / 8))


def test_a_model_that_always_says_a_is_right_in_no_full_circle() -> None:
    always_a = ((0.0, -1.0), (0.0, -1.0))
    answers = [Answered(num_options=2, answer=answer, log_probs=always_a) for answer in (0, 1)]
    assert answers[0].choices == (0, 1)
    found = summarize_choices(answers)
    assert found["circular_accuracy"] == 0
    assert found["letter_recall_spread"] == pytest.approx(0.5)  # recall 1 for the first letter, 0 for the second


def test_averaging_over_orders_takes_a_bias_for_letters_away() -> None:
    """The image speaks for option 1, twice as likely; the first letter is four times as likely wherever it stands."""
    rows = ((log(4 / 6), log(2 / 6)), (log(8 / 9), log(1 / 9)))  # displayed: options 0, 1; then 1, 0
    answer = Answered(num_options=2, answer=1, log_probs=rows)
    assert answer.choices == (0, 1)
    assert answer.choice == 1
    assert answer.option_log_probs[1] == pytest.approx(log((2 / 6 + 8 / 9) / 2))


def test_what_was_written_is_counted_beside_what_is_likeliest() -> None:
    answers = [
        Answered(num_options=2, answer=0, log_probs=((0.0, -1.0),), parsed=(0,)),
        Answered(num_options=2, answer=0, log_probs=((0.0, -1.0),), parsed=(1,)),
        Answered(num_options=2, answer=0, log_probs=((-1.0, 0.0),), parsed=(None,)),
        Answered(num_options=2, answer=1, log_probs=((-1.0, 0.0),), parsed=(1,)),
    ]
    found = summarize_choices(answers)
    assert (found["parse_failures"], found["agreement"], found["written_accuracy"]) == (0.25, 0.5, 0.5)


def test_written_answers_to_all_orders_are_counted_by_option() -> None:
    answer = Answered(num_options=3, answer=2, parsed=(2, 1, None))
    assert answer.choices == (2, 2, None)
    assert answer.is_right
    assert summarize_choices([answer])["circular_accuracy"] == 0
    assert Answered(num_options=3, answer=2, parsed=(None, None, None)).choice is None


def test_boxes_are_measured_by_image_by_area_and_by_box() -> None:
    detections = [
        Detection(found=(LEFT,), true=(LEFT,), confidence=-1, label="a"),
        Detection(found=(TOP,), true=(LEFT, RIGHT), confidence=-2, label="a"),
        Detection(found=(), true=(TOP,), confidence=-3, label="b"),
    ]
    found = summarize_boxes(detections)
    assert found["ciou"] == pytest.approx((0.5 + 0.5 + 0) / (0.5 + 1 + 0.5))
    assert found["map50"] == pytest.approx((1 / 3 + 0) / 2)  # label a: one of three boxes, found first; label b: none
    assert found["parse_failures"] == pytest.approx(1 / 3)


def test_recall_is_told_by_the_place_of_the_right_option() -> None:
    """Three questions with the right option first, of which two are right; one with it second."""
    first, second = ((0.0, -1.0, -2.0),), ((-1.0, 0.0, -2.0),)
    answers = [Answered(num_options=3, answer=0, log_probs=shown) for shown in (first, first, second)]
    answers.append(Answered(num_options=3, answer=1, log_probs=second))
    found = summarize_choices(answers)
    assert {name: value for name, value in found.items() if name.startswith("recall_")} == {
        "recall_A": pytest.approx(2 / 3),
        "recall_B": 1,
    }


def test_calibration_is_that_of_numpy() -> None:
    dice = np.random.default_rng(0)
    shares_QO = dice.dirichlet(np.ones(4), size=300)
    right_Q = np.array([dice.choice(4, p=row) for row in shares_QO])
    answers = [
        Answered(num_options=4, answer=int(right), log_probs=(tuple(np.log(row) + 5.0),))
        for row, right in zip(shares_QO, right_Q, strict=True)
    ]
    found = summarize_choices(answers)
    confidence_Q, hit_Q = shares_QO.max(axis=1), shares_QO.argmax(axis=1) == right_Q
    bins_Q = np.digitize(confidence_Q, np.linspace(0, 1, 11), right=True)
    error = sum(
        (bins_Q == place).mean() * abs(confidence_Q[bins_Q == place].mean() - hit_Q[bins_Q == place].mean())
        for place in np.unique(bins_Q)
    )
    assert found["calibration_error"] == pytest.approx(error)
    assert found["brier_score"] == pytest.approx(((shares_QO - np.eye(4)[right_Q]) ** 2).sum(axis=1).mean())


def test_a_model_that_is_sure_and_right_has_no_calibration_error() -> None:
    answer = Answered(num_options=2, answer=0, log_probs=((0.0, -1000.0),))
    found = summarize_choices([answer])
    assert (found["calibration_error"], found["brier_score"]) == (0, 0)


def test_written_answers_have_no_calibration() -> None:
    found = summarize_choices([Answered(num_options=2, answer=0, parsed=(0,))])
    assert not {"calibration_error", "brier_score"} & set(found)


def test_likelihoods_of_any_size_are_shares_of_one() -> None:
    answer = Answered(num_options=2, answer=0, log_probs=((-1000.0, -1000.0 + log(3)),))
    found = summarize_choices([answer])
    assert found["brier_score"] == pytest.approx(2 * 0.75**2)
    assert found["calibration_error"] == pytest.approx(0.75)


def test_where_nothing_is_and_nothing_is_found_all_is_well_but_for_what_was_not_written() -> None:
    found = summarize_boxes([Detection(found=(), true=(), confidence=0.0, label="a")])
    assert found == {"ciou": 1.0, "map50": 0.0, "parse_failures": 1.0}


def test_three_options_in_three_orders_are_turned_back_one_by_one() -> None:
    """Order number `r` begins with option `r`: displayed are 0 1 2, then 1 2 0, then 2 0 1."""
    rows = ((0.2, 0.5, 0.3), (0.5, 0.1, 0.4), (0.4, 0.1, 0.5))
    answer = Answered(num_options=3, answer=1, log_probs=tuple(tuple(map(log, row)) for row in rows))
    assert answer.choices == (1, 1, 1)
    means = [np.mean([row[place] for row, place in zip(rows, places, strict=True)]) for places in PLACES]
    assert answer.option_log_probs == pytest.approx(tuple(np.log(means)))
    found = summarize_choices([answer])
    assert [found[f"recall_{letter}"] for letter in "ABC"] == [1, 1, 1]
    assert found["circular_accuracy"] == 1


PLACES = ((0, 2, 1), (1, 0, 2), (2, 1, 0))
"""Where each option stands in each order."""


def test_recall_counts_the_place_where_the_right_option_stood_in_each_order() -> None:
    answer = Answered(num_options=3, answer=0, parsed=(0, 1))  # second order: 1 2 0, of which the second was written
    found = summarize_choices([answer])
    assert {name: value for name, value in found.items() if name.startswith("recall_")} == {
        "recall_A": 1,
        "recall_C": 0,
    }


def test_the_option_that_is_written_most_often_counts_and_of_equals_the_first() -> None:
    assert Answered(num_options=3, answer=0, parsed=(2, 0, 2)).choices == (2, 1, 1)
    assert Answered(num_options=3, answer=0, parsed=(2, 0, 2)).choice == 1
    assert Answered(num_options=3, answer=0, parsed=(2, 2, None)).choices == (2, 0, None)
    assert Answered(num_options=3, answer=0, parsed=(2, 2, None)).choice == 0


def test_what_was_written_is_right_where_it_names_the_right_option() -> None:
    answers = [Answered(num_options=2, answer=0, parsed=(place,)) for place in (0, 0, 0, 1)]
    found = summarize_choices(answers)
    assert (found["written_accuracy"], found["parse_failures"]) == (0.75, 0)
