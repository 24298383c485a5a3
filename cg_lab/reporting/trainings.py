"""What a study's fine-tunes took and whether they learned: a row for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cg_lab.arms import Arm
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout
from cg_lab.serialize import read_json


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
    first: dict[str, Arm] = {}
    places = {arm: place for place, arm in enumerate(Arm)}
    for cell in sorted(plan.cells, key=lambda cell: places[cell.arm]):
        for job in cell.finetunes:
            first.setdefault(job, cell.arm)
    found: dict[Arm, list[Mapping[str, Any]]] = {}
    for job, arm in first.items():
        if (path := layout.result(job)).exists():
            found.setdefault(arm, []).append(read_json(path))
    return tuple(_tell(arm, results) for arm, results in found.items() if any(one.get("seconds") for one in results))


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
