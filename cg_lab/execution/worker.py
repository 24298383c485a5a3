"""What a pack's process does: load the backbone once, run job after job, leave a result or a failure for each."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import traceback
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_never

from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.execution.packs import Pack
from cg_lab.journal import append_event, now
from cg_lab.locks import holding
from cg_lab.mat import Subset
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob, Protocol
from cg_lab.results import (
    EvalResult,
    Failure,
    FinetuneResult,
    Layout,
    read_failure,
    read_plan,
    write_failure,
    write_result,
)
from cg_lab.serialize import parse, read_json

if TYPE_CHECKING:
    from cg_lab.data.samples import DataSource
    from cg_lab.evaluation.evaluate import Asked
    from cg_lab.models.backbone import LoadedBackbone

Job = FinetuneJob | EvalJob


class NoWeightsError(Exception):
    """The fine-tune that an evaluation scores did not finish."""


def run_pack(path: Path) -> None:
    """Run a pack's jobs; a job that fails is recorded, and the next one runs.

    SIGTERM asks for an end: the running fine-tune saves a checkpoint, and nothing further is begun.
    """
    pack = parse(Pack, read_json(path), where=str(path))
    layout = Layout(Path(pack.results_dir))
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop.request)
    with holding(lock_of(path)) as held:
        if not held:
            return
        plan = read_plan(layout.plan(pack.study))
        jobs: dict[str, Job] = {job.id: job for job in (*plan.finetunes, *plan.evals)}
        bench: _Bench | None = None
        for job_id in pack.job_ids:
            if stop.requested:
                return
            job = jobs.get(job_id)  # a plan frozen since the pack was dealt may do without it
            if job is None or layout.result(job_id).exists():
                continue
            if bench is None or (bench.job.backbone, bench.job.data) != (job.backbone, job.data):
                bench = None
                bench = _open_bench(job, pack, plan, layout, stop)
            _run_guarded(job, bench)


def lock_of(pack_path: Path) -> Path:
    """Name the file that a running pack holds locked; it says the process's number."""
    return pack_path.with_suffix(".lock")


class _Stop:
    """Remembers that an end was asked for."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, *_: object) -> None:
        self.requested = True

    def __call__(self) -> bool:
        return self.requested


@dataclass(slots=True, kw_only=True)
class _Bench:
    """All that the jobs with one model and one data source share."""

    job: Job
    """The first of them."""
    pack: Pack
    layout: Layout
    subsets: dict[str, Subset]
    source: DataSource
    backbone: LoadedBackbone
    is_stopping: _Stop
    tests: dict[tuple[str, Protocol], list[Asked]] = field(default_factory=dict)
    """Encoded test questions by subset and protocol: many jobs ask the same."""


def _open_bench(job: Job, pack: Pack, plan: Plan, layout: Layout, stop: _Stop) -> _Bench:
    import torch

    torch.set_num_threads(pack.threads)
    from transformers.utils import logging

    from cg_lab.data.sources import open_source
    from cg_lab.models.backbone import load_backbone

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    catalog = plan.catalog_of(job.data)
    path = pack.images.get(job.data.content) if job.data.source == "manifest" else None
    return _Bench(
        job=job,
        subsets={subset.name: subset for subset in catalog.subsets},
        pack=pack,
        layout=layout,
        source=open_source(catalog, Path(path) if path else None),
        backbone=load_backbone(job.backbone),
        is_stopping=stop,
    )


def _run_guarded(job: Job, bench: _Bench) -> None:
    """Run one job; whatever goes wrong is written down, classified, and ends that job alone."""
    event = partial(append_event, bench.layout.journal(job.id))
    try:
        with holding(bench.layout.job(job.id) / "lock") as held:
            if held and not bench.layout.result(job.id).exists():
                event("started", host=socket.gethostname(), pid=os.getpid())
                _run_job(job, bench, event)
    except InterruptedByUserError:
        event("interrupted")
    except Exception as error:  # noqa: BLE001 - the worker's edge: one job's failure is one row in the report
        kind = _classify(error)
        event("failed", kind=kind, message=str(error), traceback=traceback.format_exc())
        before = read_failure(bench.layout, job.id)
        write_failure(
            bench.layout,
            Failure(
                job_id=job.id,
                kind=kind,
                message=str(error) or type(error).__name__,
                attempts=before.attempts + 1 if before else 1,
                host=socket.gethostname(),
                when=now(),
            ),
        )


def _classify(error: Exception) -> Literal["out_of_memory", "not_finite", "user_error", "no_weights", "crash"]:
    name = type(error).__name__
    if name == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "out_of_memory"
    if name == "NotFiniteError":
        return "not_finite"
    if isinstance(error, NoWeightsError):
        return "no_weights"
    return "user_error" if isinstance(error, UserError) else "crash"


def _run_job(job: Job, bench: _Bench, event: partial[None]) -> None:
    match job:
        case FinetuneJob():
            _run_finetune(job, bench, event)
        case EvalJob():
            _run_eval(job, bench, event)
        case _:
            assert_never(job)


def _run_finetune(job: FinetuneJob, bench: _Bench, event: partial[None]) -> None:
    from cg_lab.data.asking import pose_training
    from cg_lab.models.encoding import encode_questions
    from cg_lab.training.finetune import Surroundings, run_finetune

    started = now()
    exam = pose_training(bench.source, bench.subsets, job.mixture)
    examples = encode_questions(bench.backbone, list(exam.questions), exam.images)
    checkpoints = bench.layout.job(job.id) / "checkpoints"
    done = run_finetune(
        job,
        bench.backbone,
        examples,
        Surroundings(
            folder=checkpoints,
            weights=bench.layout.weights(job.id),
            save_every_s=bench.pack.save_every_s,
            event=event,
            is_stopping=bench.is_stopping,
        ),
    )
    write_result(
        bench.layout,
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
    event("done")
    shutil.rmtree(checkpoints, ignore_errors=True)


def _run_eval(job: EvalJob, bench: _Bench, event: partial[None]) -> None:
    from cg_lab.evaluation.evaluate import run_eval

    started = now()
    weights = bench.layout.weights(job.checkpoint_of) if job.checkpoint_of else None
    if job.checkpoint_of and not bench.layout.result(job.checkpoint_of).exists():
        raise NoWeightsError(f"its fine-tune {job.checkpoint_of} has no result")
    done = run_eval(
        bench.backbone,
        weights,
        _ask_tests(job, bench),
        bench.layout.predictions(job.id),
        bench.pack.eval_batch_size,
    )
    write_result(
        bench.layout,
        EvalResult(
            job=job,
            num_questions=done.num_questions,
            accuracy=done.accuracy,
            seconds=round(done.seconds, 3),
            host=socket.gethostname(),
            started=started,
        ),
    )
    event("done")


def _ask_tests(job: EvalJob, bench: _Bench) -> list[Asked]:
    key = (job.target, job.protocol)
    if key not in bench.tests:
        bench.tests[key] = _encode_tests(job, bench)
    return bench.tests[key]


def _encode_tests(job: EvalJob, bench: _Bench) -> list[Asked]:
    from cg_lab.data.asking import pose_test
    from cg_lab.evaluation.evaluate import Asked
    from cg_lab.models.encoding import encode_questions

    exam = pose_test(bench.source, bench.subsets, job.target, job.protocol)
    examples = encode_questions(bench.backbone, list(exam.questions), exam.images)
    return [
        Asked(id=sample.id, subset=sample.subset, group=sample.group, question=question, example=example)
        for sample, question, example in zip(exam.samples, exam.questions, examples, strict=True)
    ]
