"""What a pack's process does: run job after job, leave a result, a failure or a checkpoint of each, and go on."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cg_lab.errors import InterruptedByUserError, UserError, is_disk_trouble
from cg_lab.execution.attempts import Next, decide, read_attempts
from cg_lab.execution.bench import Bench, Conduct, Job, ModelBench, OpenBench, Surface, free_memory
from cg_lab.execution.heartbeat import beat
from cg_lab.execution.packs import lock_of, read_order, read_submission, trace_of
from cg_lab.execution.team import Team, joining
from cg_lab.journal import append_event, now, read_events
from cg_lab.locks import holding
from cg_lab.passwords import hide_passwords
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.results import Failure, FailureKind, Layout, read_failure, read_plan, write_failure
from cg_lab.study import DebugSettings

POLL_S = 2.0
"""Between two looks for a cancellation, or for a job that another study works on."""
BACKOFF_S = (2.0, 5.0, 15.0, 60.0)
"""Waits after trouble with the disk."""

NAMED: dict[str, FailureKind] = {
    "NotFiniteError": "not_finite",
    "TooLongError": "too_long",
    "UnreadableCheckpointError": "unreadable_weights",
}
"""Kinds of exceptions that are defined where torch is imported."""

Standing = Literal["done", "failed", "busy", "left"]
"""How a job stands after a pack was at it; `busy` in another process, `left` for another attempt."""


class PackRun:
    """One pack as submitit starts it, and starts it again when the cluster takes its process away."""

    def __init__(self, submission: Path, number: int, open_bench: OpenBench = ModelBench) -> None:
        self.submission = submission
        self.number = number
        self.open_bench = open_bench

    def __call__(self) -> None:
        """Run the pack."""
        run_pack(self.submission, self.number, self.open_bench)

    def checkpoint(self) -> Any:
        """Give what a requeued process runs: the same, since what is done is done."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


def run_pack(submission: Path, number: int, open_bench: OpenBench = ModelBench) -> None:
    """Run a pack's jobs.

    SIGTERM and SIGUSR2 ask for an end: the running fine-tune saves a checkpoint and nothing further is begun; after
    SIGUSR2, which a cluster sends before the time limit, the task is queued again. Ended by Slurm's preemption, it is
    queued again by Slurm itself.

    Parameters
    ----------
    submission
        The file that holds the pack.
    number
        Of the pack in it.
    open_bench
        Opens what jobs are worked on.

    """
    with _Stop() as stop, joining() as team:
        sent = read_submission(submission)
        layout = Layout(Path(sent.results_dir))
        with _holding_pack(lock_of(submission, number), team) as held:
            if not held:
                return
            plan = read_plan(layout.submitted_plan(sent.study))
            jobs: dict[str, Job] = {job.id: job for job in (*plan.finetunes, *plan.evals)}
            # A sweep that was given since the pack was dealt may do without some of its jobs.
            listed = [jobs[job_id] for job_id in sent.packs[number] if job_id in jobs]
            surface = Surface(
                plan=plan, order=read_order(layout, sent.study), layout=layout, threads=sent.threads, team=team,
                jobs=tuple(listed),
            )  # fmt: skip
            _Shift(surface, open_bench(surface), stop, trace_of(submission, number)).work(listed)
        if team.any(stop.wants_requeue):
            stop.requeue()


@contextmanager
def _holding_pack(path: Path, team: Team) -> Iterator[bool]:
    with ExitStack() as stack:
        held = stack.enter_context(holding(path)) if team.is_first else False
        yield team.share(held)


