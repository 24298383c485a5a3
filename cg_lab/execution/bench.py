"""The bench that a pack's jobs are worked on, one after the other."""

from __future__ import annotations

import gc
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol as Interface, assert_never

from cg_lab.endpoint_settings import ServedModel
from cg_lab.errors import UserError
from cg_lab.execution.packs import Order
from cg_lab.execution.team import Team
from cg_lab.journal import now
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import SERVED, EvalJob, FinetuneJob
from cg_lab.recipe import Recipe
from cg_lab.results import EvalResult, FinetuneResult, Layout, ServedFacts, write_result
from cg_lab.serialize import content_id, omit_defaults
from cg_lab.study import SlurmSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from cg_lab.evaluation.predictions import Evaluation
    from cg_lab.execution.workset import Workset
    from cg_lab.models.batches import Example
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
    is_stopping: Callable[..., bool]
    """Asked after each step and before each batch of an evaluation; each time is a sign of life, unless it is called
    with `gives_sign=False`."""
    parts: int
    """Forward passes that each batch is split over."""


class Bench(Interface):
    """Where jobs are worked on, one after the other."""

    def run(self, job: Job, conduct: Conduct) -> None:
        """Run one job to its result, or raise."""
        ...


OpenBench = Callable[[Surface], Bench]


