"""Drive a plan: deal open jobs to packs, give these to this machine or to Slurm, wait, and deal what is left again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.execution.packs import Group, Pack, Pending, balance, find_pending, group_jobs
from cg_lab.execution.slurm import Queue, check_commands, launch, name_tasks
from cg_lab.execution.worker import lock_of, run_pack
from cg_lab.journal import now, read_events
from cg_lab.locks import find_holder, holding
from cg_lab.planning.plan import Plan
from cg_lab.results import Failure, Layout, read_failure, write_failure
from cg_lab.serialize import write_json
from cg_lab.study import LocalSettings, SlurmSettings, Study

MAX_ROUNDS = 3
"""How often jobs whose process died are given to a new one."""
POLL_S = 0.5
STOP_GRACE_S = 60.0
"""Time for a worker to save a checkpoint before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How far a sweep is."""

    num_done: int
    num_jobs: int
    num_failed: int
    running: tuple[str, ...]
    """Ids of the jobs that are being worked on."""
    samples_per_s: float | None
    """Training speed of all slots together; None while nothing trains."""
    elapsed_s: float
    remaining_s: float | None
    """None until a twentieth is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a sweep ended."""

    num_done: int
    num_failed: int


Watch = Callable[[Snapshot], None]


def run_plan(plan: Plan, study: Study, layout: Layout, images: Mapping[str, Path], watch: Watch) -> Outcome:
    """Run what is missing of a plan; returns when every job has a result or a failure.

    Workers that an earlier, killed sweep of the same study left running on this machine are asked to save and end
    first, and their jobs go on from there; tasks that it left in Slurm's queue are waited for.

    Parameters
    ----------
    plan, study, layout
        What to run, with how many slots, and where results go.
    images
        Where the data of a manifest lies, by its content.
    watch
        Is told how far the sweep is, again and again.

    Raises
    ------
    UserError
        If another sweep of the study is running, or Slurm is not there, silent for minutes, or refuses.
    InterruptedByUserError
        After Ctrl-C; workers on this machine have saved their checkpoints, tasks on Slurm go on.

    """
    folder = layout.study(plan.study) / "packs"
    with holding(layout.study(plan.study) / "driver.lock") as held:
        if not held:
            raise UserError(f"study '{plan.study}' is being swept by another process already; wait for it, or stop it")
        drive = _Drive(plan, study, layout, images, watch)
        if isinstance(study.cluster, LocalSettings):
            _stop_workers(folder)
        try:
            drive.attach()
            for _ in range(MAX_ROUNDS):
                if drive.count_left() == 0:
                    break
                drive.run_round(folder)
        except KeyboardInterrupt:
            if not isinstance(study.cluster, LocalSettings):
                raise InterruptedByUserError(
                    "left; submitted tasks go on, the same command attaches to them again, and this cancels them: "
                    f"scancel --me --name={drive.name}"
                ) from None
            _stop_workers(folder)
            raise InterruptedByUserError("stopped; the same command goes on from here") from None
        drive.give_up()
        return drive.outcome()


class _Drive:
    """One sweep under way."""

    def __init__(self, plan: Plan, study: Study, layout: Layout, images: Mapping[str, Path], watch: Watch) -> None:
        self.plan = plan
        self.study = study
        self.layout = layout
        self.images = images
        self.watch = watch
        self.began = time.monotonic()
        self.began_at = now()
        self.num_jobs = len(plan.finetunes) + len(plan.evals)
        self.seconds = {
            job_id: group.seconds / len(group.job_ids)
            for group in group_jobs(Pending(finetunes=plan.finetunes, evals=plan.evals), plan)
            for job_id in group.job_ids
        }
        self.left_at_start = sum(self.seconds[job_id] for job_id in self._list_left())

    def _list_left(self) -> list[str]:
        pending = find_pending(self.plan, self.layout)
        return [job.id for job in (*pending.finetunes, *pending.evals)]

    def _has_failed(self, job_id: str) -> bool:
        """Tell whether a job failed since this sweep began; older failures are tried again."""
        failure = read_failure(self.layout, job_id)
        return failure is not None and failure.when >= self.began_at

    def count_left(self) -> int:
        return sum(not self._has_failed(job_id) for job_id in self._list_left())

    @property
    def name(self) -> str:
        """Name the study's tasks in Slurm's queue."""
        return name_tasks(self.layout, self.plan.study)

    def attach(self) -> None:
        """Wait for tasks that an earlier driver left in Slurm's queue; one that is silent may hold some."""
        if isinstance(self.study.cluster, SlurmSettings):
            check_commands()
            queue = Queue(self.name)
            self._wait(lambda: not queue.list_tasks())

    def run_round(self, folder: Path) -> None:
        """Deal all open jobs to new packs and wait until the packs end."""
        slots, threads = count_slots(self.study)
        packs = self._write_packs(folder, slots, threads)
        with _environment(OMP_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false"):
            if isinstance(self.study.cluster, SlurmSettings):
                is_over = launch(packs, folder / "logs", self.study.cluster, self.name)
            else:
                is_over = _launch_here(packs, folder / "logs")
        self._wait(is_over)

    def _wait(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            self.watch(self.snapshot())
            time.sleep(POLL_S)
        self.watch(self.snapshot())

    def _write_packs(self, folder: Path, slots: int, threads: int) -> list[Path]:
        pending = find_pending(self.plan, self.layout)
        groups = tuple(
            Group(job_ids=kept, seconds=group.seconds)
            for group in group_jobs(pending, self.plan)
            if (kept := tuple(job_id for job_id in group.job_ids if not self._has_failed(job_id)))
        )
        paths: list[Path] = []
        jobs = {job.id: job for job in (*self.plan.finetunes, *self.plan.evals)}
        for number, dealt in enumerate(balance(groups, slots)):
            # Jobs of one model and one data source stand together, so that each is opened once.
            kinds = list(dict.fromkeys((jobs[job_id].backbone, jobs[job_id].data) for job_id in dealt))
            job_ids = tuple(sorted(dealt, key=lambda job_id: kinds.index((jobs[job_id].backbone, jobs[job_id].data))))
            path = folder / f"{number}.json"
            pack = Pack(
                study=self.plan.study,
                number=number,
                results_dir=str(self.layout.root.resolve()),
                images={content: str(path.resolve()) for content, path in self.images.items()},
                threads=threads,
                eval_batch_size=self.study.evaluation.batch_size,
                save_every_s=self.study.cluster.save_every_s,
                job_ids=job_ids,
            )
            write_json(path, pack)
            paths.append(path)
        return paths

    def snapshot(self) -> Snapshot:
        left = self._list_left()
        failed = [job_id for job_id in left if self._has_failed(job_id)]
        running: list[str] = []
        speeds: list[float] = []
        for job_id in left:
            events = read_events(self.layout.journal(job_id))
            if (
                not events
                or events[-1]["event"] in {"failed", "interrupted", "done"}
                or events[-1]["time"] < self.began_at
            ):
                continue
            running.append(job_id)
            speeds += [event["samples_per_s"] for event in events[-1:] if event["event"] == "log"]
        elapsed = time.monotonic() - self.began
        left_s = sum(self.seconds[job_id] for job_id in left if job_id not in failed)
        done_s = self.left_at_start - left_s
        return Snapshot(
            num_done=self.num_jobs - len(left),
            num_jobs=self.num_jobs,
            num_failed=len(failed),
            running=tuple(running),
            samples_per_s=sum(speeds) if speeds else None,
            elapsed_s=elapsed,
            remaining_s=left_s / done_s * elapsed if done_s > 0.05 * self.left_at_start else None,
        )

    def give_up(self) -> None:
        """Write a failure for jobs whose process died in every round."""
        for job_id in self._list_left():
            if not self._has_failed(job_id):
                write_failure(
                    self.layout,
                    Failure(
                        job_id=job_id,
                        kind="crash",
                        message=f"its process died in each of {MAX_ROUNDS} attempts; see {self.plan.study}/packs/logs",
                        attempts=MAX_ROUNDS,
                        host=os.uname().nodename,
                        when=now(),
                    ),
                )

    def outcome(self) -> Outcome:
        left = len(self._list_left())
        return Outcome(num_done=self.num_jobs - left, num_failed=left)


def _launch_here(packs: list[Path], folder: Path) -> Callable[[], bool]:
    """Start packs on this machine, and give what tells whether all have ended."""
    import submitit

    executor = submitit.LocalExecutor(folder=folder)
    executor.update_parameters(timeout_min=60 * 24 * 30)
    jobs = [executor.submit(run_pack, path) for path in packs]
    return lambda: all(job.done() for job in jobs)


def count_slots(study: Study) -> tuple[int, int]:
    """Give the number of processes at one time and the threads of each: here together never more than the cores."""
    if isinstance(study.cluster, SlurmSettings):
        return study.cluster.slots, study.cluster.cpus
    cores = len(os.sched_getaffinity(0))
    slots = min(study.cluster.slots or cores, cores)
    return slots, max(1, cores // slots)


def _stop_workers(folder: Path) -> None:
    """Ask running packs to save and end; kill those that do not within the grace."""
    deadline = time.monotonic() + STOP_GRACE_S
    asked: set[int] = set()
    while (running := _find_workers(folder)) and time.monotonic() < deadline:
        for process in set(running) - asked:
            _signal(process, signal.SIGTERM)
        asked |= set(running)
        time.sleep(0.1)
    for process in running:
        _signal(process, signal.SIGKILL)


def _find_workers(folder: Path) -> list[int]:
    """Give the processes that hold a pack's lock."""
    holders = [find_holder(lock_of(pack)) for pack in sorted(folder.glob("*.json"))]
    return [process for process in holders if process]


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables for the processes that are started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
