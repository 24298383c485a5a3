"""What a study would see: the gain that it shows with 80 % power, and the seeds that a gain takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cg_lab.analysis.seed_variance import EXPECTED_FREEDOM, FEWEST_TARGETS
from cg_lab.analysis.student import find_quantile

DEFAULT_DEVIATION = 0.08
"""Standard deviation of accuracy over seeds, where neither earlier studies nor a pilot tell; that of nine studies."""
MOST_SEEDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The seeds of a comparison, and how much they differ."""

    num_targets: int
    num_questions: int
    """Of a target; patients, where images come in groups."""
    main_seeds: int
    control_seeds: int
    main_deviation: float = DEFAULT_DEVIATION
    control_deviation: float = 0.0
    """Seeds of unrelated training hardly differ; those of a source alone do as the main arm's."""
    question_deviation: float = 0.3
    """Of the difference between the arms' means over seeds, from question to question."""


def find_detectable(error: float, freedom: float, level: float, num_targets: int, power: float = 0.8) -> float:
    """Give the smallest true gain that is shown with some power, among so many questions.

    `(t(1 - level / (2 T)) + t(power)) * standard error`: for the first claim of a study; once others are made, less is
    enough.

    >>> round(find_detectable(0.05, 8.0, 0.05, 4), 3)
    0.205
    """
    return (find_quantile(1 - level / (2 * num_targets), freedom) + find_quantile(power, freedom)) * error


def foresee_gain(planned: Allocation, level: float, power: float = 0.8) -> float:
    """Give the gain that a planned comparison shows with some power."""
    parts: list[tuple[float, float]] = []
    for seeds, deviation in (
        (planned.main_seeds, planned.main_deviation),
        (planned.control_seeds, planned.control_deviation),
    ):
        borrowed = EXPECTED_FREEDOM if planned.num_targets >= FEWEST_TARGETS else 0.0
        freedom = min(borrowed + seeds - 1, planned.num_targets * max(1, seeds - 1))
        noise = 0.25 / planned.num_questions
        parts.append(((deviation**2 + noise) / seeds, max(1.0, freedom)))
    questions = planned.question_deviation**2 / planned.num_questions
    whole = questions + sum(variance for variance, _ in parts)
    squares = questions**2 / max(1, planned.num_questions - 1)
    squares += sum(variance**2 / freedom for variance, freedom in parts)
    return find_detectable(math.sqrt(whole), whole**2 / squares, level, planned.num_targets, power)


def find_seeds(planned: Allocation, gain: float, level: float) -> int | None:
    """Give the fewest seeds of the main arm that show a gain with 80 % power; None if `MOST_SEEDS` are too few.

    >>> [
    ...     find_seeds(Allocation(num_targets=4, num_questions=240, main_seeds=5, control_seeds=2), g, 0.05)
    ...     for g in (0.10, 0.15, 0.20)
    ... ]
    [None, 9, 4]
    """
    for seeds in range(3, MOST_SEEDS + 1):
        tried = Allocation(
            num_targets=planned.num_targets, num_questions=planned.num_questions, main_seeds=seeds,
            control_seeds=planned.control_seeds, main_deviation=planned.main_deviation,
            control_deviation=planned.control_deviation, question_deviation=planned.question_deviation,
        )  # fmt: skip
        if foresee_gain(tried, level) <= gain:
            return seeds
    return None
