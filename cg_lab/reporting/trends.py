"""Figures of curves: accuracy along a design's levels, and seen against unseen pairs along a bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.curves import Curve
from cg_lab.analysis.effects import StudyEffects
from cg_lab.analysis.pairs import SplitEffect
from cg_lab.arms import Arm
from cg_lab.reporting.figures import (
    FACTOR_COLOURS,
    MOST_PANELS,
    StyledFigure,
    entitle,
    show_percent,
    styled,
    tip,
)
from cg_lab.reporting.names import LEVEL_NAMES
from cg_lab.reporting.words import shares

LINE = 0.075
"""Height of a label in a panel, as a share of its height."""


def plot_curves(effects: StudyEffects) -> StyledFigure | None:
    """Plot accuracy along each curve with bands, as Med-MAT's figures 5 and 6; None without curves."""
    shown = effects.curves[:MOST_PANELS]
    if not shown:
        return None
    chances = {part.contrast.id: part.chance for part in effects.contrasts}
    with styled():
        columns = min(2, len(shown))
        lines = -(-len(shown) // columns)
        figure = StyledFigure(figsize=(4.6 * columns, 2.7 * lines + 0.2), layout="constrained")
        for number, curve in enumerate(shown, start=1):
            axes = figure.add_subplot(lines, columns, number)
            _draw_curve(axes, curve)
            guesses = [np.mean([chances[name] for name in names]) for names in curve.contrasts_by_level]
            axes.plot(curve.levels, guesses, color="#555555", linewidth=1, linestyle=(0, (3, 3)), zorder=0)
            axes.set_title(name_curve(effects, curve), loc="left", fontsize=10, fontweight="bold")
        return entitle(figure, "Accuracy along each curve, with 95 percent intervals")


def name_curve(effects: StudyEffects, curve: Curve) -> str:
    """Name a curve by its target, or by itself where it goes over several."""
    members = [part.contrast for part in effects.contrasts if part.contrast.id in set(curve.contrasts)]
    views = {contrast.view for contrast in members}
    if len(views) > 1:
        return curve.name if len(curve.name) < 60 else f"{len(views)} targets"
    directions = {contrast.direction for contrast in members}
    direction = directions.pop() if len(directions) == 1 else None
    return " ".join(views.pop()) + (f" ({direction})" if direction else "")


def _draw_curve(axes: Axes, curve: Curve) -> None:
    show_percent(axes.yaxis)
    axes.set_ylim(0, 1)
    axes.set_xlabel(LEVEL_NAMES.get(curve.design, "level"), fontsize=9)
    least = next((level for level in curve.levels if level > 0), 0)
    if least and curve.levels[-1] >= 8 * least:
        axes.set_xscale("symlog", linthresh=least)
    axes.set_xticks(curve.levels, [f"{level:g}" for level in curve.levels])
    axes.minorticks_off()
    ends: dict[Arm, float] = {}
    for arm, accuracies in curve.accuracies.items():
        points = [
            (level, accuracy) for level, accuracy in zip(curve.levels, accuracies, strict=True) if accuracy is not None
        ]
        if points:
            _draw_line(axes, arm, points)
            ends[arm] = points[-1][1].estimate
    _label_ends(axes, ends)


def _draw_line(axes: Axes, arm: Arm, points: Sequence[tuple[float, Interval]]) -> None:
    levels = [level for level, _ in points]
    lows, highs = [part.low for _, part in points], [part.high for _, part in points]
    if len(points) > 1:
        axes.fill_between(levels, lows, highs, color=arm.traits.colour, alpha=0.13, linewidth=0)
    else:
        axes.plot(levels * 2, [lows[0], highs[0]], color=arm.traits.colour, linewidth=1.4, alpha=0.6)
    axes.plot(levels, [part.estimate for _, part in points], color=arm.traits.colour, linewidth=1.6)
    for level, part in points:
        text = f"{arm.traits.words} at {level:g}: {shares(part)}"
        axes.plot(
            level, part.estimate, marker="o", markersize=4.5, color=arm.traits.colour, gid=tip(text), clip_on=False
        )


def _label_ends(axes: Axes, ends: dict[Arm, float]) -> None:
    """Write each line's name at its right end, names that would meet moved apart."""
    order = sorted(ends, key=lambda arm: ends[arm])
    places: list[float] = []
    for arm in order:
        places.append(max(ends[arm], places[-1] + LINE if places else ends[arm]))
    excess = max(0.0, places[-1] - 1) if places else 0.0
    for arm, place in zip(order, places, strict=True):
        axes.annotate(
            arm.traits.words, (1, max(place - excess, 0)), xycoords="axes fraction", xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=9, color=arm.traits.colour, annotation_clip=False,
        )  # fmt: skip


def plot_splits(splits: Sequence[SplitEffect]) -> StyledFigure | None:
    """Plot accuracy on seen over accuracy on unseen pairs, a line for each world and side; None without any."""
    if not splits:
        return None
    with styled():
        figure = StyledFigure(figsize=(5.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for number, part in enumerate(splits):
            colour = FACTOR_COLOURS[number % len(FACTOR_COLOURS)]
            unseen, seen = zip(*part.curve, strict=True)
            name = " ".join(filter(None, (part.setting, f"{part.world} world, {part.side} pairs")))
            text = f"{name}: area {shares(part.auc)}"
            axes.step(unseen, seen, where="post", color=colour, linewidth=1.8, label=text, gid=tip(text))
        show_percent(axes.xaxis)
        show_percent(axes.yaxis)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("accuracy on unseen pairs")
        axes.set_ylabel("accuracy on seen pairs")
        figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=9)
        return entitle(figure, "Accuracy on seen over unseen pairs, along a bias towards unseen ones")
