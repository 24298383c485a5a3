"""Figures of a report: matplotlib figures, and as SVG the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from textwrap import fill
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.analysis.measuring import ArmEffect
from cg_lab.arms import REFERENCES, Arm
from cg_lab.percentages import percent
from cg_lab.reporting.names import name_arm, name_questions
from cg_lab.reporting.words import points, shares

FACTOR_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
"""Of the palette that colour-blind readers can tell apart (Okabe and Ito 2008)."""
MOST_PANELS = 24
"""Held-out questions, or curves, that a figure shows; the tables have all."""
MOST_ANSWERED = 4
"""Of them, those on a report's first screen."""
MOST_ROWS = 60
WIDTH, ABOVE, BELOW = 4.6, 0.28, 0.55
"""Inches of a panel, above its axes, and below them."""
LETTERS = 36
"""Of a line of a panel's title, or of a row's name."""
COMPARED = (Arm.ZERO_SHOT, Arm.UNRELATED, Arm.ALONE)
"""Arms that the main one is compared with where a word is given, in the order in which they are read."""
TIP = "tip: "
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib writes all of them at each text, a third of a figure's bytes
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "svg.hashsalt": "cg_lab",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#555555",
}


class StyledFigure(Figure):
    """A figure that notebooks show, and that is saved in the report's style whatever theirs is."""

    def savefig(self, fname: Any, **settings: Any) -> None:  # noqa: ANN401
        """Save to a file as matplotlib does, with letters as letters."""
        with styled():
            super().savefig(fname, **settings)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def styled(**further: Any) -> AbstractContextManager[None]:  # noqa: ANN401
    """Let figures be made and saved in the report's style, whatever style is set."""
    return style.context(["default", STYLE | further])


def plot_arms(effects: StudyEffects) -> StyledFigure:
    """Plot accuracy by arm for each held-out question, with its word.

    Means with 95 % intervals, a small dot for each seed, the chance line dashed.
    """
    asked = [(contrast, _list_asked(contrast)) for contrast in effects.contrasts[:MOST_PANELS]]
    figure = _plot_panels(effects, asked, row_height=0.3)
    return entitle(figure, "Accuracy by arm for each held-out question, with 95 percent intervals")


def plot_answer(effects: StudyEffects) -> StyledFigure:
    """Plot of the first held-out questions what their words rest on, in the order in which it is read.

    The untouched model, unrelated training, each source alone, the main arm, the ceiling.
    """
    asked = [(contrast, _list_answering(contrast)) for contrast in effects.contrasts[:MOST_ANSWERED]]
    figure = _plot_panels(effects, asked, row_height=0.25)
    for axes, (contrast, _) in zip(figure.axes, asked, strict=True):
        _tell_further(axes, contrast)
    return entitle(figure, "What each word rests on: accuracy with 95 percent intervals, and every seed")


def plot_answers(effects: StudyEffects) -> list[StyledFigure]:
    """Plot the same as a figure for each held-out question, with axes that stand in line below each other."""
    asked = [(contrast, _list_answering(contrast)) for contrast in effects.contrasts[:MOST_ANSWERED]]
    figures = _plot_apart(effects, asked)
    for figure, (contrast, _) in zip(figures, asked, strict=True):
        _tell_further(figure.axes[0], contrast)
    return figures


def plot_questions(effects: StudyEffects) -> list[StyledFigure]:
    """Plot accuracy by arm as a figure for each held-out question; none where `plot_answers` has every arm of all."""
    asked = [(contrast, _list_asked(contrast)) for contrast in effects.contrasts[:MOST_PANELS]]
    is_shown = len(asked) <= MOST_ANSWERED and all(len(_list_answering(part)) == len(arms) for part, arms in asked)
    return [] if is_shown else _plot_apart(effects, asked)


def _plot_apart(
    effects: StudyEffects, asked: Sequence[tuple[ContrastEffect, Sequence[ArmEffect]]]
) -> list[StyledFigure]:
    names = name_questions(effects.plan)
    longest = max(len(name_arm(part.arm, part.variant)) for _, parts in asked for part in parts)
    height = 0.25 * max(len(parts) for _, parts in asked)
    lines = max(_wrap_title(contrast, names[contrast.contrast.id]).count("\n") for contrast, _ in asked)
    above = ABOVE + 0.18 * lines
    left = min(0.15 + 0.07 * longest, WIDTH / 2)
    figures: list[StyledFigure] = []
    for contrast, parts in asked:
        with styled():
            figure = StyledFigure(figsize=(WIDTH, height + above + BELOW))
            whole = height + above + BELOW
            axes = figure.add_axes((left / WIDTH, BELOW / whole, 1 - (left + 0.35) / WIDTH, height / whole))
            _draw_contrast(axes, contrast, parts, names[contrast.contrast.id])
        figures.append(entitle(figure, f"{names[contrast.contrast.id]}: accuracy with 95 percent intervals"))
    return figures


