"""Mean gains over several held-out questions: of targets like these, and of these very ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.bootstrap import Scores
from cg_lab.analysis.components import take_groups
from cg_lab.analysis.gain_estimates import GainEstimate

FEWEST_TARGETS = 3
"""Fewer say next to nothing about others."""
ROUNDING = 1e-15
"""Of a variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGain:
    """The gain of one held-out question."""

    target: str
    """Questions about one target count as one target."""
    gain: GainEstimate
    models: tuple[tuple[str, ...], ...]
    """Fine-tunes behind each of the gain's `seed_variances`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledGains:
    """One mean, as an estimate for other targets and for these."""

    over_targets: GainEstimate | None
    """Over targets like these; None for fewer than three."""
    over_these: GainEstimate
    """Over these very targets, other seeds and questions."""


def pool_gains(parts: Sequence[TargetGain]) -> PooledGains:
    """Average gains over held-out questions.

    Over these very targets, variances add up as independent ones; fine-tunes that several questions share are taken to
    move all of them alike. Over targets like these, the targets' own gains say how much they vary (Student's t over
    targets), and shared fine-tunes add what they move all together. Gains that are all alike say nothing of that: there
    the interval is that of these very targets.
    """
    count = len(parts)
    estimate = np.asarray(sum(float(part.gain.estimate) for part in parts) / count, dtype=np.float64)
    alone = sum(float(part.gain.variance) for part in parts) / count**2
    groups: dict[tuple[str, ...], list[float]] = {}
    for part in parts:
        for models, variance in zip(part.models, part.gain.seed_variances, strict=True):
            groups.setdefault(models, []).append(float(variance))
    crossed = [own for models, own in groups.items() if models and len(own) > 1]
    shared = sum(sum(np.sqrt(own)) ** 2 - sum(own) for own in crossed) / count**2
    whole = alone + shared
    squares = sum((float(part.gain.variance) / count**2) ** 2 / float(part.gain.freedom) for part in parts)
    least = min(float(part.gain.freedom) for part in parts)
    freedom = whole**2 / (squares + shared**2 / least) if whole > 0 else least
    these = GainEstimate(estimate=estimate, variance=np.asarray(whole), freedom=np.asarray(max(1.0, freedom)))
    return PooledGains(over_targets=_spread(parts, these, shared, least), over_these=these)


def _spread(parts: Sequence[TargetGain], these: GainEstimate, shared: float, least: float) -> GainEstimate | None:
    """Give the mean over targets like these, from how much these differ."""
    targets = tuple(part.target for part in parts)
    if len(set(targets)) < FEWEST_TARGETS:
        return None
    gains_SQ = np.array([[float(part.gain.estimate) for part in parts]])
    names = tuple(map(str, range(len(parts))))
    values_T = take_groups(Scores(questions=names, groups=targets, correct_SQ=gains_SQ))[0]
    spread, num_targets = float(values_T.var(ddof=1)) / len(values_T), len(values_T)
    whole = spread + shared
    if whole <= ROUNDING:
        return these
    freedom = whole**2 / (spread**2 / (num_targets - 1) + shared**2 / least)
    return GainEstimate(estimate=these.estimate, variance=np.asarray(whole), freedom=np.asarray(freedom))
