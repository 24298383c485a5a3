"""What finished fine-tunes answer to the few questions that a target gives for validation, none of its test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cg_lab.recommendation.finished_answers import FinishedFinetune
from cg_lab.wilson import wilson_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedMixture:
    """A mixture that was trained, and how often its models were right about the target's validation questions."""

    subsets: tuple[str, ...]
    samples: tuple[int, ...]
    """Of each subset."""
    num_models: int
    accuracy: float
    """Mean over models; that of the first of many is told too high."""
    low: float
    high: float
    """Wilson's interval over questions, widened as many mixtures were tried (Bonferroni)."""


def rank_validated(
    finetunes: Sequence[FinishedFinetune],
    num_right: Mapping[str, int],
    num_questions: int,
    *,
    num_samples: int,
    confidence: float,
) -> tuple[ValidatedMixture, ...]:
    """Order the mixtures of one number of samples by what their models answered; best first, of equals the smaller.

    Parameters
    ----------
    finetunes
        That were shown nothing of the target.
    num_right, num_questions
        By fine-tune, of those whose weights are still there, and how many each was asked.
    num_samples, confidence
        Of a mixture in all, and of the intervals together.

    Examples
    --------
    >>> tunes = [FinishedFinetune(id="a", parts=(("x", 8),)), FinishedFinetune(id="b", parts=(("y", 8),))]
    >>> [first, _] = rank_validated(tunes, {"a": 4, "b": 9}, 10, num_samples=8, confidence=0.95)
    >>> first.subsets, first.accuracy, round(first.low, 2)
    (('y',), 0.9, 0.55)

    """
    found: defaultdict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for tune in finetunes:
        if tune.id in num_right and sum(count for _, count in tune.parts) == num_samples:
            found[tune.parts].append(num_right[tune.id])
    level = 1 - (1 - confidence) / max(1, len(found))
    mixtures: list[ValidatedMixture] = []
    for parts, rights in found.items():
        accuracy = sum(rights) / len(rights) / num_questions
        low, high = wilson_interval(round(accuracy * num_questions), num_questions, level)
        mixtures.append(
            ValidatedMixture(
                subsets=tuple(name for name, _ in parts),
                samples=tuple(count for _, count in parts),
                num_models=len(rights),
                accuracy=accuracy,
                low=low,
                high=high,
            )
        )
    return tuple(sorted(mixtures, key=lambda one: (-one.accuracy, len(one.subsets), one.subsets)))
