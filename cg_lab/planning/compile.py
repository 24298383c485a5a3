"""Compile held-out questions: arms to cells and jobs, each proved from what its model is really trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cg_lab.arms import MAIN_ARMS, Arm
from cg_lab.catalog import Catalog
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Kind, Subset
from cg_lab.planning.budget import Candidate, Cost
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.jobs import JobFactory
from cg_lab.planning.mixture import build_mixture
from cg_lab.planning.plan import Cell, Contrast, Training
from cg_lab.planning.validity import BUDGETED_ARMS, Claim, Proof, Prover, check_proof, expect_guess
from cg_lab.planning.work import ORIGINAL, EvalJob, FinetuneJob, MixturePart
from cg_lab.study import Backbone, Study

MOST_KEPT = 2_000
"""Fine-tunes that are kept to be given again; beyond them all are forgotten, so that cells can be streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A cell with its jobs, before equal ones are merged."""

    cell: Cell
    finetune: FinetuneJob | None
    evaluation: EvalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A held-out question with what its cells have in common, found once."""

    contrast: Contrast
    target: Subset
    main: Training | None
    sees_target: bool
    budget: int
    """Samples that every budgeted arm gets."""


def _open(contrast: Contrast, graph: MatGraph) -> _Question:
    main = contrast.main
    return _Question(
        contrast=contrast,
        target=graph[contrast.target],
        main=main,
        sees_target=contrast.sees_target,
        budget=0 if main is None else main.num_samples + main.num_target,
    )


