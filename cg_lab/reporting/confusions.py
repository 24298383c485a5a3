"""What a model takes for what: shares of each right answer's questions; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

MOST_LABELS = 5
"""Of a whole table; of more labels the most frequent confusions are listed."""
MOST_CONFUSIONS = 6
NO_OPTION = "no option"
"""What an answer counts as in which no option was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """One right answer that is taken for another one."""

    right: str
    chosen: str
    count: int
    share: float
    """Of the questions with this right answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusions:
    """What a model takes for what, over all test questions and seeds."""

    labels: tuple[str, ...]
    """Right answers, sorted."""
    chosen: tuple[str, ...]
    """Columns of the table: the labels, then what else was chosen."""
    shares: tuple[tuple[float, ...], ...]
    """For each label, of its questions the share that was taken for each column; empty with too many labels."""
    counts: tuple[int, ...]
    """Answers for each label."""
    worst: tuple[Confusion, ...]
    """The most frequent confusions."""
    num_wrong: int
    num_answers: int


def count_confusions(answers: Iterable[tuple[str, str]]) -> Confusions:
    """Count what is taken for what.

    Parameters
    ----------
    answers
        Right and chosen answer of each question and seed.

    Examples
    --------
    >>> found = count_confusions([("mass", "mass"), ("mass", "cyst"), ("cyst", "cyst")])
    >>> found.labels, found.shares
    (('cyst', 'mass'), ((1.0, 0.0), (0.5, 0.5)))

    """
    counts = Counter(answers)
    totals: Counter[str] = Counter()
    for (right, _), count in counts.items():
        totals[right] += count
    labels = tuple(sorted(totals))
    others = {chosen for _, chosen in counts} - set(labels)
    chosen = (*labels, *sorted(others - {NO_OPTION}), *sorted(others & {NO_OPTION}))
    wrong = [
        Confusion(right=right, chosen=other, count=count, share=count / totals[right])
        for (right, other), count in counts.items()
        if right != other
    ]
    wrong.sort(key=lambda part: (-part.count, part.right, part.chosen))
    fits = len(chosen) <= MOST_LABELS
    return Confusions(
        labels=labels,
        chosen=chosen,
        shares=tuple(tuple(counts[right, other] / totals[right] for other in chosen) for right in labels)
        if fits
        else (),
        counts=tuple(totals[label] for label in labels),
        worst=tuple(wrong[:MOST_CONFUSIONS]),
        num_wrong=sum(part.count for part in wrong),
        num_answers=sum(totals.values()),
    )