class ModelBench:
    """Fine-tunes and evaluates; loads a backbone once for all jobs in a row that use it."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._set: Workset | None = None
        self._trained: dict[str, FusedTraining] = {}
        """Fine-tunes that went side by side with an earlier one; their weights are written."""
        self._is_apart = False
        """Whether fine-tunes go one by one from now on, since it has to be seen which of them fails."""

    def run(self, job: Job, conduct: Conduct) -> None:
        """Run one job to its result.

        Raises
        ------
        InterruptedByUserError
            If it was asked to stop; a checkpoint is left.

        """
        match job:
            case FinetuneJob(recipe=Recipe(by="command")):
                self._run_command(job, conduct)
            case FinetuneJob(recipe=Recipe(by="elsewhere")):
                self._take_given(job, conduct)
            case FinetuneJob():
                self._run_finetune(job, self._open(job), conduct)
            case EvalJob(backbone=ServedModel() as model):
                self._ask_server(job, model, conduct)
            case EvalJob():
                self._run_eval(job, self._open(job), conduct)
            case _:
                assert_never(job)

    def _open(self, job: Job) -> Workset:
        """Load what a job is worked on with, unless it is there."""
        from cg_lab.execution.workset import open_workset

        surface = self._surface
        if self._set is None or (self._set.job.backbone, self._set.job.data) != (job.backbone, job.data):
            self._set = None  # so that two models are never held at once
            self._set = open_workset(job, surface.plan, surface.order, surface.layout, surface.threads)
        return self._set

    def _run_command(self, job: FinetuneJob, conduct: Conduct) -> None:
        """Run a trainer that is not ours, with no model held beside it, and check what it leaves."""
        from cg_lab.execution.trainer_run import TrainerRun, tell_refusal

        surface = self._surface
        if surface.team.size > 1:
            raise UserError(tell_refusal(surface.team.size))
        self._set = None
        free_memory()
        started = now()
        run = TrainerRun(job=job, plan=surface.plan, layout=surface.layout, threads=surface.threads)
        done = run.run(conduct)
        run.take(self._open(job).backbone, conduct)
        self._write(job, done, started)

    def _take_given(self, job: FinetuneJob, conduct: Conduct) -> None:
        """Take over what was trained elsewhere: weights once they are checked, a server's adapters as they are."""
        from cg_lab.execution.given_weights import note_served, take_given

        surface, started, began = self._surface, now(), time.perf_counter()
        if not surface.team.is_first:
            return
        if isinstance(job.backbone, ServedModel):
            note_served(job, surface.layout)
        else:
            take_given(job, self._open(job).backbone, surface.layout, conduct, self._plan_name)
        write_result(
            surface.layout,
            FinetuneResult(
                job=job, steps=None, samples=None, loss_first=None, loss_last=None,
                seconds=round(time.perf_counter() - began, 3), host=socket.gethostname(), started=started,
            ),
        )  # fmt: skip

    def _run_finetune(self, job: FinetuneJob, shared: Workset, conduct: Conduct) -> None:
        from cg_lab.training.finetune import run_finetune
        from cg_lab.training.trainer_arguments import Surroundings

        layout, team, cluster = self._surface.layout, self._surface.team, self._surface.order.cluster
        is_sharded = team.size > 1 and isinstance(cluster, SlurmSettings) and cluster.sharding == "fsdp"
        started = now()
        if job.id in self._trained:
            self._hand_in(job, self._trained.pop(job.id), conduct, started)
            return
        examples = shared.encode_training(job)
        beside = self._find_beside(job, shared, examples, conduct)
        if len(beside) > 1 and self._run_side_by_side(beside, shared, examples, conduct):
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
                plan=self._plan_name,
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
        self, job: FinetuneJob, shared: Workset, examples: list[Example], conduct: Conduct
    ) -> list[FinetuneJob]:
        """Find the next fine-tunes of the pack that can go side by side with one, itself first."""
        from cg_lab.models.fused import count_side_by_side

        if job.recipe.lora is None or self._surface.team.size > 1 or conduct.parts > 1 or self._is_apart:
            return [job]
        layout = self._surface.layout
        alike = [
            other
            for other in self._surface.jobs
            if isinstance(other, FinetuneJob)
            and (other.recipe, other.data, other.backbone) == (job.recipe, job.data, job.backbone)
            and other.mixture.num_samples == job.mixture.num_samples
            and (other is job or not _is_taken(layout, other.id))
        ]
        alike.sort(key=lambda other: other.id != job.id)
        return alike[: count_side_by_side(shared.backbone, job.recipe, examples, len(alike))]

    def _run_side_by_side(
        self, jobs: list[FinetuneJob], shared: Workset, examples: list[Example], conduct: Conduct
    ) -> bool:
        """Train several adapters at once, each handed in when its turn comes; false if one of them can't be trained."""
        from cg_lab.models.encoding import TooLongError
        from cg_lab.training.finetune import NotFiniteError
        from cg_lab.training.fused import run_fused
        from cg_lab.training.trainer_arguments import Surroundings

        layout = self._surface.layout
        conduct.event("fused", jobs=[job.id for job in jobs])
        group = content_id("fused", 1, [job.id for job in jobs])
        folder = layout.checkpoints(jobs[0].id) / group
        try:
            done = run_fused(
                jobs,
                shared.backbone,
                [examples, *(shared.encode_training(other) for other in jobs[1:])],
                [layout.weights(other.id) for other in jobs],
                Surroundings(
                    folder=folder,
                    weights=layout.weights(jobs[0].id),
                    save_every_s=self._surface.order.cluster.save_every_s,
                    event=conduct.event,
                    is_stopping=conduct.is_stopping,
                    plan=self._plan_name,
                ),
            )
        except (NotFiniteError, TooLongError) as error:
            conduct.event("apart", reason=str(error))
            self._is_apart = True
            shutil.rmtree(folder, ignore_errors=True)
            return False
        self._trained |= zip((job.id for job in jobs), done, strict=True)
        return True

    @cached_property
    def _plan_name(self) -> str:
        plan = self._surface.plan
        return f"{plan.study} ({plan.id})"

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
                gpu=done.gpu,
                energy_joules=done.energy_joules,
            ),
        )
        shutil.rmtree(layout.checkpoints(job.id), ignore_errors=True)

    def _run_eval(self, job: EvalJob, shared: Workset, conduct: Conduct) -> None:
        from cg_lab.evaluation.evaluate import run_eval
        from cg_lab.models.trained_adapters import MergedAdapters

        layout = self._surface.layout
        if not self._surface.team.is_first:
            return
        started = now()
        trained = [self._surface.plan.finetune_by_id[needed] for needed in job.needs]
        folders = tuple(layout.weights(tune.id) for tune in trained)
        with giving_signs(shared.backbone.model, conduct.is_stopping):
            done = run_eval(
                shared.backbone,
                MergedAdapters(folders=folders, merge=job.merge) if job.merge else next(iter(folders), None),
                shared.ask(job, with_features=bool(trained) and all(tune.recipe.is_tower_frozen for tune in trained)),
                job.protocol,
                layout.predictions(job.id),
                max(1, self._surface.order.eval_batch_size // conduct.parts),
            )
        self._write_eval(job, done, started)

    def _ask_server(self, job: EvalJob, model: ServedModel, conduct: Conduct) -> None:
        from cg_lab.data.sources import open_source
        from cg_lab.evaluation.served_evaluation import run_served_eval
        from cg_lab.evaluation.served_exam import pose_exam

        surface, layout = self._surface, self._surface.layout
        if not surface.team.is_first:
            return
        started = now()
        server = next((server for server in surface.order.servers if server.model == model), None)
        if server is None:
            raise UserError(
                f"model: '{model.name}' is served, and this sweep names no server of it; add model=endpoint model.url="
            )
        if job.checkpoint_of:
            name = surface.plan.finetune_by_id[job.checkpoint_of].weights.removeprefix(SERVED)
            model = replace(model, name=name, served=name)
            server = replace(server, model=model)
        catalog = surface.plan.catalog_of(job.data)
        exam = pose_exam(
            replace(job, backbone=model),
            open_source(catalog, layout.data),
            {part.name: part for part in catalog.subsets},
        )
        folder = layout.answers(content_id("served", 1, omit_defaults(model)))
        done, facts = run_served_eval(exam, server, folder, layout.predictions(job.id), conduct.is_stopping)
        self._write_eval(job, done, started, facts)

    def _write_eval(self, job: EvalJob, done: Evaluation, started: str, served: ServedFacts | None = None) -> None:
        write_result(
            self._surface.layout,
            EvalResult(
                job=job,
                num_questions=done.num_questions,
                accuracy=done.accuracy,
                metrics={name: round(value, 6) for name, value in done.metrics.items()},
                seconds=round(done.seconds, 3),
                host=socket.gethostname(),
                started=started,
                served=served,
            ),
        )


@contextmanager
def giving_signs(model: PreTrainedModel, is_stopping: Callable[[], bool]) -> Iterator[None]:
    """Let each batch that a model reads be a sign of life, as each step of a fine-tune is; nothing is stopped by it."""

    def look(*_: object) -> None:
        is_stopping()

    hook = model.get_input_embeddings().register_forward_pre_hook(look)
    try:
        yield
    finally:
        hook.remove()


def free_memory() -> None:
    """Give back what is held no more, also on a GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _is_taken(layout: Layout, job_id: str) -> bool:
    """Tell whether a job has a result, was given up, or is worked on elsewhere."""
    is_over = layout.result(job_id).exists() or layout.failure(job_id).exists()
    return is_over or find_holder(layout.lock(job_id)) is not None
