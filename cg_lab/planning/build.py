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
    drafts = [draft for contrast in contrasts for draft in _Drafter(contrast, study, catalog, graph, backbone).draft()]
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


class _Drafter:
    """Drafts the cells of one contrast."""

    def __init__(self, contrast: Contrast, study: Study, catalog: Catalog, graph: MatGraph, backbone: Backbone) -> None:
        self.contrast = contrast
        self.study = study
        self.data = catalog.data
        self.backbone = backbone
        self.target = graph.subsets[contrast.target]
        self.related = tuple(graph.subsets[name] for name in contrast.related)
        self.unrelated = tuple(graph.subsets[name] for name in contrast.unrelated)
        self.budget = min(study.design.max_samples, count_available(self.related), count_available(self.unrelated))

    def draft(self) -> list[_Draft]:
        """Draft every arm: the untouched backbone once, the others for each seed."""
        drafts = [self._draft_cell(Arm.ZERO_SHOT, self.target, (), None)]
        for seed in self.study.seeds:
            for arm, training in self._list_training().items():
                job = self._draft_finetune(training, seed)
                drafts.append(self._draft_cell(arm, self.target, training, job))
                if arm is Arm.RELATED:
                    drafts.append(self._draft_cell(Arm.BLIND, self.target, training, job))
                    tested = [source for source in training if source.num_test]
                    drafts += [self._draft_cell(Arm.SOURCES, source, training, job) for source in tested]
        return drafts

    def _list_training(self) -> dict[Arm, tuple[Subset, ...]]:
        training = {Arm.UNRELATED: self.unrelated, Arm.RELATED: self.related}
        if self.contrast.design == "all_related":
            training[Arm.ALL_DATA] = self.related + self.unrelated
        return training | {Arm.CEILING: (self.target,)}

    def _draft_finetune(self, training: tuple[Subset, ...], seed: int) -> FinetuneJob:
        return FinetuneJob(
            data=self.data,
            backbone=self.backbone,
            mixture=build_mixture(training, self.budget, seed),
            recipe=self.study.finetune,
            seed=seed,
        )

    def _draft_cell(self, arm: Arm, asked: Subset, training: tuple[Subset, ...], job: FinetuneJob | None) -> _Draft:
        evaluation = EvalJob(
            data=self.data,
            backbone=self.backbone,
            target=asked.name,
            checkpoint_of=job.id if job else None,
            protocol=Protocol(image="blank" if arm is Arm.BLIND else "original"),
        )
        num_train = job.mixture.num_samples if job else 0
        proof = prove(self.target, training, asked=asked, num_train=num_train, budget=self.budget)
        cell = Cell(
            contrast=self.contrast.id,
            arm=arm,
            subset=asked.name,
            seed=job.seed if job else None,
            trained_on=job.mixture if job else None,
            eval_job=evaluation.id,
            finetune_job=job.id if job else None,
            proof=proof,
        )
        check_proof(cell.key, proof, arm)
        return _Draft(cell=cell, finetune=job, evaluation=evaluation)
