"""What a study would see: the gain that it shows with 80 % power, the seeds that a gain takes, and what looks spend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cg_lab.student import find_quantile, find_tail

POWER = 0.8
DEFAULT_DEVIATION = 0.08
"""Standard deviation of accuracy over seeds, beyond what single answers explain, where no earlier study tells: that of
nine studies of the embedded model."""
EXPECTED_FREEDOM = 4.0
"""Degrees of freedom that a typical variance over seeds counts for where nothing tells how much targets differ."""
FEWEST_TARGETS = 3
"""For a typical variance of their own."""
MOST_SEEDS = 64
GAINS = (0.10, 0.15, 0.20)
"""True gains that the seeds are told for."""


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

    def find_error(self) -> tuple[float, float]:
        """Give the standard error of the gain, and its degrees of freedom."""
        parts: list[tuple[float, float]] = []
        for seeds, deviation in (
            (self.main_seeds, self.main_deviation),
            (self.control_seeds, self.control_deviation),
        ):
            borrowed = EXPECTED_FREEDOM if self.num_targets >= FEWEST_TARGETS else 0.0
            freedom = min(borrowed + seeds - 1, self.num_targets * max(1, seeds - 1))
            noise = 0.25 / self.num_questions
            parts.append(((deviation**2 + noise) / max(1, seeds), max(1.0, freedom)))
        questions = self.question_deviation**2 / self.num_questions
        whole = questions + sum(variance for variance, _ in parts)
        squares = questions**2 / max(1, self.num_questions - 1)
        squares += sum(variance**2 / freedom for variance, freedom in parts)
        return math.sqrt(whole), whole**2 / squares


def find_detectable(error: float, freedom: float, level: float, num_targets: int, power: float = POWER) -> float:
    """Give the smallest true gain that is shown with some power, among so many questions.

    `(t(1 - level / (2 T)) + t(power)) * standard error`: for the first claim of a study; once others are made, less is
    enough.

    >>> round(find_detectable(0.05, 8.0, 0.05, 4), 3)
    0.205
    """
    return (find_quantile(1 - level / (2 * num_targets), freedom) + find_quantile(power, freedom)) * error


def foresee_gain(planned: Allocation, level: float) -> float:
    """Give the gain that a planned comparison shows with 80 % power."""
    return find_detectable(*planned.find_error(), level, planned.num_targets)


def find_seeds(planned: Allocation, gain: float, level: float) -> int | None:
    """Give the fewest seeds of the main arm that show a gain with 80 % power; None if `MOST_SEEDS` are too few.

    >>> planned = Allocation(num_targets=4, num_questions=240, main_seeds=5, control_seeds=2)
    >>> [find_seeds(planned, gain, 0.05) for gain in GAINS]
    [None, 9, 4]
    """
    return next(
        (
            seeds
            for seeds in range(3, MOST_SEEDS + 1)
            if foresee_gain(replace(planned, main_seeds=seeds), level) <= gain
        ),
        None,
    )


def share_level(num_looks: int) -> tuple[float, ...]:
    """Give the share of the level that each look has: look k of K in proportion to `k * (k + 2)`.

    >>> [round(0.05 * share, 3) for share in share_level(4)]
    [0.003, 0.008, 0.015, 0.024]
    """
    parts = [look * (look + 2) for look in range(1, num_looks + 1)]
    return tuple(part / sum(parts) for part in parts)


def expect_seeds(
    planned: Allocation, looks: Sequence[int], shares: Sequence[float], gain: float, level: float
) -> float:
    """Give the seeds that looks take on average where every question has a gain, each ending once it is claimed.

    Parameters
    ----------
    planned
        Its seeds are those of the looks.
    looks, shares
        Seeds and share of the level of each look.
    gain
        The true one.
    level
        Of all looks and questions.

    Examples
    --------
    >>> planned = Allocation(num_targets=4, num_questions=240, main_seeds=0, control_seeds=2)
    >>> round(expect_seeds(planned, (3, 5, 8), (0.12, 0.32, 0.56), 0.15, 0.05), 1)
    6.7

    """
    expected, claimed = float(looks[0]), 0.0
    for place, (seeds, share) in enumerate(zip(looks, shares, strict=True)):
        error, freedom = replace(planned, main_seeds=seeds).find_error()
        needed = find_quantile(1 - level * share / (2 * planned.num_targets), freedom)
        claimed = max(claimed, find_tail(needed - gain / error, freedom))
        if place + 1 < len(looks):
            expected += (looks[place + 1] - seeds) * (1 - claimed)
    return expected
