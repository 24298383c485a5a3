"""Compile held-out questions: arms to cells and jobs, each proved from what its model is really trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from cg_lab.arms import Arm, Model
from cg_lab.catalog import Catalog
from cg_lab.endpoint_settings import ServedModel
from cg_lab.errors import UnaskableError, UserError
from cg_lab.mat import Kind, Subset
from cg_lab.planning.budget import Candidate, Cost
from cg_lab.planning.finetune_jobs import FinetuneJobs
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.jobs import JobFactory
from cg_lab.planning.members import Members
from cg_lab.planning.mixture import Spreader
from cg_lab.planning.plan import Cell, Contrast, Training
from cg_lab.planning.proof import Proof, Prover, Split
from cg_lab.planning.study_power import FEWEST_TARGETS, Allocation, foresee_gain
from cg_lab.planning.validity import Declaration, check_proof
from cg_lab.planning.work import (
    ORIGINAL,
    AdapterMerge,
    EvalJob,
    FinetuneJob,
    Parts,
    Protocol,
    unite_mixtures,
)
from cg_lab.study import AnyBackbone, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A cell with its jobs, before equal ones are merged."""

    cell: Cell
    finetunes: tuple[FinetuneJob, ...]
    """One, several whose adapters are merged, or none."""
    evaluation: EvalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A held-out question with what its cells have in common, found once."""

    contrast: Contrast
    target: Subset
    budget: int
    """Samples that every budgeted arm gets."""
    factors: tuple[int, ...]
    """Positions of the factors that it asks about."""
    target_examples: int
    """Training samples of the target that each prompt shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    """What a model is trained on, read off its mixture; the filler counts for nothing else."""

    members: Members = 0
    num_samples: int = 0
    target_samples: int = 0
    """Of the question's target, among them."""
    filler: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a model is asked, and its proof: the same for all seeds that train on the same subsets."""

    arm: Arm
    variant: str
    subset: str
    protocol: Protocol
    proof: Proof


class Compiler:
    """Compiles held-out questions of one run to cells and jobs."""

    def __init__(self, study: Study, catalog: Catalog, graph: MatGraph, prover: Prover, backbone: AnyBackbone) -> None:
        self._graph = graph
        self._seeds = study.planned_seeds
        self._level = 1 - study.rule.confidence
        self._num_seeds = {arm: arm.traits.num_seeds or len(self._seeds) for arm in Arm} | (study.arm_seeds or {})
        self._arms = (
            frozenset(arm for arm in Arm if not arm.traits.is_optional) if study.arms is None else frozenset(study.arms)
        )
        self._by_model = {
            model: [arm for arm in Arm if arm in self._arms and arm.traits.model == model] for model in get_args(Model)
        }
        self._gpu_samples_per_s = study.model.train_samples_per_s / study.model.rate_gpus
        self._evaluation = study.evaluation
        self._merge = study.merge
        if merged := [arm for arm in self._by_model["merged"] if study.finetune.lora is None]:
            raise UserError(
                f"arms: {', '.join(merged)} asks merged adapters, and finetune.lora is null: weights that are trained "
                "themselves are not merged; take finetune=lora, or leave it out of arms"
            )
        self._backbone = backbone
        self._jobs = JobFactory(catalog.data, backbone, study.finetune)
        self._prover = prover
        self._finetunes = FinetuneJobs(study, catalog, backbone, self._jobs, Spreader(graph.subsets))
        self._protocols: dict[tuple[Protocol, Arm, bool], Protocol] = {}
        """By the question's, the arm, and whether the backbone is untouched."""
        self._trained: dict[tuple[str, ...], _Trained] = {}
        """What each model is trained on, by its fine-tunes."""

    def restrict(self, contrast: Contrast) -> Contrast:
        """Leave out the arms that the study does not want; the main one stays, since the question is about it."""
        kept = tuple(part for part in contrast.trainings if part.arm in self._arms or part is contrast.main)
        asks_sources = contrast.asks_sources and any(not arm.traits.asks_target for arm in self._arms)
        return replace(contrast, trainings=kept, asks_sources=asks_sources)

    def compile(self, contrast: Contrast) -> Iterator[Draft]:
        """Give every cell of a question: the untouched backbone once, each trained arm for each seed.

        Raises
        ------
        UnaskableError
            If the data do not allow the question.
        UserError
            If a cell breaks a rule of validity.

        """
        question = self._open(contrast)
        if isinstance(self._backbone, ServedModel) and question.target.kind is Kind.DETECTION:
            raise UnaskableError("of a served model it is not known how it writes boxes")
        if question.target_examples > question.target.num_train:
            raise UnaskableError(
                f"{contrast.protocol.shots} examples for each label are {question.target_examples}, and it has "
                f"{question.target.num_train} training samples"
            )
        for arm in self._by_model["untouched"]:
            yield self._draft(contrast, self._ask(question, arm, question.target, None, _Trained()), ())
        trainings = [(part, self._finetunes.find(part, question.target)) for part in self._list_trained(contrast)]
        known: dict[tuple[int, _Trained], tuple[_Asked, ...]] = {}
        for number, seed in enumerate(self._seeds):
            for place, (training, jobs) in enumerate(trainings):
                if not self._has_seed(training, seed, number):
                    continue
                if seed not in jobs:
                    jobs[seed] = self._finetunes.make(training, question.target, seed)
                trained = self._read(jobs[seed], question.target)
                if (place, trained) not in known:
                    known[place, trained] = tuple(self._list_asked(question, training, trained))
                for asked in known[place, trained]:
                    yield self._draft(contrast, asked, jobs[seed])

    def weigh(self, contrast: Contrast, drafts: list[Draft]) -> Candidate:
        """Say what a question with some cells costs and shows, for choosing within a budget."""
        asked = next((draft.cell.proof.num_test for draft in drafts if draft.cell.arm.traits.asks_target), 0)
        return Candidate(
            id=contrast.id,
            shows=frozenset(
                [f"{factor} {value}" for factor, value in zip(self._graph.factors, contrast.view, strict=True)]
                + ([f"direction {contrast.direction}"] if contrast.direction else [])
            ),
            finetunes={tune.id: self._cost(tune) for draft in drafts for tune in draft.finetunes},
            detectable=foresee_gain(self._allocate(asked), self._level) if asked else 1.0,
        )

    def _allocate(self, num_questions: int) -> Allocation:
        """Say how a question is going to be compared, as one among several."""
        return Allocation(
            num_targets=FEWEST_TARGETS,
            num_questions=num_questions,
            main_seeds=len(self._seeds),
            control_seeds=self._num_seeds[Arm.UNRELATED],
        )

    def _open(self, contrast: Contrast) -> _Question:
        main, target, protocol = contrast.main, self._graph[contrast.target], contrast.protocol
        return _Question(
            contrast=contrast,
            target=target,
            budget=0 if main is None else main.num_samples + main.num_target,
            factors=protocol.places if protocol.ask == "elements" else tuple(range(len(self._graph.factors))),
            target_examples=protocol.shots * max(1, len(target.labels)),
        )

    def _list_trained(self, contrast: Contrast) -> list[Training]:
        """List the trainings that cells need."""
        reuses_main = bool(self._by_model["main"])
        return [
            part for part in contrast.trainings if part.arm in self._arms or (reuses_main and part is contrast.main)
        ]

    def _list_asked(self, question: _Question, training: Training, trained: _Trained) -> Iterator[_Asked]:
        """List what the model of a training is asked; the main one further things, and about sources that it saw."""
        if training.arm in self._arms:
            yield self._ask(question, training.arm, question.target, training, trained)
        if training is not question.contrast.main:
            return
        for arm in self._by_model["main"]:
            if arm.traits.asks_target:
                yield self._ask(question, arm, question.target, training, trained)
            elif question.contrast.asks_sources:
                sources = self._graph.list_members(trained.members & self._graph.gather(training.subsets))
                yield from (self._ask(question, arm, part, training, trained) for part in sources if part.num_test)

    def _cost(self, job: FinetuneJob) -> Cost:
        samples = job.schedule.samples
        return Cost(samples=samples, hours=samples / self._gpu_samples_per_s / 3600)

    def _has_seed(self, training: Training, seed: int, number: int) -> bool:
        """Tell whether a training has a seed, which is the study's seed of that number."""
        if training.given:
            return any(part.seed == seed for part in training.given)
        return number < self._num_seeds[training.arm]

    def _merge_adapters(self, jobs: Sequence[FinetuneJob]) -> AdapterMerge:
        """Say how the adapters of fine-tunes become one."""
        counts = [self._sort_out(job.mixture.parts).num_samples for job in jobs]
        given = self._merge.weights
        return AdapterMerge(
            of=tuple(job.id for job in jobs),
            weights=tuple(count / sum(counts) if given == "share" else given for count in counts),
            method=self._merge.method,
            density=self._merge.density if self._merge.prunes else None,
            seed=jobs[0].seed if self._merge.draws else 0,
        )

    def _draft(self, contrast: Contrast, asked: _Asked, jobs: tuple[FinetuneJob, ...]) -> Draft:
        is_merged = asked.arm.traits.model == "merged"
        job_id = None if is_merged or not jobs else jobs[0].id
        merge = self._merge_adapters(jobs) if is_merged else None
        evaluation = self._jobs.make_eval(asked.subset, job_id, asked.protocol, merge)
        cell = Cell(
            contrast=contrast.id,
            arm=asked.arm,
            variant=asked.variant,
            subset=asked.subset,
            seed=jobs[0].seed if jobs else None,
            eval_job=evaluation.id,
            finetune_job=job_id,
            merged_jobs=() if merge is None else merge.of,
            proof=asked.proof,
        )
        return Draft(cell=cell, finetunes=jobs, evaluation=evaluation)

    def _find_protocol(self, contrast: Contrast, arm: Arm, *, is_untouched: bool) -> Protocol:
        key, settings = (contrast.protocol, arm, is_untouched), self._evaluation
        found = self._protocols.get(key)
        if found is None:
            found = self._protocols[key] = replace(
                contrast.protocol if arm.traits.asks_target else ORIGINAL,
                image=arm.traits.image,
                by=settings.untouched_by if is_untouched else settings.by,
                rotations=settings.rotations,
            )
        return found

    def _ask(
        self, question: _Question, arm: Arm, subset: Subset, training: Training | None, trained: _Trained
    ) -> _Asked:
        """Ask a model about a subset, and prove what it was trained on against what is declared.

        Parameters
        ----------
        question, arm, subset
            What the cell means.
        training
            Of the model; None for the untouched backbone.
        trained
            What its mixture shows.

        """
        contrast, target, is_own = question.contrast, question.target, arm.traits.asks_target
        protocol = self._find_protocol(contrast, arm, is_untouched=training is None)
        declared = Declaration(
            arm=arm,
            variant=training.variant if training is not None and arm.traits.has_own_model else "",
            is_covered=contrast.fully_covered,
            sees_target=training is not None and training.declares_target,
            sees_twins=training is not None and training.sees_target,
        )
        planned = 0 if training is None else training.num_samples + training.num_target
        proof = self._prover.prove(
            Split(
                target=target.name,
                view=contrast.view,
                factors=question.factors,
                training=trained.members,
                target_samples=trained.target_samples,
                target_examples=question.target_examples if is_own else 0,
                filler=trained.filler,
                num_train=trained.num_samples,
                budget=question.budget if arm.traits.is_budgeted else planned,
                asked=subset.name,
                num_candidates=len(protocol.candidates) if is_own and protocol.ask == "elements" else 0,
            )
        )
        detail = declared.variant if is_own else subset.name
        check_proof("/".join(filter(None, (contrast.id, arm, detail))), proof, declared)
        return _Asked(arm=arm, variant=declared.variant, subset=subset.name, protocol=protocol, proof=proof)

    def _read(self, jobs: tuple[FinetuneJob, ...], target: Subset) -> _Trained:
        """Read what a model is trained on off its mixture, of merged adapters off all of theirs."""
        key = tuple([job.id for job in jobs])
        trained = self._trained.get(key)
        if trained is None:
            trained = self._trained[key] = self._sort_out(unite_mixtures([job.mixture for job in jobs]).parts)
        if trained.members & self._graph.bit(target):
            return replace(trained, target_samples=sum(job.mixture.count(target.name) for job in jobs))
        return trained

    def _sort_out(self, parts: Parts) -> _Trained:
        """Tell the filler from what may explain a target."""
        if not isinstance(parts, tuple):
            return _Trained(members=self._graph.translate(parts.names, parts.members), num_samples=parts.num_samples)
        filler = self._finetunes.filler
        rest = [part for part in parts if part.subset != filler]
        return _Trained(
            members=self._graph.gather([part.subset for part in rest]),
            num_samples=sum([part.count for part in rest]),
            filler=filler if len(rest) < len(parts) else "",
        )
