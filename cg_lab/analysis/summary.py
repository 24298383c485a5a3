"""What a study shows over all of its held-out questions: pooled gains, robust means, chances to be better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, summarize
from cg_lab.arms import Arm

Gains = tuple[float, FloatArray]
"""A gain and its bootstrap replicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One number over several held-out questions."""

    measure: str
    """`gain`, `probability_of_improvement`, `iqm`, `loss_without`."""
    arm: str
    """Whose, or against which."""
    group: str
    """Over which questions: `all`, `direction=modality`, `area=Lung`."""
    num_questions: int
    value: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a summary needs of one held-out question."""

    groups: tuple[str, ...]
    """It belongs to, such as `direction=modality` and `task=Mass`."""
    gains: Mapping[Arm, Gains]
    """Of the main arm over others."""
    losses: Mapping[str, Gains]
    """Of the main arm over training without the subsets of one factor's element."""
    means: Mapping[Arm, FloatArray]
    """Accuracy of each seed, of the main arm and of others."""
    main: Arm | None


def summarize_study(asked: Sequence[Asked], resampling: Resampling) -> tuple[Summary, ...]:
    """Pool a study's questions, all together and by direction and element.

    Questions are drawn with replacement, and within each its own replicate (two-level bootstrap). A group of one
    question, or of all, says nothing new and is left out.
    """
    found: list[Summary] = []
    for group in ("all", *dict.fromkeys(name for one in asked for name in one.groups)):
        members = [one for one in asked if group == "all" or group in one.groups]
        if group != "all" and len(members) in {1, len(asked)}:
            continue
        for over in (Arm.ZERO_SHOT, Arm.UNRELATED, Arm.BLIND):
            found += _pool("gain", f"over {over}", group, (one.gains.get(over) for one in members), resampling)
        factors = dict.fromkeys(name for one in members for name in one.losses)
        for factor in factors:
            parts = (one.losses.get(factor) for one in members)
            found += _pool("loss_without", factor, group, parts, resampling)
    found += _compare_seeds(asked, resampling)
    return tuple(found)


def _pool(measure: str, arm: str, group: str, parts: Iterable[Gains | None], resampling: Resampling) -> list[Summary]:
    kept = [part for part in parts if part is not None]
    if not kept:
        return []
    value = pool_gains(kept, resampling)
    return [Summary(measure=measure, arm=arm, group=group, num_questions=len(kept), value=value)]


def pool_gains(parts: Sequence[Gains], resampling: Resampling) -> Interval:
    """Average gains over held-out questions, which are resampled too (two-level bootstrap)."""
    replicates_CR = np.stack([replicates for _, replicates in parts])
    generator = np.random.default_rng(resampling.seed + 1)
    weights_RC = generator.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=resampling.num_resamples)
    mean_R = np.asarray((replicates_CR.T * weights_RC).sum(axis=1) / len(parts), dtype=np.float64)
    return summarize(float(np.mean([gain for gain, _ in parts])), mean_R, resampling.confidence)


def _compare_seeds(asked: Sequence[Asked], resampling: Resampling) -> list[Summary]:
    """Give interquartile means and probabilities of improvement (Agarwal et al. 2021, arXiv 2108.13264)."""
    found: list[Summary] = []
    whole = [one for one in asked if one.main is not None and one.main in one.means]
    arms = dict.fromkeys(arm for one in whole for arm in one.means)
    for arm in arms:
        runs = [one.means[arm] for one in whole if arm in one.means]
        if runs:
            value = _resample(runs, _interquartile_mean, resampling)
            found.append(Summary(measure="iqm", arm=str(arm), group="all", num_questions=len(runs), value=value))
    for over in (Arm.ZERO_SHOT, Arm.UNRELATED):
        pairs = [(one.means[one.main], one.means[over]) for one in whole if one.main and over in one.means]
        if pairs:
            both = [run for pair in pairs for run in pair]
            value = _resample(both, _probability_of_improvement, resampling)
            found.append(
                Summary(
                    measure="probability_of_improvement", arm=f"over {over}", group="all", num_questions=len(pairs),
                    value=value,
                )
            )  # fmt: skip
    return found


def _resample(
    runs: Sequence[FloatArray], measure: Callable[[Sequence[FloatArray]], float], resampling: Resampling
) -> Interval:
    """Draw each question's seeds with replacement (stratified bootstrap)."""
    generator = np.random.default_rng(resampling.seed + 2)
    count = min(resampling.num_resamples, 2000)
    draws: list[NDArray[np.int64]] = [generator.integers(0, len(run), (count, len(run))) for run in runs]
    replicates = np.array(
        [measure([run[draw[number]] for run, draw in zip(runs, draws, strict=True)]) for number in range(count)]
    )
    return summarize(measure(runs), replicates, resampling.confidence)


def _interquartile_mean(runs: Sequence[FloatArray]) -> float:
    values = np.sort(np.concatenate(list(runs)))
    cut = len(values) // 4
    return float(values[cut : len(values) - cut].mean())


def _probability_of_improvement(runs: Sequence[FloatArray]) -> float:
    """Average over questions how often a seed of one arm beats one of the other; a tie is half a win."""
    wins = [
        float((np.sign(first[:, None] - second[None, :]) / 2 + 0.5).mean())
        for first, second in zip(runs[::2], runs[1::2], strict=True)
    ]
    return float(np.mean(wins))