class _Stop:
    """Remembers that an end was asked for; submitit's own handler, which queues the task again, is called later."""

    def __init__(self) -> None:
        self.requested = False
        self.wants_requeue = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Stop:
        for number, handle in ((signal.SIGTERM, self._end), (signal.SIGUSR2, self._end_and_requeue)):
            self._before[number] = signal.signal(number, handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, *_: object) -> None:
        self.requested = True

    def _end_and_requeue(self, *_: object) -> None:
        self.requested = self.wants_requeue = True

    def requeue(self) -> None:
        """Let submitit do what it would have done at the signal."""
        handler = self._before.get(signal.SIGUSR2)
        if callable(handler):
            handler(signal.SIGUSR2, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where this process is, as journals tell it."""

    host: str
    pid: int
    task: str
    log: str | None


class _Shift:
    """One process at work on one pack."""

    def __init__(self, surface: Surface, bench: Bench, stop: _Stop, trace: Path) -> None:
        self.layout = surface.layout
        self.team = surface.team
        self.bench = bench
        self.stop = stop
        self.trace = trace
        self.eval_batch_size = surface.order.eval_batch_size
        self.place = _find_place(surface.layout)
        self.is_debugged = isinstance(surface.order.cluster, DebugSettings)

    def work(self, jobs: list[Job]) -> None:
        """Run the jobs in order; those that another process holds are waited for at the end."""
        self._tell("begun")
        busy = self._pass(jobs)
        while busy and not self.team.any(self.stop.requested):
            time.sleep(POLL_S)
            beat(self.trace)
            busy = self._pass(busy)
        self._tell("stopped" if self.team.any(self.stop.requested) else "ended")

    def _pass(self, jobs: list[Job]) -> list[Job]:
        busy: list[Job] = []
        for job in jobs:
            if self.team.any(self.stop.requested):
                break
            if isinstance(job, EvalJob) and any(other.id in job.needs for other in busy):
                busy.append(job)
                continue
            standing = self._attend(job)
            if standing == "busy":
                busy.append(job)
            else:
                self._tell(standing, job.id)
        return busy

    def _attend(self, job: Job) -> Standing:
        """Bring one job as far as it goes here."""
        with self._taking(job) as told:
            standing: Standing | None = self.team.share(told)
            while standing is None:
                looked: Standing | Next | None = self._look(job) if self.team.is_first else None
                looked = self.team.share(looked)
                standing = self._try(job, looked) if isinstance(looked, Next) else looked
            return standing

    @contextmanager
    def _taking(self, job: Job) -> Iterator[Standing | None]:
        """Hold a job's lock in the first process; the value is how the job stands, None if it may be run."""
        if not self.team.is_first:
            yield None
            return
        with ExitStack() as stack:
            if self.layout.result(job.id).exists():
                yield "done"
            elif read_failure(self.layout, job.id):
                yield "failed"
            elif not stack.enter_context(holding(self.layout.lock(job.id))):
                yield "busy"
            else:
                yield None

    def _look(self, job: Job) -> Standing | Next:
        """Say what is to be done with a job that this process holds."""
        if self.layout.result(job.id).exists():
            return "done"
        for needed in job.needs if isinstance(job, EvalJob) else ():
            if self.layout.result(needed).exists():
                continue
            if not (failure := read_failure(self.layout, needed)):
                return "left"
            self._give_up(job, "no_weights", f"its fine-tune {needed} was given up: {failure.message}", 0)
            return "failed"
        journal = self.layout.journal(job.id)
        attempts = read_attempts(read_events(journal))
        if attempts and attempts[-1].how is None:
            append_event(journal, "died", **_guess_death())
            attempts = read_attempts(read_events(journal))
        step = decide(attempts, job.recipe.batch_size if isinstance(job, FinetuneJob) else self.eval_batch_size)
        if step.give_up:
            last = attempts[-1]
            self._give_up(job, step.give_up, last.message or step.reason, len(attempts))
            return "failed"
        return step

    def _try(self, job: Job, step: Next) -> Standing | None:
        """Make one attempt; None if another one may follow here at once."""
        event = partial(self._event, job.id)
        self._tell("started", job.id)
        print(f"{now()} job {job.id} started", flush=True)
        try:
            event("started", host=self.place.host, pid=self.place.pid, task=self.place.task, log=self.place.log)
            self.bench.run(job, Conduct(event=event, is_stopping=self._is_stopping_check(job.id), parts=step.parts))
        except InterruptedByUserError:
            if read_failure(self.layout, job.id):
                event("failed", kind="cancelled", message="somebody cancelled it")
                return "failed"
            event("interrupted")
            return "left"
        except Exception as error:  # the worker's edge: one job's failure is one row in the report
            standing = self._record(job, error)
            if self.is_debugged:
                raise
            return standing
        with _bearing_full_disks():  # its result is safe
            event("done")
        print(f"{now()} job {job.id} done", flush=True)
        return "done"

    def _record(self, job: Job, error: Exception) -> Standing | None:
        """Write down what went wrong; say whether to try again at once."""
        kind = classify(error)
        trace = hide_passwords(traceback.format_exc())
        print(trace, file=sys.stderr, flush=True)
        with _bearing_full_disks():
            append_event(
                self.layout.journal(job.id),
                "failed",
                kind=kind,
                message=hide_passwords(str(error)) or type(error).__name__,
                traceback=trace,
            )
        if self.team.size > 1:
            os._exit(1)  # the others wait for this process in the middle of a step; Slurm ends them with it
        if kind == "disk":
            return self._wait_for_disk(job)
        if kind == "crash":
            return "failed" if isinstance(self._look(job), str) else "left"  # a fresh process tries again
        free_memory()
        return None

    def _wait_for_disk(self, job: Job) -> Standing | None:
        """Wait a while, longer each time; with a disk that stays full nothing here can go on."""
        with suppress(OSError):
            failed = sum(attempt.kind == "disk" for attempt in read_attempts(read_events(self.layout.journal(job.id))))
            for _ in range(round(BACKOFF_S[min(max(failed - 1, 0), len(BACKOFF_S) - 1)])):
                if self.stop.requested:
                    return "left"
                time.sleep(1)
            probe = self.layout.job(job.id) / f".probe-{os.getpid()}"
            try:
                probe.write_bytes(b"0" * 4096)
            finally:
                probe.unlink(missing_ok=True)
            return None
        sys.exit("the results folder is full or out of reach; make room and give the same command again")

    def _give_up(self, job: Job, kind: FailureKind, message: str, attempts: int) -> None:
        write_failure(
            self.layout,
            Failure(job_id=job.id, kind=kind, message=message, attempts=attempts, host=self.place.host, when=now()),
        )

    def _is_stopping_check(self, job_id: str) -> Any:
        failure = self.layout.failure(job_id)
        looked_at, has_sign = time.monotonic(), False

        def is_stopping(*, gives_sign: bool = True) -> bool:
            nonlocal looked_at, has_sign
            has_sign = has_sign or gives_sign
            if time.monotonic() - looked_at > POLL_S:
                looked_at = time.monotonic()
                if has_sign and self.team.is_first:
                    beat(self.trace)
                has_sign = False
                if failure.exists():
                    return True
            return self.stop.requested

        return is_stopping

    def _event(self, job_id: str, event: str, **facts: Any) -> None:
        if self.team.is_first:
            append_event(self.layout.journal(job_id), event, **facts)

    def _tell(self, event: str, job_id: str | None = None) -> None:
        """Add a line to the pack's trace, by which a driver follows it with one look."""
        if self.team.is_first:
            with _bearing_full_disks():
                append_event(self.trace, event, **({"job": job_id} if job_id else {"pid": self.place.pid}))


@contextmanager
def _bearing_full_disks() -> Iterator[None]:
    """Let notes go unwritten where there is no room: the job itself meets the trouble, and tells."""
    try:
        yield
    except OSError as error:
        if not is_disk_trouble(error):
            raise


OUT_OF_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "not enough memory", "CUDA out of memory")
"""How torch tells of it on a CPU, where it has no exception of its own for it, and in another process's last lines."""


def classify(error: Exception) -> FailureKind:
    """Say which kind of failure an exception is."""
    name = type(error).__name__
    if name == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "out_of_memory"
    if any(words in str(error) for words in OUT_OF_MEMORY):
        return "out_of_memory"
    if name in NAMED:
        return NAMED[name]
    if is_disk_trouble(error):
        return "disk"
    return "user_error" if isinstance(error, UserError) else "crash"


def _guess_death() -> dict[str, str]:
    """Say why an attempt has no end: a task that was requeued was taken away, otherwise its process died."""
    if int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0:
        return {"kind": "lost", "message": "its task was taken away and queued again"}
    return {"kind": "died", "message": "its process ended without a word, as after kill -9 or a segmentation fault"}


def _find_place(layout: Layout) -> _Place:
    import submitit

    pid, host = os.getpid(), socket.gethostname()
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return _Place(host=host, pid=pid, task=f"debug {pid}", log=None)
    environment = submitit.JobEnvironment()
    log = os.path.relpath(environment.paths.stdout, layout.root.resolve())
    return _Place(host=host, pid=pid, task=f"{environment.cluster} {environment.job_id}", log=log)
