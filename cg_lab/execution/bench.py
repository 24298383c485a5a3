"""The bench that a pack's jobs are worked on: model, images and encoded questions, kept from job to job."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol as Interface, assert_never

from cg_lab.catalog import PhantomData
from cg_lab.execution.packs import Order
from cg_lab.execution.team import Team
from cg_lab.journal import now
from cg_lab.locks import find_holder
from cg_lab.mat import Subset
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob, Protocol
from cg_lab.results import EvalResult, FinetuneResult, Layout, write_result
from cg_lab.serialize import canonical_json, content_id
from cg_lab.study import SlurmSettings

if TYPE_CHECKING:
    from PIL import Image

    from cg_lab.data.asking import Exam
    from cg_lab.data.samples import DataSource, Sample, Split
    from cg_lab.evaluation.evaluate import Asked
    from cg_lab.models.backbone import LoadedBackbone
    from cg_lab.models.encoding import Example, Seen
    from cg_lab.models.prepared import PreparedImages
    from cg_lab.training.finetune import Training
    from cg_lab.training.fused import FusedTraining

Job = FinetuneJob | EvalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What a bench is opened with."""

    plan: Plan
    order: Order
    layout: Layout
    threads: int
    team: Team
    jobs: tuple[Job, ...] = ()
    """Those of the pack, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How one attempt goes about its job."""

    event: Callable[..., None]
    """Takes an event's name and its facts; writes a line of the job's journal."""
    is_stopping: Callable[[], bool]
    parts: int
    """Forward passes that each batch is split over."""


class Bench(Interface):
    """Where jobs are worked on, one after the other."""

    def run(self, job: Job, conduct: Conduct) -> None:
        """Run one job to its result, or raise."""
        ...


OpenBench = Callable[[Surface], Bench]


@dataclass(slots=True, kw_only=True)
class _Set:
    """All that the jobs with one model and one data source share."""

    job: Job
    """The first of them."""
    subsets: dict[str, Subset]
    source: DataSource
    backbone: LoadedBackbone
    prepared: PreparedImages
    tests: dict[tuple[str, Protocol], list[Asked]] = field(default_factory=dict)
    """Encoded test questions by subset and protocol: many jobs ask the same."""


