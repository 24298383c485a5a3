"""What a study's fine-tunes took and whether they learned: a row and a panel of losses for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from cg_lab.arms import Arm
from cg_lab.journal import list_logged, read_events
from cg_lab.planning.plan import Plan
from cg_lab.reporting.examples import spread
from cg_lab.reporting.figures import StyledFigure, entitle, styled, tip
from cg_lab.results import Layout
from cg_lab.serialize import read_json

MOST_LINES = 6
"""Fine-tunes of an arm whose losses are drawn."""
MOST_POINTS = 24
"""Of a line: means over as many equal parts of a training."""
COLUMNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Fine-tunes that an arm is the first to ask."""

    arm: str
    num_finetunes: int
    num_samples: int | None
    """Over all epochs of all of them; None where a trainer's command does not say it."""
    time: str
    """Of all of them, one after the other."""
    losses: str
    """Medians of the first and last logged losses; empty where they are not known."""
    worst: str
    """The largest last loss."""


def list_trained(plan: Plan, layout: Layout) -> tuple[Trained, ...]:
    """Tell of the finished fine-tunes of a plan, each under the first arm that asks it."""
    found = {
        arm: [read_json(path) for job in jobs if (path := layout.result(job)).exists()]
        for arm, jobs in _group_jobs(plan).items()
    }
    return tuple(_tell(arm, results) for arm, results in found.items() if any(one.get("seconds") for one in results))


def plot_training(plan: Plan, layout: Layout) -> StyledFigure | None:
    """Plot losses along fine-tunes, a panel for each arm that is the first to ask them; None where none were logged."""
    seeds = {job.id: job.seed for job in plan.finetunes}
    drawn = {
        arm: {
            job: points
            for job in spread([job for job in jobs if layout.journal(job).exists()], MOST_LINES)
            if (points := _read_losses(layout, job))
        }
        for arm, jobs in _group_jobs(plan).items()
    }
    shown = {arm: lines for arm, lines in drawn.items() if lines}
    if not shown:
        return None
    with styled():
        columns = min(COLUMNS, len(shown))
        rows = -(-len(shown) // columns)
        figure = StyledFigure(figsize=(9.2 * columns / COLUMNS, 1.6 * rows + 0.4), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        for axes, (arm, lines) in zip(panels, shown.items(), strict=False):
            for job, points in lines.items():
                text = f"{arm.traits.words}, seed {seeds[job]}, {job}: {points[0][1]:.2f} to {points[-1][1]:.2f}"
                axes.plot(*zip(*points, strict=True), color=arm.traits.colour, linewidth=1, alpha=0.7, gid=tip(text))
            axes.set_title(arm.traits.words, loc="left", fontsize=9, fontweight="bold")
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
        for axes in list(panels):
            axes.set_axis_off()
        figure.axes[0].set_ylim(bottom=0)  # which all share
        figure.supxlabel("share of the training", fontsize=9)
        figure.supylabel("loss", fontsize=9)
        return entitle(figure, "Losses along fine-tunes, by arm")


def _group_jobs(plan: Plan) -> dict[Arm, list[str]]:
    """Group fine-tunes by the first arm that asks each."""
    places = {arm: place for place, arm in enumerate(Arm)}
    found: dict[Arm, dict[str, None]] = {}
    seen: set[str] = set()
    for cell in sorted(plan.cells, key=lambda cell: places[cell.arm]):
        for job in cell.finetunes:
            if job not in seen:
                seen.add(job)
                found.setdefault(cell.arm, {})[job] = None
    return {arm: list(jobs) for arm, jobs in found.items()}


def _read_losses(layout: Layout, job: str) -> list[tuple[float, float]]:
    """Read the losses of a fine-tune, as means over equal parts of it: at which share of it, and the loss."""
    events = list_logged(read_events(layout.journal(job)))
    logged = [(event["step"], event["loss"]) for event in events if isinstance(event.get("loss"), (int, float))]
    last = max((step for step, _ in logged), default=0) or 1
    parts: dict[int, list[tuple[int, float]]] = {}
    for step, loss in logged:
        parts.setdefault(min(MOST_POINTS - 1, step * MOST_POINTS // last), []).append((step, loss))
    return [(fmean(step for step, _ in part) / last, fmean(loss for _, loss in part)) for part in parts.values()]


def _tell(arm: Arm, results: Sequence[Mapping[str, Any]]) -> Trained:
    losses = [(one["loss_first"], one["loss_last"]) for one in results if one.get("loss_last") is not None]
    samples = [one["samples"] for one in results if one.get("samples") is not None]
    starts, ends = zip(*losses, strict=True) if losses else ((), ())
    return Trained(
        arm=arm.traits.words,
        num_finetunes=len(results),
        num_samples=sum(samples) if len(samples) == len(results) else None,
        time=_tell_time(sum(one.get("seconds", 0) for one in results)),
        losses=f"{median(starts):.2f} to {median(ends):.2f}" if losses else "",
        worst=f"{max(ends):.2f}" if losses else "",
    )


def _tell_time(seconds: float) -> str:
    """Write how long something took.

    >>> _tell_time(95), _tell_time(600), _tell_time(9000)
    ('95 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
