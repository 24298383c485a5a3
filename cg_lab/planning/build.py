"""Compile a study: contrasts to arms, arms to cells and jobs, equal jobs to one."""

from __future__ import annotations

from dataclasses import dataclass

from cg_lab.catalog import Catalog
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.planning.designs import explain_absence, find_contrasts
from cg_lab.planning.graph import MatGraph, build_graph
from cg_lab.planning.mixture import build_mixture, count_available
from cg_lab.planning.plan import (
    PLAN_SCHEMA,
    Arm,
    Backbone,
    Cell,
    Contrast,
    EvalJob,
    FinetuneJob,
    Mixture,
    Plan,
    Protocol,
    Skipped,
)
from cg_lab.planning.validity import check_proof, prove
from cg_lab.study import Study

TRAINED_ARMS = (Arm.UNRELATED, Arm.RELATED, Arm.ALL_DATA, Arm.CEILING)
"""Arms that take a fine-tune of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    cell: Cell
    finetune: FinetuneJob | None
    evaluation: EvalJob


def build_plan(study: Study, catalog: Catalog, backbone: Backbone) -> Plan:
    """Plan a study over a catalogue; the same input gives the same plan, byte for byte.

    Raises
    ------
    UserError
        If a named target is unknown or has no valid sources, or if no target has any.

    """
    graph = build_graph(catalog.subsets)
    contrasts, skipped = _find_all_contrasts(study, catalog, graph)
    drafts = [
        draft
        for contrast in contrasts
        for draft in _draft_contrast(contrast, study, graph, _Setting(catalog=catalog, backbone=backbone))
    ]
    trained = [draft.finetune for draft in drafts if draft.cell.arm in TRAINED_ARMS and draft.finetune]
    finetunes = {job.id: job for job in trained}
    evaluations = {draft.cell.eval_job: draft.evaluation for draft in drafts}
    return Plan(
        schema=PLAN_SCHEMA,
        study=study.study,
        data=catalog.data,
        backbone=backbone,
        subsets=catalog.subsets,
        contrasts=contrasts,
        cells=tuple(draft.cell for draft in drafts),
        finetunes=tuple(finetunes[job_id] for job_id in sorted(finetunes)),
        evals=tuple(evaluations[job_id] for job_id in sorted(evaluations)),
        skipped=skipped,
        notes=catalog.notes,
        rule=study.rule,
        num_declared_finetunes=len(trained),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    catalog: Catalog
    backbone: Backbone


def _find_all_contrasts(
    study: Study, catalog: Catalog, graph: MatGraph
) -> tuple[tuple[Contrast, ...], tuple[Skipped, ...]]:
    named = study.targets is not None
    targets = [catalog.find(name) for name in study.targets] if study.targets is not None else list(catalog.subsets)
    contrasts: dict[str, Contrast] = {}
    skipped: list[Skipped] = []
    for target in targets:
        found = find_contrasts(graph, target, study.design) if target.num_test > 0 else ()
        contrasts |= {contrast.id: contrast for contrast in found}
        if not found:
            reason = explain_absence(study.design) if target.num_test > 0 else "it has no test samples"
            skipped.append(Skipped(target=target.name, reason=reason))
    if skipped and (named or not contrasts):
        told = "\n".join(f"  - {part.target}: {part.reason}" for part in skipped)
        raise UserError(f"targets: no valid sources in the catalogue under design={study.design.name} for\n{told}")
    return tuple(contrasts.values()), tuple(skipped)


def _draft_contrast(contrast: Contrast, study: Study, graph: MatGraph, setting: _Setting) -> list[_Draft]:
    subsets = graph.subsets
    target = subsets[contrast.target]
    related = tuple(subsets[name] for name in contrast.related)
    unrelated = tuple(subsets[name] for name in contrast.unrelated)
    budget = min(study.design.max_samples, count_available(related), count_available(unrelated))
    drafts = [_draft_cell(contrast, Arm.ZERO_SHOT, target, None, (), None, budget, setting)]
    for seed in study.seeds:
        sets: dict[Arm, tuple[Subset, ...]] = {Arm.UNRELATED: unrelated, Arm.RELATED: related, Arm.CEILING: (target,)}
        if contrast.design == "all_related":
            sets[Arm.ALL_DATA] = related + unrelated
        for arm in TRAINED_ARMS:
            if arm in sets:
                job = _draft_finetune(build_mixture(sets[arm], budget, seed), study, seed, setting)
                drafts.append(_draft_cell(contrast, arm, target, seed, sets[arm], job, budget, setting))
                if arm is Arm.RELATED:
                    asked = [(Arm.BLIND, target), *((Arm.SOURCES, source) for source in related if source.num_test)]
                    drafts += [
                        _draft_cell(contrast, other, subset, seed, related, job, budget, setting)
                        for other, subset in asked
                    ]
    return drafts


def _draft_finetune(mixture: Mixture, study: Study, seed: int, setting: _Setting) -> FinetuneJob:
    return FinetuneJob(
        data=setting.catalog.data, backbone=setting.backbone, mixture=mixture, recipe=study.finetune, seed=seed
    )


def _draft_cell(
    contrast: Contrast,
    arm: Arm,
    subset: Subset,
    seed: int | None,
    training: tuple[Subset, ...],
    job: FinetuneJob | None,
    budget: int,
    setting: _Setting,
) -> _Draft:
    evaluation = EvalJob(
        data=setting.catalog.data,
        backbone=setting.backbone,
        target=subset.name,
        checkpoint_of=job.id if job else None,
        protocol=Protocol(image="blank" if arm is Arm.BLIND else "original"),
    )
    target = next(known for known in setting.catalog.subsets if known.name == contrast.target)
    proof = prove(target, training, asked=subset, num_train=job.mixture.num_samples if job else 0, budget=budget)
    cell = Cell(
        contrast=contrast.id,
        arm=arm,
        subset=subset.name,
        seed=seed,
        trained_on=job.mixture if job else None,
        eval_job=evaluation.id,
        finetune_job=job.id if job else None,
        proof=proof,
    )
    check_proof(cell.key, proof, arm)
    return _Draft(cell=cell, finetune=job, evaluation=evaluation)
