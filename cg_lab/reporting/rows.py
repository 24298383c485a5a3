"""Rows of a report's tables in words: numbers over several held-out questions, and samples saved along curves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cg_lab.analysis.effects import StudyEffects
from cg_lab.analysis.summary import Summary
from cg_lab.arms import Arm
from cg_lab.percentages import percent

LEFT_OUT = frozenset({"two-level bootstrap", "these very targets"})
"""Ways to pool that stand in summary.csv alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One number over several held-out questions, in words."""

    what: str
    group: str
    num_questions: int
    value: str
    interval: str


def list_told(summaries: Iterable[Summary]) -> list[Told]:
    """Put numbers over several held-out questions in words: shares in percent, differences in points."""
    told: list[Told] = []
    for part in (part for part in summaries if part.method not in LEFT_OUT):
        over = Arm(part.arm.removeprefix("over ")) if part.arm.removeprefix("over ") in set(Arm) else None
        name = over.traits.words if over else part.arm
        is_gain = part.measure in {"gain", "loss_without", "slope"}
        what = {
            "gain": f"gain of related training over {name}",
            "loss_without": f"gain of related training over training without the target's {name}",
            "slope": f"change of related training's gain over {name} with each step of the level",
            "iqm": f"accuracy of {name}, mean between the quartiles",
            "probability_of_improvement": f"chance that a seed of related training is better than {name}",
        }[part.measure]
        numbers = [part.value.estimate, part.value.low, part.value.high]
        value, low, high = (f"{number * 100:+.0f}" if is_gain else percent(number) for number in numbers)
        told.append(
            Told(
                what=what, group=part.group.replace("=", ": "), num_questions=part.num_questions,
                value=f"{value} points" if is_gain else value,
                interval=f"{low} to {high}" if part.value.low < part.value.high else "",  # none over one model
            )
        )  # fmt: skip
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSaving:
    """What another arm needs for the same accuracy, in words."""

    curve: str
    level: str
    over: str
    needed: str
    interval: str


def list_savings(effects: StudyEffects) -> list[ToldSaving]:
    """Put in words how many samples other arms need for what related training reaches at each level of a curve."""
    by_id = {part.contrast.id: part for part in effects.contrasts}
    told: list[ToldSaving] = []
    for curve in effects.curves:
        contrast = by_id[curve.contrasts[0]].contrast
        most = curve.levels[-1]
        for part in curve.savings:
            needed, low, high = (
                f"over {most:g}" if math.isinf(n) else f"{n:.0f}" for n in (part.needed, part.low, part.high)
            )
            told.append(
                ToldSaving(
                    curve=" ".join(contrast.view) + (f" ({contrast.direction})" if contrast.direction else ""),
                    level=f"{part.level:g}", over=part.over.traits.words, needed=needed, interval=f"{low} to {high}",
                )
            )  # fmt: skip
    return told