class Compiler:
    """Compiles held-out questions of one run to cells and jobs."""

    def __init__(self, study: Study, catalog: Catalog, graph: MatGraph, prover: Prover, backbone: Backbone) -> None:
        self._graph = graph
        self._seeds = study.seeds
        self._arms = None if study.arms is None else frozenset(study.arms)
        self._epochs = study.finetune.epochs
        self._samples_per_s = study.model.train_samples_per_s
        self._evaluation = study.evaluation
        self._jobs = JobFactory(catalog.data, backbone, study.finetune)
        self._prover = prover
        self._filler = _find_filler(study, catalog)
        self._filler_share = study.filler.share
        self._finetunes: dict[tuple[object, ...], FinetuneJob] = {}

    def restrict(self, contrast: Contrast) -> Contrast:
        """Leave out the arms that the study does not want."""
        if self._arms is None:
            return contrast
        wanted = MAIN_ARMS if {Arm.BLIND, Arm.SOURCES} & self._arms else ()
        kept = tuple(part for part in contrast.trainings if part.arm in self._arms or part.arm in wanted)
        return replace(contrast, trainings=kept, asks_sources=contrast.asks_sources and self._wants(Arm.SOURCES))

    def compile(self, contrast: Contrast) -> Iterator[Draft]:
        """Give every cell of a question: the untouched backbone once, each trained arm for each seed.

        Raises
        ------
        UserError
            If a cell breaks a rule of validity.

        """
        question = _open(contrast, self._graph)
        target = question.target
        if self._wants(Arm.ZERO_SHOT):
            yield self._draft(question, Arm.ZERO_SHOT, target, None, None)
        for seed in self._seeds:
            for training in contrast.trainings:
                job = self._make_finetune(training, target, seed)
                if self._wants(training.arm):
                    yield self._draft(question, training.arm, target, training, job)
                if training is question.main:
                    if self._wants(Arm.BLIND):
                        yield self._draft(question, Arm.BLIND, target, training, job)
                    if contrast.asks_sources:
                        for name in training.subsets:
                            if self._graph[name].num_test:
                                yield self._draft(question, Arm.SOURCES, self._graph[name], training, job)

    def weigh(self, contrast: Contrast) -> Candidate:
        """Say what a question costs and shows, for choosing within a budget."""
        target = self._graph[contrast.target]
        jobs = [self._make_finetune(training, target, seed) for seed in self._seeds for training in contrast.trainings]
        proof = self._draft(_open(contrast, self._graph), Arm.ZERO_SHOT, target, None, None).cell.proof
        return Candidate(
            id=contrast.id,
            shows=frozenset(
                [f"{factor} {value}" for factor, value in zip(self._graph.factors, contrast.view, strict=True)]
                + ([f"direction {contrast.direction}"] if contrast.direction else [])
            ),
            finetunes={job.id: self._cost(job) for job in jobs},
            detectable=1.0 if proof.detectable is None else proof.detectable,
        )

    def _cost(self, job: FinetuneJob) -> Cost:
        samples = job.mixture.num_samples * self._epochs
        return Cost(samples=samples, hours=samples / self._samples_per_s / 3600)

    def _wants(self, arm: Arm) -> bool:
        return self._arms is None or arm in self._arms

    def _make_finetune(self, training: Training, target: Subset, seed: int) -> FinetuneJob:
        key = (
            target.name if training.arm is Arm.UNRELATED else training.subsets,
            training.arm is Arm.UNRELATED,
            training.num_samples,
            training.num_target and (target.name, training.num_target),
            training.labels,
            training.places,
            training.candidates,
            seed,
        )
        job = self._finetunes.get(key)
        if job is None:
            mixture = build_mixture(
                tuple(self._graph[name] for name in training.subsets),
                training.num_samples,
                seed,
                further=self._list_further(training, target),
                labels=training.labels,
            )
            if training.ask == "elements":
                mixture = replace(mixture, ask=training.ask, places=training.places, candidates=training.candidates)
            job = self._jobs.make_finetune(mixture, seed)
            if len(self._finetunes) > MOST_KEPT:
                self._finetunes.clear()
            self._finetunes[key] = job
        return job

    def _list_further(self, training: Training, target: Subset) -> tuple[MixturePart, ...]:
        further: list[MixturePart] = []
        if training.num_target:
            further.append(MixturePart(subset=target.name, count=training.num_target))
        if self._filler is not None:
            wanted = round(self._filler_share * (training.num_samples + training.num_target))
            count = min(wanted, self._filler.num_train)
            further += [MixturePart(subset=self._filler.name, count=count)] if count else []
        return tuple(further)

    def _draft(
        self, question: _Question, arm: Arm, asked: Subset, training: Training | None, job: FinetuneJob | None
    ) -> Draft:
        contrast = question.contrast
        protocol = contrast.protocol
        if arm is Arm.BLIND:
            protocol = replace(protocol, image="blank")
        elif arm is Arm.SOURCES:
            protocol = ORIGINAL
        settings = self._evaluation
        protocol = replace(
            protocol, by=settings.untouched_by if job is None else settings.by, rotations=settings.rotations
        )
        job_id = None if job is None else job.id
        evaluation = self._jobs.make_eval(asked.name, job_id, protocol)
        claim = Claim(
            arm=arm,
            variant="" if training is None or arm is Arm.BLIND or arm is Arm.SOURCES else training.variant,
            is_covered=contrast.fully_covered,
            sees_target=question.sees_target or arm is Arm.CEILING,
        )
        proof = self._prove(question, claim, asked, training, job)
        if protocol.ask == "elements":
            proof = expect_guess(proof, len(protocol.candidates))
        cell = Cell(
            contrast=contrast.id,
            arm=arm,
            variant=claim.variant,
            subset=asked.name,
            seed=None if job is None else job.seed,
            eval_job=evaluation.id,
            finetune_job=job_id,
            proof=proof,
        )
        return Draft(cell=cell, finetune=job, evaluation=evaluation)

    def _prove(
        self, question: _Question, claim: Claim, asked: Subset, training: Training | None, job: FinetuneJob | None
    ) -> Proof:
        """Prove a cell from the mixture that its model is really trained on; cells with equal parts share the proof."""
        target, view = question.target, question.contrast.view
        parts: tuple[MixturePart, ...] = ()
        budget = 0
        source: object = None
        if training is not None and job is not None:
            budget = question.budget if claim.arm in BUDGETED_ARMS else training.num_samples + training.num_target
            parts = job.mixture.parts
            if self._filler is not None:
                parts = tuple(part for part in parts if part.subset != self._filler.name)
            is_same = len(parts) == len(training.subsets) + bool(training.num_target)
            source = job.id if not is_same else True if training.arm is Arm.UNRELATED else training.subsets
        key = (target.name, view, asked.name, source, budget)

        def prove() -> Proof:
            members = self._graph.gather(part.subset for part in parts)
            num_train = sum(part.count for part in parts)
            return self._prover.prove(target, view, members, asked=asked, num_train=num_train, budget=budget)

        proof = self._prover.recall(key, prove)
        if self._prover.is_new((key, claim)):
            detail = asked.name if claim.arm is Arm.SOURCES else claim.variant
            check_proof("/".join(filter(None, (question.contrast.id, claim.arm, detail))), proof, claim)
        return proof


def _find_filler(study: Study, catalog: Catalog) -> Subset | None:
    if study.filler.subset is None or not study.filler.share:
        return None
    fillers = {subset.name: subset for subset in catalog.subsets if subset.kind is Kind.FILLER}
    if study.filler.subset not in fillers:
        raise UserError(
            f"filler.subset: no subset of kind filler named '{study.filler.subset}' in the catalogue; "
            f"{suggest(study.filler.subset, fillers) if fillers else 'it has none'}"
        )
    return fillers[study.filler.subset]
