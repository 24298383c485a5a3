"""Accuracy along a design's levels: curves with bands, data saved at equal accuracy, slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray, Interval
from cg_lab.analysis.measuring import Measured
from cg_lab.analysis.summary import Summary
from cg_lab.arms import CONTROLS, Arm
from cg_lab.student import find_quantile, find_tail

IN_SAMPLES = frozenset({"size_curve", "target_curve"})
"""Designs whose levels are numbers of training samples."""
GROWING = tuple(arm for arm in Arm if arm.traits.is_headline and arm.traits.model == "own" and not arm.traits.is_main)
"""Arms of which it is told how many samples they need for what the main arm reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """How many samples another arm needs for what the main arm reaches at a level."""

    level: float
    over: Arm
    needed: float
    """In samples, read off the straight lines between levels; infinite if no level of the other arm is enough."""
    low: float
    high: float
    """Percentiles over bootstrap draws of seeds and questions, the same for both arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Accuracy by arm at each level, means over the held-out questions there."""

    name: str
    design: str
    setting: str
    levels: tuple[float, ...]
    contrasts_by_level: tuple[tuple[str, ...], ...]
    """Ids of the held-out questions at each level."""
    accuracies: Mapping[Arm, tuple[Interval | None, ...]]
    """For each level."""
    savings: tuple[Saving, ...]

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Ids of all its held-out questions."""
        return tuple(name for names in self.contrasts_by_level for name in names)


def trace_curves(measured: Sequence[Measured], confidence: float) -> tuple[Curve, ...]:
    """Put held-out questions of one curve together, in the order of their levels."""
    by_curve: dict[tuple[str, str], list[Measured]] = {}
    for part in measured:
        if part.contrast.level is not None:
            by_curve.setdefault((part.contrast.setting, part.contrast.curve), []).append(part)
    return tuple(_trace(parts, confidence) for parts in by_curve.values())


def _trace(parts: list[Measured], confidence: float) -> Curve:
    first = parts[0].contrast
    by_level: dict[float, list[Measured]] = {}
    for part in parts:
        assert part.contrast.level is not None
        by_level.setdefault(part.contrast.level, []).append(part)
    levels = tuple(sorted(by_level))
    arms = [arm for arm in Arm if any(arm in part.means for part in parts)]
    single = all(len(members) == 1 for members in by_level.values())
    return Curve(
        name=first.curve,
        design=first.design,
        setting=first.setting,
        levels=levels,
        contrasts_by_level=tuple(tuple(part.contrast.id for part in by_level[level]) for level in levels),
        accuracies={arm: tuple(_average(by_level[level], arm) for level in levels) for arm in arms},
        savings=_find_savings([by_level[level][0] for level in levels], confidence)
        if single and first.design in IN_SAMPLES
        else (),
    )  # fmt: skip


def _average(parts: Sequence[Measured], arm: Arm) -> Interval | None:
    """Give the mean accuracy of an arm over the questions of a level; the interval is about these very questions."""
    found = [
        effect.accuracy
        for part in parts
        for effect in part.arms
        if effect.arm is arm and not effect.variant and effect.subset == part.target.name and effect.accuracy
    ]
    if not found:
        return None
    mean = float(np.mean([part.estimate for part in found]))
    below = math.hypot(*(part.estimate - part.low for part in found)) / len(found)
    above = math.hypot(*(part.high - part.estimate for part in found)) / len(found)
    return Interval(estimate=mean, low=max(0.0, mean - below), high=min(1.0, mean + above), p_value=1.0)


def _find_savings(parts: Sequence[Measured], confidence: float) -> tuple[Saving, ...]:
    """Compare the main arm, level by level, with the curves of the arms that grow with it."""
    main = parts[0].contrast.main
    zero_shot = parts[0].draws.get(Arm.ZERO_SHOT)
    if main is None or zero_shot is None:
        return ()
    savings: list[Saving] = []
    for over in GROWING:
        points = [
            (part.contrast.level, float(part.means[over].mean()), part.draws[over])
            for part in parts
            if over in part.draws and part.contrast.level
        ]
        if len(points) < 2:
            continue
        levels = np.array([0.0, *(level for level, _, _ in points)])
        start = float(parts[0].means[Arm.ZERO_SHOT].mean())
        whole_RL = np.array([[start, *(mean for _, mean, _ in points)]])
        curves_RL = np.stack([zero_shot, *(draws for _, _, draws in points)], axis=1)
        tail = (1 - confidence) / 2
        for part in parts:
            if main.arm not in part.draws:
                continue
            needed = find_needed(part.means[main.arm].mean(keepdims=True), whole_RL, levels)[0]
            draws_R = find_needed(part.draws[main.arm], curves_RL, levels)
            low, high = np.quantile(draws_R, [tail, 1 - tail], method="nearest")
            assert part.contrast.level is not None
            savings.append(
                Saving(
                    level=part.contrast.level, over=over, needed=float(needed), low=float(low), high=float(high)
                )
            )  # fmt: skip
    return tuple(savings)


def find_needed(wanted_R: FloatArray, curves_RL: FloatArray, levels_L: FloatArray) -> FloatArray:
    """Find where curves first reach what is wanted, on straight lines between levels.

    Parameters
    ----------
    wanted_R
        Accuracies.
    curves_RL
        Accuracies at each level, a curve for each that is wanted.
    levels_L
        Ascending.

    Returns
    -------
    The first level, of shape (R,); infinite where a curve stays below.

    Examples
    --------
    >>> curves_RL = np.array([[0.25, 0.5, 0.75]] * 3)
    >>> find_needed(np.array([0.375, 0.625, 0.9]), curves_RL, np.array([0.0, 10.0, 20.0])).tolist()
    [5.0, 15.0, inf]

    """
    found_R = np.where(curves_RL[:, 0] >= wanted_R, levels_L[0], math.inf)
    for right in range(1, len(levels_L)):
        before_R, after_R = curves_RL[:, right - 1], curves_RL[:, right]
        rise_R = np.where(after_R > before_R, after_R - before_R, 1.0)
        share_R = np.clip((wanted_R - before_R) / rise_R, 0, 1)
        crossing_R = levels_L[right - 1] + share_R * (levels_L[right] - levels_L[right - 1])
        found_R = np.where(np.isinf(found_R) & (after_R >= wanted_R), crossing_R, found_R)
    return found_R


def fit_slopes(measured: Sequence[Measured], confidence: float) -> tuple[Summary, ...]:
    """Fit the main arm's gains to the level by least squares, each held-out question a point.

    For designs whose levels are no sample counts: distance, divergence, coverage, shots.
    """
    found: list[Summary] = []
    for key in dict.fromkeys((part.contrast.setting, part.contrast.design) for part in measured):
        members = [part for part in measured if (part.contrast.setting, part.contrast.design) == key]
        if key[1] in IN_SAMPLES:
            continue
        for over in CONTROLS:
            points = [
                (part.contrast.level, part.gains[over].interval.estimate, part.contrast.target)
                for part in members
                if part.contrast.level is not None and over in part.gains
            ]
            line = fit_line(points, confidence)
            if line is not None:
                found.append(
                    Summary(
                        measure="slope", arm=f"over {over}", group=" ".join(filter(None, (key[0], key[1]))),
                        num_questions=len(points), method="least squares", value=line,
                    )
                )  # fmt: skip
    return tuple(found)


def fit_line(points: Sequence[tuple[float, float, str]], confidence: float) -> Interval | None:
    """Give the common slope of straight lines through points by least squares, with Student's interval and test.

    Parameters
    ----------
    points
        Level, value and target. Where some target stands at several levels, each has a line of its own height; where
        none does, all share one.
    confidence
        Of the interval.

    Returns
    -------
    The slope; None with too few points or a single level.

    """
    targets = [target for _, _, target in points]
    repeated = len({(level, target) for level, _, target in points}) > len(set(targets))
    lines = [targets.index(target) if repeated else 0 for target in targets]
    x, y = (_centre(np.array([point[place] for point in points]), lines) for place in (0, 1))
    spread = float((x**2).sum())
    freedom = len(points) - len(set(lines)) - 1
    if freedom < 1 or not spread:
        return None
    slope = float((x * y).sum()) / spread
    error = math.sqrt(float(((y - slope * x) ** 2).sum()) / freedom / spread)
    half = find_quantile((1 + confidence) / 2, freedom) * error
    p_value = min(1.0, 2 * find_tail(abs(slope) / error, freedom)) if error else float(slope == 0)
    return Interval(estimate=slope, low=slope - half, high=slope + half, p_value=p_value)


def _centre(values: FloatArray, lines: Sequence[int]) -> FloatArray:
    """Take from each value the mean of its line."""
    means = {line: values[[own == line for own in lines]].mean() for line in set(lines)}
    return values - np.array([means[line] for line in lines])
