"""What the options' probabilities show beyond right and wrong: reliability, and seen against unseen pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from cg_lab.analysis.bootstrap import Resampling
from cg_lab.analysis.calibration import Reliability, measure_reliability
from cg_lab.analysis.pairs import Answers, SplitEffect, measure_split, read_answer
from cg_lab.arms import MAIN_ARMS
from cg_lab.planning.plan import Contrast, Plan
from cg_lab.reporting.read import Readings
from cg_lab.results import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What was found in probabilities; empty where answers were read another way."""

    reliabilities: tuple[Reliability, ...]
    splits: tuple[SplitEffect, ...]
    """Of designs that split pairs (`attribute_split`)."""


def explore_probabilities(plan: Plan, layout: Layout, readings: Readings) -> Explored:
    """Look at the probabilities of a plan's finished evaluations."""
    right = {job_id: scores.correct_SQ[0] for job_id, scores in readings.scores.items()}
    return Explored(
        reliabilities=measure_reliability(plan, readings.confidences, right),
        splits=_measure_splits(plan, layout, readings),
    )


def _measure_splits(plan: Plan, layout: Layout, readings: Readings) -> tuple[SplitEffect, ...]:
    """Measure every world and side of a plan that asks for pairs, over the models that answered all its questions."""
    by_world: dict[tuple[str, str], dict[str, list[Contrast]]] = {}
    for contrast in plan.contrasts:
        if contrast.protocol.ask == "elements" and contrast.direction:
            side, world = contrast.direction.removesuffix(" world").split(", ")
            by_world.setdefault((contrast.setting, world), {}).setdefault(side, []).append(contrast)
    jobs = {(cell.contrast, cell.seed): cell.eval_job for cell in plan.cells if cell.arm in MAIN_ARMS}
    seeds = sorted({seed for _, seed in jobs if seed is not None})
    resampling = Resampling(num_resamples=plan.rule.resamples, seed=plan.rule.seed, confidence=plan.rule.confidence)
    found: list[SplitEffect] = []
    for (setting, world), sides in by_world.items():
        seen = sides.pop("seen", [])
        for side, unseen in sides.items():
            models: list[Answers] = []
            for seed in seeds:
                asked = [(part, jobs.get((part.id, seed), "")) for part in (*seen, *unseen)]
                if seen and all(job in readings.confidences for _, job in asked):
                    models.append(_join([_read(layout, part, job) for part, job in asked]))
            if models:
                found.append(measure_split(setting, world, side, models, resampling))
    return tuple(found)


def _read(layout: Layout, contrast: Contrast, job_id: str) -> Answers:
    assert contrast.main is not None
    known = set(contrast.main.candidates)
    table = pq.read_table(layout.predictions(job_id), columns=["options", "log_probs", "answer"]).to_pylist()
    rows = [
        read_answer(row["log_probs"], [option not in known for option in row["options"]], row["answer"])
        for row in table
    ]
    unseen, margins, right = zip(*rows, strict=True)
    return Answers(is_unseen_Q=np.array(unseen), margin_Q=np.array(margins), is_right_Q=np.array(right))


def _join(parts: list[Answers]) -> Answers:
    return Answers(
        is_unseen_Q=np.concatenate([part.is_unseen_Q for part in parts]),
        margin_Q=np.concatenate([part.margin_Q for part in parts]),
        is_right_Q=np.concatenate([part.is_right_Q for part in parts]),
    )
