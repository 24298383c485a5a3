"""Figures of a report: matplotlib figures, and as SVG the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.arms import Arm
from cg_lab.reporting.names import ARM_NAMES, LEVEL_NAMES, name_arm, name_questions

COLOURS = {
    Arm.ZERO_SHOT: "#7f7f7f",
    Arm.UNRELATED: "#E69F00",
    Arm.RELATED: "#0072B2",
    Arm.ALL_DATA: "#56B4E9",
    Arm.PARTIAL: "#8a6d3b",
    Arm.WITHOUT: "#7a7ac7",
    Arm.MULTI_TASK: "#0072B2",
    Arm.CEILING: "#009E73",
    Arm.SHUFFLED: "#b8b8b8",
    Arm.BLIND: "#CC79A7",
}
"""Of the palette that colour-blind readers can tell apart (Okabe and Ito 2008)."""
FACTOR_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
SHOWN = tuple(COLOURS)
MOST_PANELS = 24
"""Held-out questions, or curves, that a figure shows; the tables have all."""
MOST_ROWS = 60
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "cg_lab",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#555555",
}


def plot_arms(effects: StudyEffects) -> Figure:
    """Plot accuracy by arm for each held-out question: dots with 95 % intervals, the chance line dashed."""
    with mpl.rc_context(STYLE):
        names = name_questions(effects.plan)
        shown = effects.contrasts[:MOST_PANELS]
        count = len(shown)
        columns = min(2, count)
        lines = -(-count // columns)
        arms = _list_arms(shown)
        figure = Figure(figsize=(4.6 * columns, lines * (0.34 * len(arms) + 0.95)), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.1)  # type: ignore[union-attr]
        for number, contrast in enumerate(shown, start=1):
            axes = figure.add_subplot(lines, columns, number)
            _draw_contrast(axes, contrast, arms, names[contrast.contrast.id])
        return entitle(figure, "Accuracy by arm for each held-out question, with 95 percent intervals")


def _list_arms(contrasts: Sequence[ContrastEffect]) -> list[tuple[Arm, str]]:
    """List the arms that any of some questions has, with their variants, in the order of the colours."""
    found = dict.fromkeys((part.arm, part.variant) for contrast in contrasts for part in contrast.arms)
    return sorted((key for key in found if key[0] in SHOWN), key=lambda key: SHOWN.index(key[0]))


def _draw_contrast(axes: Axes, contrast: ContrastEffect, arms: Sequence[tuple[Arm, str]], name: str) -> None:
    effects = {(part.arm, part.variant): part for part in contrast.arms if part.subset == contrast.target.name}
    for row, key in enumerate(arms):
        effect = effects.get(key)
        if effect is None or effect.accuracy is None:
            axes.text(0.01, row, "missing" if effect else "", va="center", color="#555555", fontsize=9)
            continue
        _draw_interval(axes, row, effect.accuracy, COLOURS[key[0]])
    axes.axvline(contrast.target.chance, color="#555555", linewidth=1, linestyle=(0, (3, 3)), zorder=0)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    _name_rows(axes, [name_arm(*key) for key in arms])
    axes.set_title(f"{name}: {contrast.verdict}", loc="left", fontsize=10, fontweight="bold")


def plot_forest(effects: StudyEffects) -> Figure:
    """Plot the related arm's paired gains, held-out questions above and their mean below."""
    groups = (
        (Arm.ZERO_SHOT, "over zero-shot", lambda part: _related(part, "over_zero_shot")),
        (Arm.UNRELATED, "over unrelated", lambda part: _related(part, "over_unrelated")),
        (Arm.BLIND, "over blind", lambda part: part.over_blind),
    )
    pooled = {part.over: part.gain for part in effects.pooled}
    by_id = name_questions(effects.plan)
    shown = effects.contrasts[:MOST_ROWS]
    names = [by_id[contrast.contrast.id] for contrast in shown] + ["all together"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 0.36 * len(names) + 1.0), layout="constrained")
        first: Axes | None = None
        for number, (arm, title, gain) in enumerate(groups, start=1):
            axes = figure.add_subplot(1, 3, number, sharex=first, sharey=first)
            first = first or axes
            found = [gain(contrast) for contrast in shown]
            for row, interval in enumerate(found):
                if interval is not None:
                    _draw_interval(axes, row, interval, COLOURS[arm])
            if arm in pooled:
                _draw_interval(axes, len(names) - 1, pooled[arm], "#222222", marker="D")
            axes.axvline(0, color="#555555", linewidth=1, zorder=0)
            axes.axhline(len(names) - 1.5, color="#bbbbbb", linewidth=0.8)
            axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:+.0f}" if value else "0")
            if number == 1:
                _name_rows(axes, names)
            else:
                axes.tick_params(left=False, labelleft=False)
        figure.supxlabel("gain of related training, percentage points", fontsize=10)
        return entitle(figure, "Paired gains of related training with 95 percent intervals")


