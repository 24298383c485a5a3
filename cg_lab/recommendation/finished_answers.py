"""Read what finished fine-tunes of a results folder reached on targets that they were shown nothing of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from cg_lab.catalog import DataRef
from cg_lab.errors import UserError
from cg_lab.planning.plan import Cell, Plan
from cg_lab.planning.schedule import fit_floor
from cg_lab.planning.work import ORIGINAL, EvalJob
from cg_lab.recipe import Recipe
from cg_lab.recommendation.subset_relations import SubsetRelations
from cg_lab.recommendation.transfer_model import Observations
from cg_lab.results import Layout, read_eval_result, read_plan
from cg_lab.study import Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedFinetune:
    """A fine-tune that was shown nothing of the target."""

    id: str
    parts: tuple[tuple[str, int], ...]
    """Subsets and how many samples of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the finished fine-tunes of a results folder tell about a target, its own test questions left out."""

    observed: Observations
    studies: tuple[str, ...]
    """That they come from."""
    num_finetunes: int
    num_left_out: int
    """Results about the target, subsets that count as it, or of models that were trained on one of them."""
    num_foreign: int
    """Results of another backbone, recipe or other images."""
    finetunes: tuple[FinishedFinetune, ...] = ()
    """That may be asked about validation questions of the target."""


def read_evidence(
    layout: Layout, relations: SubsetRelations, target: str, *, data: DataRef, backbone: Backbone, recipe: Recipe
) -> Evidence:
    """Read all results that say something about a target without being about it.

    The target's test questions, those of subsets that count as it, and models that saw training samples of any of
    them, or copies of its test images, stay out. Studies whose plan can't be read are passed over.
    """
    graph = relations.graph
    subset = graph[target]
    hidden = graph.names(graph.bit(subset) | graph.twins(subset))
    untouchable = {*hidden, *graph.names(graph.copying(subset))}
    reached: defaultdict[tuple[tuple[tuple[str, int], ...], str], dict[str, float]] = defaultdict(dict)
    studies: dict[str, None] = {}
    left_out: set[str] = set()
    foreign: set[str] = set()
    for study in layout.list_studies():
        plan = _read_plan(layout, study)
        if plan is None:
            continue
        jobs = {job.id: job for job in plan.evals}
        for cell in plan.cells:
            job = jobs[cell.eval_job]
            mixture = plan.find_mixture(cell)
            if (
                cell.finetune_job is None
                or mixture is None
                or mixture.labels != "true"
                or mixture.ask != "finding"
                or not _is_plain(cell, job)
            ):
                continue
            tune = plan.finetune_by_id[cell.finetune_job]
            names = {part.subset for part in mixture.parts}
            result = read_eval_result(layout, job.id)
            if result is None:
                continue
            known = (data, backbone, fit_floor(recipe, mixture.num_samples))
            if (job.data, job.backbone, tune.recipe) != known or not names <= graph.index.keys():
                foreign.add(job.id)
            elif job.target in hidden or not names.isdisjoint(untouchable):
                left_out.add(job.id)
            else:
                key = (tuple((part.subset, part.count) for part in mixture.parts), job.target)
                reached[key][tune.id] = result.accuracy
                studies[study] = None
    return Evidence(
        observed=_gather(relations, reached),
        finetunes=tuple(
            FinishedFinetune(id=tune, parts=parts)
            for tune, parts in sorted({tune: key[0] for key, models in reached.items() for tune in models}.items())
        ),
        studies=tuple(studies),
        num_finetunes=len({tune for models in reached.values() for tune in models}),
        num_left_out=len(left_out),
        num_foreign=len(foreign),
    )


def _is_plain(cell: Cell, job: EvalJob) -> bool:
    """Tell whether a cell asks the target's own questions, as they are, of a model that saw nothing of it."""
    traits, proof = cell.arm.traits, cell.proof
    is_held_out = not proof.target_samples and not proof.twins_counted
    return traits.asks_target and traits.image == "original" and job.protocol == ORIGINAL and is_held_out


def _read_plan(layout: Layout, study: str) -> Plan | None:
    try:
        return read_plan(layout.plan(study))
    except (OSError, UserError):
        return None


def _gather(
    relations: SubsetRelations, reached: dict[tuple[tuple[tuple[str, int], ...], str], dict[str, float]]
) -> Observations:
    graph = relations.graph
    counts_NS = np.zeros((len(reached), relations.num_subsets), np.int64)
    chances_N = np.zeros(len(reached))
    targets_N = np.zeros(len(reached), np.int64)
    accuracies_N = np.zeros(len(reached))
    for row, ((parts, target), models) in enumerate(sorted(reached.items())):
        for name, count in parts:
            counts_NS[row, graph.index[name]] = count
        targets_N[row], chances_N[row] = graph.index[target], graph[target].chance
        accuracies_N[row] = np.mean(list(models.values()))
    return Observations(
        counts_NS=counts_NS,
        targets_N=targets_N,
        skills_N=(accuracies_N - chances_N) / (1 - chances_N),
        seeds_N=np.array([len(models) for _, models in sorted(reached.items())], np.int64),
    )
