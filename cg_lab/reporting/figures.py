"""Figures of a report as SVG text, the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.planning.arms import Arm
from cg_lab.planning.plan import Plan
from cg_lab.reporting.words import ARM_NAMES

COLOURS = {
    Arm.ZERO_SHOT: "#7f7f7f",
    Arm.UNRELATED: "#E69F00",
    Arm.RELATED: "#0072B2",
    Arm.ALL_DATA: "#56B4E9",
    Arm.CEILING: "#009E73",
    Arm.BLIND: "#CC79A7",
}
"""Of the palette that colour-blind readers can tell apart (Okabe and Ito 2008)."""
SHOWN = tuple(COLOURS)
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


def draw_arms(effects: StudyEffects) -> str:
    """Draw accuracy by arm for each held-out question: dots with 95 % intervals, the chance line dashed."""
    with mpl.rc_context(STYLE):
        count = len(effects.contrasts)
        columns = min(2, count)
        lines = -(-count // columns)
        arms = [arm for arm in SHOWN if any(part.arm(arm) for part in effects.contrasts)]
        figure = Figure(figsize=(4.6 * columns, lines * (0.34 * len(arms) + 0.95)), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.1)  # type: ignore[union-attr]
        for number, contrast in enumerate(effects.contrasts, start=1):
            axes = figure.add_subplot(lines, columns, number)
            _draw_contrast(axes, contrast, arms)
        return _to_svg(figure, "Accuracy by arm for each held-out question, with 95 percent intervals")


def _draw_contrast(axes: Axes, contrast: ContrastEffect, arms: Sequence[Arm]) -> None:
    for row, arm in enumerate(arms):
        effect = contrast.arm(arm)
        if effect is None or effect.accuracy is None:
            axes.text(0.01, row, "missing" if effect else "", va="center", color="#555555", fontsize=9)
            continue
        _draw_interval(axes, row, effect.accuracy, COLOURS[arm])
    axes.axvline(contrast.target.chance, color="#555555", linewidth=1, linestyle=(0, (3, 3)), zorder=0)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    _name_rows(axes, [ARM_NAMES[arm] for arm in arms])
    axes.set_title(_title(contrast), loc="left", fontsize=10, fontweight="bold")


def draw_forest(effects: StudyEffects) -> str:
    """Draw the related arm's paired gains, held-out questions above and their mean below."""
    groups = (
        (Arm.ZERO_SHOT, "over zero-shot", lambda part: _related(part, "over_zero_shot")),
        (Arm.UNRELATED, "over unrelated", lambda part: _related(part, "over_unrelated")),
        (Arm.BLIND, "over blind", lambda part: part.over_blind),
    )
    pooled = {part.over: part.gain for part in effects.pooled}
    names = [_short_title(contrast) for contrast in effects.contrasts] + ["all together"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 0.36 * len(names) + 1.0), layout="constrained")
        first: Axes | None = None
        for number, (arm, title, gain) in enumerate(groups, start=1):
            axes = figure.add_subplot(1, 3, number, sharex=first, sharey=first)
            first = first or axes
            found = [gain(contrast) for contrast in effects.contrasts]
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
        return _to_svg(figure, "Paired gains of related training with 95 percent intervals")


def draw_grid(plan: Plan) -> str:
    """Draw the MAT grid: a panel for each task, modality by area; held-out cells and their sources are marked."""
    targets = {contrast.target for contrast in plan.contrasts}
    related = {name for contrast in plan.contrasts for name in contrast.related}
    tasks = sorted({subset.triplet.task for subset in plan.subsets})
    columns = min(4, len(tasks))
    lines = -(-len(tasks) // columns)
    modalities = sorted({subset.triplet.modality for subset in plan.subsets})
    areas = sorted({subset.triplet.area for subset in plan.subsets})
    with mpl.rc_context({**STYLE, "axes.spines.bottom": False}):
        size = (columns * (0.36 * len(areas) + 0.45) + 1.0, lines * (0.36 * len(modalities) + 1.05) + 0.35)
        figure = Figure(figsize=size, layout="constrained")
        for number, task in enumerate(tasks):
            axes = figure.add_subplot(lines, columns, number + 1)
            for subset in plan.subsets:
                if subset.triplet.task == task:
                    place = (areas.index(subset.triplet.area), modalities.index(subset.triplet.modality))
                    _mark_subset(axes, place, is_target=subset.name in targets, is_source=subset.name in related)
            axes.set_xlim(-0.6, len(areas) - 0.4)
            axes.set_ylim(len(modalities) - 0.4, -0.6)
            axes.set_aspect("equal")
            axes.set_xticks(range(len(areas)), areas, rotation=60, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(modalities)), modalities if number % columns == 0 else [""] * len(modalities))
            axes.tick_params(length=0)
            axes.set_title(task, fontsize=10, fontweight="bold", loc="left")
        return _to_svg(figure, "Grid of modalities, areas and tasks with held-out cells and their sources")


def _mark_subset(axes: Axes, place: tuple[int, int], *, is_target: bool, is_source: bool) -> None:
    face = COLOURS[Arm.RELATED] if is_source else "#e3e3e3"
    axes.plot(*place, marker="s", markersize=13, color=face, linestyle="none")
    if is_target:
        axes.plot(
            *place, marker="o", markersize=9, markerfacecolor="white", markeredgecolor="#D55E00", markeredgewidth=2.6
        )


def _draw_interval(axes: Axes, row: int, interval: Interval, colour: str, marker: str = "o") -> None:
    axes.plot([interval.low, interval.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot(interval.estimate, row, marker=marker, color=colour, markersize=6.5, markeredgecolor="white")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _related(contrast: ContrastEffect, gain: str) -> Interval | None:
    effect = contrast.arm(Arm.RELATED)
    if effect is None:
        return None
    return effect.over_zero_shot if gain == "over_zero_shot" else effect.over_unrelated


def _title(contrast: ContrastEffect) -> str:
    return f"{_short_title(contrast)}: {contrast.verdict}"


def _short_title(contrast: ContrastEffect) -> str:
    triplet = contrast.target.triplet
    name = f"{triplet.modality} {triplet.area} {triplet.task}"
    return f"{name} ({contrast.contrast.direction})" if contrast.contrast.direction else name


def _to_svg(figure: Figure, title: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