def _list_answering(contrast: ContrastEffect) -> list[ArmEffect]:
    """List the arms that a word rests on, in the order in which they are read."""
    asked = _list_asked(contrast)
    return [
        *(effect for arm in COMPARED for effect in asked if effect.arm is arm),
        *(effect for effect in asked if effect.arm.traits.is_main),
        *(effect for effect in asked if effect.arm is Arm.CEILING),
    ]


def _plot_panels(
    effects: StudyEffects, asked: Sequence[tuple[ContrastEffect, Sequence[ArmEffect]]], *, row_height: float
) -> StyledFigure:
    """Plot a panel for each held-out question, two beside each other."""
    with styled():
        names = name_questions(effects.plan)
        columns = min(2, len(asked))
        lines = -(-len(asked) // columns)
        rows = max(len(parts) for _, parts in asked)
        figure = StyledFigure(figsize=(WIDTH * columns, lines * (row_height * rows + 0.95)), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.1)  # type: ignore[union-attr]
        for number, (contrast, parts) in enumerate(asked, start=1):
            axes = figure.add_subplot(lines, columns, number)
            _draw_contrast(axes, contrast, parts, names[contrast.contrast.id])
        return figure


def _list_asked(contrast: ContrastEffect) -> list[ArmEffect]:
    """List what was asked about a question's target, in the order of the arms."""
    places = {arm: place for place, arm in enumerate(Arm)}
    asked = [part for part in contrast.arms if part.arm.traits.asks_target]
    return sorted(asked, key=lambda part: (places[part.arm], part.variant))


def _draw_contrast(axes: Axes, contrast: ContrastEffect, asked: Sequence[ArmEffect], name: str) -> None:
    for row, effect in enumerate(asked):
        if effect.accuracy is None:
            axes.text(0.01, row, "missing", va="center", color="#555555", fontsize=9)
            continue
        colour, said = effect.arm.traits.colour, f"{name}, {name_arm(effect.arm, effect.variant)}"
        _draw_interval(axes, row, effect.accuracy, colour, text=f"{said}: {shares(effect.accuracy)}")
        for seed, mean in zip(effect.seeds, effect.means, strict=False):
            axes.plot(
                mean, row + 0.3, "o", color=colour, markersize=2.6, alpha=0.75, clip_on=False,
                gid=tip(f"{said}, seed {seed}: {percent(mean)}"),
            )  # fmt: skip
    axes.axvline(contrast.chance, color="#555555", linewidth=1, linestyle=(0, (3, 3)), zorder=0)
    axes.set_xlim(0, 1)
    show_percent(axes.xaxis)
    _name_rows(axes, [name_arm(effect.arm, effect.variant) for effect in asked])
    axes.set_title(_wrap_title(contrast, name), loc="left", fontsize=10, fontweight="bold")


def _wrap_title(contrast: ContrastEffect, name: str) -> str:
    """Write a panel's title on as many lines as keep its word in sight."""
    return fill(f"{name}: {contrast.word}", LETTERS)


def _tell_further(axes: Axes, contrast: ContrastEffect) -> None:
    """Say below a panel what would decide its question."""
    if contrast.further:
        axes.set_xlabel(contrast.further.label, loc="right", fontsize=8.5, color="#555555")


def plot_forest(effects: StudyEffects) -> StyledFigure:
    """Plot the related arm's paired gains, held-out questions above and their mean below."""
    references = [arm for arm in REFERENCES if arm in effects.arms] or REFERENCES
    pooled = {part.over: part.gain for part in effects.pooled}
    by_id = name_questions(effects.plan)
    shown = effects.contrasts[:MOST_ROWS]
    names = [by_id[contrast.contrast.id] for contrast in shown] + (["all together"] if pooled else [])
    with styled():
        figure = StyledFigure(figsize=(9.2, 0.36 * len(names) + 1.0), layout="constrained")
        first: Axes | None = None
        for number, arm in enumerate(references, start=1):
            title, colour = f"over {arm.traits.words}", arm.traits.colour
            axes = figure.add_subplot(1, len(references), number, sharex=first, sharey=first)
            first = first or axes
            for row, contrast in enumerate(shown):
                if contrast.main and (interval := contrast.main.gains.get(arm)):
                    _draw_interval(axes, row, interval, colour, text=f"{names[row]} {title}: {points(interval)}")
            if arm in pooled:
                text = f"{names[-1]} {title}: {points(pooled[arm])}"
                _draw_interval(axes, len(names) - 1, pooled[arm], "#222222", text=text, marker="D")
            axes.axvline(0, color="#555555", linewidth=1, zorder=0)
            if pooled:
                axes.axhline(len(names) - 1.5, color="#bbbbbb", linewidth=0.8)
            axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:+.0f}" if value else "0")
            if number == 1:
                _name_rows(axes, names)
            else:
                axes.tick_params(left=False, labelleft=False)
        figure.supxlabel("gain of related training, percentage points", fontsize=10)
        return entitle(figure, "Paired gains of related training with 95 percent intervals")


