"""The bench that a pack's jobs are worked on: model, images and encoded questions, kept from job to job."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol as Interface, assert_never

from cg_lab.execution.packs import Order
from cg_lab.execution.team import Team
from cg_lab.journal import now
from cg_lab.mat import Subset
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob, Protocol
from cg_lab.results import EvalResult, FinetuneResult, Layout, write_result
from cg_lab.study import SlurmSettings

if TYPE_CHECKING:
    from cg_lab.data.samples import DataSource
    from cg_lab.evaluation.evaluate import Asked
    from cg_lab.models.backbone import LoadedBackbone

Job = FinetuneJob | EvalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What a bench is opened with."""

    plan: Plan
    order: Order
    layout: Layout
    threads: int
    team: Team


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
    tests: dict[tuple[str, Protocol], list[Asked]] = field(default_factory=dict)
    """Encoded test questions by subset and protocol: many jobs ask the same."""


class ModelBench:
    """Fine-tunes and evaluates; loads a backbone once for all jobs in a row that use it."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._set: _Set | None = None

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

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        catalog = self._surface.plan.catalog_of(job.data)
        path = self._surface.order.images.get(job.data.content) if job.data.source == "manifest" else None
        return _Set(
            job=job,
            subsets={subset.name: subset for subset in catalog.subsets},
            source=open_source(catalog, Path(path) if path else None),
            backbone=load_backbone(job.backbone),
        )

    def _run_finetune(self, job: FinetuneJob, shared: _Set, conduct: Conduct) -> None:
        from cg_lab.data.asking import pose_training
        from cg_lab.models.encoding import encode_questions
        from cg_lab.training.finetune import Surroundings, run_finetune

        layout, team, cluster = self._surface.layout, self._surface.team, self._surface.order.cluster
        is_sharded = team.size > 1 and isinstance(cluster, SlurmSettings) and cluster.sharding == "fsdp"
        started = now()
        exam = pose_training(shared.source, shared.subsets, job.mixture)
        examples = encode_questions(shared.backbone, list(exam.questions), exam.images)
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
        if not team.is_first:
            return
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
            layout.predictions(job.id),
            max(1, self._surface.order.eval_batch_size // conduct.parts),
        )
        write_result(
            layout,
            EvalResult(
                job=job,
                num_questions=done.num_questions,
                accuracy=done.accuracy,
                seconds=round(done.seconds, 3),
                host=socket.gethostname(),
                started=started,
            ),
        )


def _ask_tests(job: EvalJob, shared: _Set) -> list[Asked]:
    key = (job.target, job.protocol)
    if key not in shared.tests:
        shared.tests[key] = _encode_tests(job, shared)
    return shared.tests[key]


def _encode_tests(job: EvalJob, shared: _Set) -> list[Asked]:
    from cg_lab.data.asking import pose_test
    from cg_lab.evaluation.evaluate import Asked
    from cg_lab.models.encoding import encode_questions

    exam = pose_test(shared.source, shared.subsets, job.target, job.protocol)
    examples = encode_questions(shared.backbone, list(exam.questions), exam.images)
    return [
        Asked(id=sample.id, subset=sample.subset, group=sample.group, question=question, example=example)
        for sample, question, example in zip(exam.samples, exam.questions, examples, strict=True)
    ]
