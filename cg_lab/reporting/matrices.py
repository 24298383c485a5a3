"""Figures of many small numbers: the transfer matrix, and reliability by arm."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cg_lab.analysis.calibration import Reliability
from cg_lab.analysis.effects import StudyEffects
from cg_lab.analysis.transfer import Transfer
from cg_lab.percentages import percent
from cg_lab.reporting.figures import StyledFigure, entitle, show_percent, styled, tip
from cg_lab.reporting.words import points

MOST_LINES = 40
"""Rows and columns of a matrix; transfer.csv has all."""
LIGHT = 0.25
"""Gains up to here are written in black on their colour."""


def plot_transfer(effects: StudyEffects) -> StyledFigure | None:
    """Plot what training on each source does to each target, as gains over the untouched model; None without any.

    Of several settings the first is shown.
    """
    setting = effects.plan.settings[0].name
    found = [part for part in effects.transfers if part.setting == setting]
    rows = sorted({part.source for part in found})[:MOST_LINES]
    columns = sorted({part.target for part in found})[:MOST_LINES]
    if not rows or not columns:
        return None
    by_pair = {(part.source, part.target): part for part in found}
    with styled(**{"axes.spines.bottom": False}):
        figure = StyledFigure(figsize=(0.52 * len(columns) + 2.6, 0.3 * len(rows) + 1.9), layout="constrained")
        axes = figure.add_subplot()
        for y, source in enumerate(rows):
            for x, target in enumerate(columns):
                if (source, target) in by_pair:
                    _draw_cell(axes, x, y, by_pair[source, target])
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), columns, rotation=50, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.set_ylabel("trained on, among others")
        axes.set_xlabel("asked about")
        return entitle(figure, "Transfer matrix: gains over the untouched model, percentage points")


def _draw_cell(axes: Axes, x: int, y: int, part: Transfer) -> None:
    gain = part.gain.estimate
    colour = mpl.colormaps["RdBu"](0.5 + max(-0.5, min(0.5, gain)))
    is_resolved = part.gain.low > 0 or part.gain.high < 0
    text = (
        f"{part.source} to {part.target}: {points(part.gain)}, {part.num_models} models of {part.num_mixtures} mixtures"
    )
    is_own = part.source == part.target
    axes.add_patch(
        Rectangle(
            (x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, edgecolor="#111111" if is_own else "none",
            linewidth=1.2, gid=tip(text),
        )
    )  # fmt: skip
    ink = "#111111" if abs(gain) <= LIGHT else "#ffffff"
    weight = "bold" if is_resolved else "normal"
    axes.text(
        x,
        y,
        f"{round(gain * 100):+d}" if abs(gain) >= 0.005 else "0",
        ha="center",
        va="center",
        fontsize=8,
        color=ink,
        fontweight=weight,
    )


def plot_reliability(found: Sequence[Reliability]) -> StyledFigure | None:
    """Plot how often answers are right over how sure the model is, a panel for each arm; None without probabilities."""
    if not found:
        return None
    with styled():
        columns = min(4, len(found))
        lines = -(-len(found) // columns)
        figure = StyledFigure(figsize=(2.4 * columns + 0.4, 2.5 * lines + 0.3), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.1)  # type: ignore[union-attr]
        for number, part in enumerate(found, start=1):
            axes = figure.add_subplot(lines, columns, number)
            traits = part.arm.traits
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (3, 3)))
            for group in part.bins:
                text = (
                    f"{traits.words}: {group.num_answers} answers with {percent(group.confidence)} on the "
                    f"option chosen, {percent(group.accuracy)} right"
                )
                axes.plot([group.confidence] * 2, [group.low, group.high], color=traits.colour, linewidth=1.6)
                axes.plot(
                    group.confidence, group.accuracy, "o", color=traits.colour, markersize=4.5, gid=tip(text),
                    clip_on=False,
                )  # fmt: skip
            show_percent(axes.xaxis)
            show_percent(axes.yaxis)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_title(traits.words, loc="left", fontsize=10, fontweight="bold")
            axes.set_title(f"error {part.error * 100:.0f}", loc="right", fontsize=9, color="#444444")
        figure.supxlabel("probability of the option chosen", fontsize=10)
        figure.supylabel("answers that are right", fontsize=10)
        return entitle(figure, "Reliability of answers by arm")