def plot_losses(effects: StudyEffects) -> StyledFigure | None:
    """Plot what related training loses without the subsets of one element, by factor; None where nothing was left out.

    As Med-MAT's figure 4: each held-out question a row, each factor a colour, the mean over questions below.
    """
    shown = [part for part in effects.contrasts if part.losses][:MOST_ROWS]
    if not shown:
        return None
    factors = list(dict.fromkeys(factor for part in shown for factor in part.losses))
    pooled = {
        part.arm: part.value
        for part in effects.summaries
        if (part.measure, part.group, part.method) == ("loss_without", "all", "t over targets")
    }
    by_id = name_questions(effects.plan)
    names = [by_id[part.contrast.id] for part in shown] + (["all together"] if pooled else [])
    with styled():
        figure = StyledFigure(figsize=(9.2, 0.2 * len(names) * len(factors) + 1.2), layout="constrained")
        axes = figure.add_subplot()
        for number, factor in enumerate(factors):
            colour = FACTOR_COLOURS[number % len(FACTOR_COLOURS)]
            rows = [part.losses.get(factor) for part in shown] + ([pooled.get(factor)] if pooled else [])
            for row, interval in enumerate(rows):
                if interval is not None:
                    place = row + (number - (len(factors) - 1) / 2) * 0.22
                    text = f"{names[row]} without {factor}: {points(interval)}"
                    marker = "D" if row == len(shown) else "o"
                    _draw_interval(axes, place, interval, colour, text=text, marker=marker)
            axes.plot([], [], color=colour, marker="o", linewidth=2.2, label=f"without {factor}")
        axes.axvline(0, color="#555555", linewidth=1, zorder=0)
        if pooled:
            axes.axhline(len(names) - 1.5, color="#bbbbbb", linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:+.0f}" if value else "0")
        _name_rows(axes, names)
        figure.supxlabel(
            "accuracy of related training over training without the element, percentage points", fontsize=10
        )
        figure.legend(loc="outside upper right", ncols=len(factors), frameon=False, fontsize=9)
        return entitle(figure, "What related training loses without one element, with 95 percent intervals")


def _draw_interval(axes: Axes, row: float, interval: Interval, colour: str, *, text: str, marker: str = "o") -> None:
    axes.plot(
        [interval.low, interval.estimate, interval.high], [row] * 3, color=colour, linewidth=2.2,
        solid_capstyle="round", marker=marker, markevery=[1], markersize=6.5, markeredgecolor="white", gid=tip(text),
        clip_on=False,
    )  # fmt: skip


def tip(text: str) -> str:
    """Give the id of a mark that says something when it is pointed at; `to_svg` turns it into the mark's title."""
    return f"{TIP}{text}"


def show_percent(axis: Axis) -> None:
    """Let an axis of shares count in quarters."""
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [fill(name, LETTERS) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def entitle(figure: StyledFigure, title: str) -> StyledFigure:
    """Name a figure; files that it is saved to carry the name."""
    figure.set_label(title)
    return figure


def to_pdf(figure: StyledFigure) -> bytes:
    """Give a figure as a page of PDF, for papers."""
    buffer = io.BytesIO()
    metadata = {"CreationDate": None, "Creator": None, "Producer": None, "Title": str(figure.get_label())}
    figure.savefig(buffer, format="pdf", metadata=metadata)
    return buffer.getvalue()
