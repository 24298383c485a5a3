"""What training on each subset does to each target: the transfer matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cg_lab.analysis.bootstrap import Interval, Scores, subtract
from cg_lab.analysis.components import estimate_mean
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import ORIGINAL, EvalJob

MOST_COMPANY = 4
"""Subsets of a model's training; of more, a source's own part can't be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The mean gain over the untouched backbone of all models that saw a source in training."""

    setting: str
    source: str
    target: str
    """May be the source itself."""
    num_models: int
    """Fine-tunes, each seed by itself."""
    num_mixtures: int
    """Different sets of subsets that they were trained on."""
    gain: Interval


def measure_transfer(plan: Plan, scores: Mapping[str, Scores], confidence: float) -> tuple[Transfer, ...]:
    """Measure what each source does to each target, over the models that were trained on it and few others.

    A model is trained on several subsets as a rule, so that an entry tells about a source in its company. Models and
    questions are crossed random effects, as seeds are elsewhere.
    """
    found: list[Transfer] = []
    for setting in plan.settings:
        data = plan.catalogs[setting.catalog].data
        mixtures = {
            job.id: job.mixture
            for job in plan.finetunes
            if (job.backbone, job.recipe, job.data) == (setting.backbone, setting.recipe, data)
            and job.mixture.labels == "true"
            and len(job.mixture.parts) <= MOST_COMPANY
            and job.mixture.ask == "finding"
        }
        scored = [
            job
            for job in plan.evals
            if job.id in scores and (job.backbone, job.data) == (setting.backbone, data) and _asks_finding(job)
        ]
        untouched = {job.target: scores[job.id] for job in scored if not job.needs}
        by_pair: dict[tuple[str, str], list[EvalJob]] = {}
        for job in scored:
            if job.checkpoint_of in mixtures and job.target in untouched:
                for part in mixtures[job.checkpoint_of].parts:
                    by_pair.setdefault((part.subset, job.target), []).append(job)
        for (source, target), jobs in sorted(by_pair.items()):
            base = untouched[target]
            rows = np.concatenate([scores[job.id].correct_SQ for job in jobs])
            gain = subtract(Scores(questions=base.questions, groups=base.groups, correct_SQ=rows), base)
            parts = {
                frozenset(p.subset for p in mixtures[job.checkpoint_of].parts) for job in jobs if job.checkpoint_of
            }
            found.append(
                Transfer(
                    setting=setting.name, source=source, target=target, num_models=len(jobs), num_mixtures=len(parts),
                    gain=estimate_mean(gain, confidence),
                )
            )  # fmt: skip
    return tuple(found)


def _asks_finding(job: EvalJob) -> bool:
    """Whether a model is asked the subset's own questions about its images as they are, without examples."""
    asked = job.protocol
    return (asked.image, asked.shots, asked.ask) == (ORIGINAL.image, ORIGINAL.shots, ORIGINAL.ask)
