"""What a study shows over all of its held-out questions: pooled gains, robust means, chances to be better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray, Interval, Resampling, draw_groups, list_parts, summarize
from cg_lab.analysis.gain_estimates import GainEstimate
from cg_lab.analysis.pooled_gains import TargetGain, pool_gains
from cg_lab.arms import CONTROLS, REFERENCES, Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A paired gain of one held-out question, with what it takes to pool it."""

    interval: Interval
    estimate: GainEstimate
    models: tuple[tuple[str, ...], ...]
    """Fine-tunes behind each of the estimate's seed variances."""
    replicates_R: FloatArray
    """Bootstrap draws of its test questions and seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One number over several held-out questions."""

    measure: str
    """`gain`, `loss_without`, `slope`, `iqm`, `probability_of_improvement`."""
    arm: str
    """Whose, or against which."""
    group: str
    """Over which questions: `all`, `direction=modality`, `area=Lung`; of a slope the design."""
    num_questions: int
    method: Literal[
        "t over targets", "these very targets", "two-level bootstrap", "bootstrap of seeds", "least squares"
    ]
    value: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a summary needs of one held-out question."""

    target: str
    """Questions about one target share its test questions, and are pooled as one."""
    groups: tuple[str, ...]
    """It belongs to, such as `direction=modality` and `task=Mass`."""
    gains: Mapping[Arm, Gain]
    """Of the main arm over others."""
    losses: Mapping[str, Gain]
    """Of the main arm over training without the subsets of one factor's element."""
    means: Mapping[Arm, FloatArray]
    """Accuracy of each seed, of the main arm and of others."""
    main: Arm | None


def summarize_study(asked: Sequence[Asked], resampling: Resampling) -> tuple[Summary, ...]:
    """Pool a study's questions, all together and by direction and element: over targets like these, and over these.

    Groups of fewer than three questions, or of the same ones as another, say nothing new and are left out, as are
    targets like these where there are fewer than three.
    """
    found: list[Summary] = []
    seen: set[tuple[int, ...]] = set()
    for group in ("all", *dict.fromkeys(name for one in asked for name in one.groups)):
        places = tuple(place for place, one in enumerate(asked) if group == "all" or group in one.groups)
        if group != "all" and (len(places) < 3 or places in seen):
            continue
        seen.add(places)
        members = [asked[place] for place in places]
        for over in REFERENCES:
            gains = ((one.target, one.gains.get(over)) for one in members)
            found += _pool("gain", f"over {over}", group, gains, resampling)
        factors = dict.fromkeys(name for one in members for name in one.losses)
        for factor in factors:
            losses = ((one.target, one.losses.get(factor)) for one in members)
            found += _pool("loss_without", factor, group, losses, resampling)
    found += _compare_seeds(asked, resampling)
    return tuple(found)


def _pool(
    measure: str, arm: str, group: str, parts: Iterable[tuple[str, Gain | None]], resampling: Resampling
) -> list[Summary]:
    kept = [(target, part) for target, part in parts if part is not None]
    if not kept:
        return []
    pooled = pool_gains([TargetGain(target=target, gain=part.estimate, models=part.models) for target, part in kept])
    these = Summary(
        measure=measure, arm=arm, group=group, num_questions=len(kept), method="these very targets",
        value=pooled.over_these.to_interval(resampling.confidence),
    )  # fmt: skip
    drawn = bootstrap_gains([part for _, part in kept], resampling)
    found = [these, replace(these, method="two-level bootstrap", value=drawn)]
    if pooled.over_targets is not None:
        value = pooled.over_targets.to_interval(resampling.confidence)
        found.insert(0, replace(these, method="t over targets", value=value))
    return found


def bootstrap_gains(parts: Sequence[Gain], resampling: Resampling) -> Interval:
    """Average gains over held-out questions, which are drawn too, and within each its replicate (two-level bootstrap).

    With few questions the interval is too narrow.
    """
    weights_RC = draw_groups(len(parts), replace(resampling, seed=resampling.seed + 1))
    mean_R = np.empty(resampling.num_resamples)
    for rows in list_parts(resampling, len(parts)):
        replicates_RC = np.stack([part.replicates_R[rows] for part in parts], axis=1)
        mean_R[rows] = (replicates_RC * weights_RC[rows]).sum(axis=1) / len(parts)
    return summarize(float(np.mean([part.interval.estimate for part in parts])), mean_R, resampling.confidence)


def _compare_seeds(asked: Sequence[Asked], resampling: Resampling) -> list[Summary]:
    """Give interquartile means and probabilities of improvement (Agarwal et al. 2021, arXiv 2108.13264)."""
    found: list[Summary] = []
    whole = [one for one in asked if one.main is not None and one.main in one.means]
    for arm in (arm for arm in Arm if arm.traits.is_headline):
        runs = [one.means[arm] for one in whole if arm in one.means]
        if runs:
            value = _resample(runs, _interquartile_mean, resampling)
            found.append(
                Summary(
                    measure="iqm",
                    arm=str(arm),
                    group="all",
                    num_questions=len(runs),
                    method="bootstrap of seeds",
                    value=value,
                )
            )
    for over in CONTROLS:
        pairs = [(one.means[one.main], one.means[over]) for one in whole if one.main and over in one.means]
        if pairs:
            both = [run for pair in pairs for run in pair]
            value = _resample(both, _probability_of_improvement, resampling)
            found.append(
                Summary(
                    measure="probability_of_improvement", arm=f"over {over}", group="all", num_questions=len(pairs),
                    method="bootstrap of seeds", value=value,
                )
            )  # fmt: skip
    return found


def _resample(
    runs: Sequence[FloatArray], measure: Callable[[Sequence[FloatArray]], FloatArray], resampling: Resampling
) -> Interval:
    """Draw each question's seeds with replacement (stratified bootstrap)."""
    generator = np.random.default_rng(resampling.seed + 2)
    count = min(resampling.num_resamples, 2000)
    drawn = [run_S[generator.integers(0, len(run_S), (count, len(run_S)))] for run_S in runs]
    (estimate,) = measure([run_S[None, :] for run_S in runs])
    return summarize(float(estimate), measure(drawn), resampling.confidence)


def _interquartile_mean(runs: Sequence[FloatArray]) -> FloatArray:
    """Average the middle half of all seeds of all questions, each given as an array of draws and seeds."""
    values_RN = np.sort(np.concatenate(list(runs), axis=1), axis=1)
    count = values_RN.shape[1]
    return values_RN[:, count // 4 : count - count // 4].mean(axis=1)


def _probability_of_improvement(runs: Sequence[FloatArray]) -> FloatArray:
    """Average over questions how often a seed of one arm beats one of the other; a tie is half a win.

    Questions follow each other as the draws and seeds of one arm, then of the other.
    """
    wins = [
        (np.sign(first_RS[:, :, None] - second_RS[:, None, :]) / 2 + 0.5).mean(axis=(1, 2))
        for first_RS, second_RS in zip(runs[::2], runs[1::2], strict=True)
    ]
    return np.stack(wins, axis=1).mean(axis=1)