def plot_losses(effects: StudyEffects) -> Figure | None:
    """Plot what related training loses without the subsets of one element, by factor; None where nothing was left out.

    As Med-MAT's figure 4: each held-out question a row, each factor a colour, the mean over questions below.
    """
    shown = [part for part in effects.contrasts if part.losses][:MOST_ROWS]
    if not shown:
        return None
    factors = list(dict.fromkeys(factor for part in shown for factor in part.losses))
    pooled = {
        part.arm: part.value for part in effects.summaries if (part.measure, part.group) == ("loss_without", "all")
    }
    by_id = name_questions(effects.plan)
    names = [by_id[part.contrast.id] for part in shown] + ["all together"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 0.2 * len(names) * len(factors) + 1.2), layout="constrained")
        axes = figure.add_subplot()
        for number, factor in enumerate(factors):
            colour = FACTOR_COLOURS[number % len(FACTOR_COLOURS)]
            rows = [part.losses.get(factor) for part in shown] + [pooled.get(factor)]
            for row, interval in enumerate(rows):
                if interval is not None:
                    place = row + (number - (len(factors) - 1) / 2) * 0.22
                    _draw_interval(axes, place, interval, colour, marker="D" if row == len(names) - 1 else "o")
            axes.plot([], [], color=colour, marker="o", linewidth=2.2, label=f"without {factor}")
        axes.axvline(0, color="#555555", linewidth=1, zorder=0)
        axes.axhline(len(names) - 1.5, color="#bbbbbb", linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:+.0f}" if value else "0")
        _name_rows(axes, names)
        figure.supxlabel(
            "accuracy of related training over training without the element, percentage points", fontsize=10
        )
        figure.legend(loc="outside upper right", ncols=len(factors), frameon=False, fontsize=9)
        return entitle(figure, "What related training loses without one element, with 95 percent intervals")


def plot_curves(effects: StudyEffects) -> Figure | None:
    """Plot accuracy along each curve, means over the held-out questions at each level; None without curves."""
    curves: dict[str, list[ContrastEffect]] = {}
    for contrast in effects.contrasts:
        if contrast.contrast.level is not None:
            curves.setdefault(contrast.contrast.curve, []).append(contrast)
    if not curves:
        return None
    shown = dict(list(curves.items())[:MOST_PANELS])
    arms = [arm for arm in SHOWN if any(part.arm(arm) for part in effects.contrasts)]
    with mpl.rc_context(STYLE):
        columns = min(2, len(shown))
        lines = -(-len(shown) // columns)
        figure = Figure(figsize=(4.6 * columns, 2.5 * lines + 0.5), layout="constrained")
        for number, (name, contrasts) in enumerate(shown.items(), start=1):
            axes = figure.add_subplot(lines, columns, number)
            for arm in arms:
                _draw_curve(axes, contrasts, arm)
            axes.axhline(
                float(np.mean([part.target.chance for part in contrasts])), color="#555555", lw=1, ls=(0, (3, 3))
            )
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
            axes.set_xlabel(LEVEL_NAMES.get(contrasts[0].contrast.design, "level"), fontsize=9)
            levels = sorted({part.contrast.level for part in contrasts if part.contrast.level is not None})
            if len(levels) > 2 and levels[-1] > 8 * levels[1]:
                axes.set_xscale("symlog", linthresh=levels[0] or levels[1])
            axes.set_xticks(levels, [f"{level:g}" for level in levels])
            axes.minorticks_off()
            axes.set_title(_name_curve(name, contrasts), loc="left", fontsize=10, fontweight="bold")
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
        return entitle(figure, "Accuracy along each curve, with 95 percent intervals")


def _name_curve(name: str, contrasts: list[ContrastEffect]) -> str:
    """Name a curve by its target, or by itself where it goes over several."""
    views = {contrast.contrast.view for contrast in contrasts}
    directions = {contrast.contrast.direction for contrast in contrasts}
    if len(views) > 1:
        return name
    direction = directions.pop() if len(directions) == 1 else None
    return " ".join(views.pop()) + (f" ({direction})" if direction else "")


def _draw_curve(axes: Axes, contrasts: list[ContrastEffect], arm: Arm) -> None:
    points: dict[float, list[Interval]] = {}
    for contrast in contrasts:
        effect = contrast.arm(arm)
        if effect and effect.accuracy and contrast.contrast.level is not None:
            points.setdefault(contrast.contrast.level, []).append(effect.accuracy)
    if not points:
        return
    levels = sorted(points)
    means = [float(np.mean([part.estimate for part in points[level]])) for level in levels]
    axes.plot(levels, means, marker="o", markersize=4.5, color=COLOURS[arm], linewidth=1.6, label=ARM_NAMES[arm])
    for level in levels:
        if len(points[level]) == 1:
            axes.plot([level] * 2, [points[level][0].low, points[level][0].high], color=COLOURS[arm], linewidth=1.2)


def _draw_interval(axes: Axes, row: float, interval: Interval, colour: str, marker: str = "o") -> None:
    axes.plot([interval.low, interval.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot(interval.estimate, row, marker=marker, color=colour, markersize=6.5, markeredgecolor="white")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _related(contrast: ContrastEffect, gain: str) -> Interval | None:
    effect = contrast.main
    if effect is None:
        return None
    return effect.over_zero_shot if gain == "over_zero_shot" else effect.over_unrelated


def entitle(figure: Figure, title: str) -> Figure:
    """Name a figure; files that it is saved to carry the name."""
    figure.set_label(title)
    return figure


def to_svg(figure: Figure) -> str:
    """Give a figure as SVG text with its letters as letters."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        metadata = {"Date": None, "Creator": None, "Title": str(figure.get_label())}
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def to_pdf(figure: Figure) -> bytes:
    """Give a figure as a page of PDF, for papers."""
    buffer = io.BytesIO()
    with mpl.rc_context({**STYLE, "pdf.fonttype": 42}):
        metadata = {"CreationDate": None, "Creator": None, "Producer": None, "Title": str(figure.get_label())}
        figure.savefig(buffer, format="pdf", metadata=metadata)
    return buffer.getvalue()