class ModelBench:
    """Fine-tunes and evaluates; loads a backbone once for all jobs in a row that use it."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._set: _Set | None = None
        self._trained: dict[str, FusedTraining] = {}
        """Fine-tunes that went side by side with an earlier one; their weights are written."""

    def run(self, job: Job, conduct: Conduct) -> None:
        """Run one job to its result.

        Raises
        ------
        InterruptedByUserError
            If it was asked to stop; a checkpoint is left.

        """
        if self._set is None or (self._set.job.backbone, self._set.job.data) != (job.backbone, job.data):
            self._set = None  # so that two models are never held at once
            self._set = self._open(job)
        match job:
            case FinetuneJob():
                self._run_finetune(job, self._set, conduct)
            case EvalJob():
                self._run_eval(job, self._set, conduct)
            case _:
                assert_never(job)

    def _open(self, job: Job) -> _Set:
        import torch

        torch.set_num_threads(self._surface.threads)
        from transformers.utils import logging

        from cg_lab.data.sources import open_source
        from cg_lab.models.backbone import load_backbone
        from cg_lab.models.prepared import PreparedImages

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        catalog = self._surface.plan.catalog_of(job.data)
        path = self._surface.order.images.get(job.data.content) if job.data.source == "manifest" else None
        backbone = load_backbone(job.backbone)
        order, layout = self._surface.order, self._surface.layout
        return _Set(
            job=job,
            subsets={subset.name: subset for subset in catalog.subsets},
            source=open_source(catalog, Path(path) if path else None),
            backbone=backbone,
            prepared=PreparedImages(backbone, layout.prepared, order.cache_gb),
        )

    def _run_finetune(self, job: FinetuneJob, shared: _Set, conduct: Conduct) -> None:
        from cg_lab.training.finetune import Surroundings, run_finetune

        layout, team, cluster = self._surface.layout, self._surface.team, self._surface.order.cluster
        is_sharded = team.size > 1 and isinstance(cluster, SlurmSettings) and cluster.sharding == "fsdp"
        started = now()
        if job.id in self._trained:
            self._hand_in(job, self._trained.pop(job.id), conduct, started)
            return
        examples = _encode_training(job, shared)
        beside = self._find_beside(job, shared, examples, conduct)
        if len(beside) > 1:
            self._run_side_by_side(beside, shared, examples, conduct)
            self._hand_in(job, self._trained.pop(job.id), conduct, started)
            return
        done = run_finetune(
            job,
            shared.backbone,
            examples,
            Surroundings(
                folder=layout.checkpoints(job.id),
                weights=layout.weights(job.id),
                save_every_s=cluster.save_every_s,
                event=conduct.event,
                is_stopping=conduct.is_stopping,
                parts=conduct.parts,
                num_processes=team.size,
                agree=team.any,
                is_sharded=is_sharded,
            ),
        )
        if is_sharded:
            self._set = None  # each process holds a part of the model now; the next job loads it whole
        if team.is_first:
            self._write(job, done, started)

    def _find_beside(
        self, job: FinetuneJob, shared: _Set, examples: list[Example], conduct: Conduct
    ) -> list[FinetuneJob]:
        """Find the next fine-tunes of the pack that can go side by side with one, itself first."""
        from cg_lab.models.fused import count_side_by_side

        if job.recipe.lora is None or self._surface.team.size > 1 or conduct.parts > 1:
            return [job]
        layout = self._surface.layout
        alike = [
            other
            for other in self._surface.jobs
            if isinstance(other, FinetuneJob)
            and (other.recipe, other.data, other.backbone) == (job.recipe, job.data, job.backbone)
            and other.mixture.num_samples == job.mixture.num_samples
            and (other is job or not (layout.result(other.id).exists() or find_holder(layout.lock(other.id))))
        ]
        alike.sort(key=lambda other: other.id != job.id)
        return alike[: count_side_by_side(shared.backbone, job.recipe, examples, len(alike))]

    def _run_side_by_side(
        self, jobs: list[FinetuneJob], shared: _Set, examples: list[Example], conduct: Conduct
    ) -> None:
        """Train several adapters at once; each is handed in when its turn comes."""
        from cg_lab.training.finetune import Surroundings
        from cg_lab.training.fused import run_fused

        layout = self._surface.layout
        conduct.event("fused", jobs=[job.id for job in jobs])
        group = content_id("fused", 1, [job.id for job in jobs])
        done = run_fused(
            jobs,
            shared.backbone,
            [examples, *(_encode_training(other, shared) for other in jobs[1:])],
            [layout.weights(other.id) for other in jobs],
            Surroundings(
                folder=layout.checkpoints(jobs[0].id) / group,
                weights=layout.weights(jobs[0].id),
                save_every_s=self._surface.order.cluster.save_every_s,
                event=conduct.event,
                is_stopping=conduct.is_stopping,
            ),
        )
        self._trained |= zip((job.id for job in jobs), done, strict=True)

    def _hand_in(self, job: FinetuneJob, done: FusedTraining, conduct: Conduct, started: str) -> None:
        for point in done.curve:
            conduct.event("log", **point)
        self._write(job, done.training, started)

    def _write(self, job: FinetuneJob, done: Training, started: str) -> None:
        layout = self._surface.layout
        write_result(
            layout,
            FinetuneResult(
                job=job,
                steps=done.steps,
                samples=done.samples,
                loss_first=done.loss_first,
                loss_last=done.loss_last,
                seconds=round(done.seconds, 3),
                host=socket.gethostname(),
                started=started,
            ),
        )
        shutil.rmtree(layout.checkpoints(job.id), ignore_errors=True)

    def _run_eval(self, job: EvalJob, shared: _Set, conduct: Conduct) -> None:
        from cg_lab.evaluation.evaluate import run_eval

        layout = self._surface.layout
        if not self._surface.team.is_first:
            return
        started = now()
        done = run_eval(
            shared.backbone,
            layout.weights(job.checkpoint_of) if job.checkpoint_of else None,
            _ask_tests(job, shared),
            job.protocol,
            layout.predictions(job.id),
            max(1, self._surface.order.eval_batch_size // conduct.parts),
        )
        write_result(
            layout,
            EvalResult(
                job=job,
                num_questions=done.num_questions,
                accuracy=done.accuracy,
                metrics={name: round(value, 6) for name, value in done.metrics.items()},
                seconds=round(done.seconds, 3),
                host=socket.gethostname(),
                started=started,
            ),
        )


def _encode_training(job: FinetuneJob, shared: _Set) -> list[Example]:
    from cg_lab.data.asking import pose_training
    from cg_lab.data.samples import Split

    exam = pose_training(shared.source, shared.subsets, job.mixture)
    is_tower_frozen = job.recipe.trainable in {"language_model_and_projector", "projector"}
    return _encode(shared, exam, Split.TRAIN, with_features=is_tower_frozen)


def _ask_tests(job: EvalJob, shared: _Set) -> list[Asked]:
    key = (job.target, replace(job.protocol, by="likelihood"))  # the same questions, however answers are read
    if key not in shared.tests:
        shared.tests[key] = _encode_tests(job, shared)
    return shared.tests[key]


def _encode_tests(job: EvalJob, shared: _Set) -> list[Asked]:
    from cg_lab.data.asking import Exam, pose_shots, pose_test, read_blanks
    from cg_lab.data.samples import Split
    from cg_lab.evaluation.evaluate import Asked
    from cg_lab.models.encoding import encode_questions
    from cg_lab.questions import Question, rotate

    exam = pose_test(shared.source, shared.subsets, job.target, job.protocol)
    shots = pose_shots(shared.source, shared.subsets, job.target, job.protocol)
    turned = [
        [rotate(question, steps) for steps in range(len(question.options))]
        if isinstance(question, Question) and job.protocol.rotations == "all"
        else [question]
        for question in exam.questions
    ]
    asked = Exam(
        samples=tuple(sample for sample, row in zip(exam.samples, turned, strict=True) for _ in row),
        questions=tuple(turn for row in turned for turn in row),
    )
    if shots or job.protocol.image == "blank":
        is_blank = job.protocol.image == "blank"
        images = read_blanks(shared.source, asked.samples) if is_blank else shared.source.read_images(asked.samples)
        encoded = iter(encode_questions(shared.backbone, asked.questions, images, shots))
    else:
        encoded = iter(_encode(shared, asked, Split.TEST))
    return [
        Asked(
            id=sample.id,
            subset=sample.subset,
            group=sample.group,
            label=sample.label,
            question=question,
            turns=tuple(next(encoded) for _ in row),
        )
        for sample, question, row in zip(exam.samples, exam.questions, turned, strict=True)
    ]


def _encode(shared: _Set, exam: Exam, split: Split, *, with_features: bool = False) -> list[Example]:
    """Encode questions about images that are prepared once for all jobs."""
    from cg_lab.models.encoding import encode_questions, encode_seen
    from cg_lab.models.prepared import Pool
    from cg_lab.models.tower import FEATURES

    source = shared.source
    seen: dict[str, Seen] = {}
    for subset in dict.fromkeys(sample.subset for sample in exam.samples):
        listed = {sample.id: sample for sample in source.read_samples(subset, split)}

        def read(ids: Sequence[str], listed: dict[str, Sample] = listed) -> list[Image.Image]:
            return source.read_images(tuple(listed[one] for one in ids))

        key = content_id("pool", 1, [canonical_json(shared.job.data), subset, split])
        wanted = list(dict.fromkeys(sample.id for sample in exam.samples if sample.subset == subset))
        pool = Pool(key=key, ids=tuple(listed), read=read, is_kept=not isinstance(shared.job.data, PhantomData))
        found = shared.prepared.see(pool, wanted, with_features=with_features)
        if found is None:
            return encode_questions(shared.backbone, exam.questions, source.read_images(exam.samples))
        seen |= zip(wanted, found, strict=True)
    if not all(FEATURES in one.image for one in seen.values()):
        seen = {
            name: replace(one, image={key: values for key, values in one.image.items() if key != FEATURES})
            for name, one in seen.items()
        }
    return encode_seen(shared.backbone, exam.questions, [seen[sample.id] for sample in exam.samples])
