"""Packs on a Slurm cluster: arrays through submitit, watched with one squeue for all of them."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr
from dataclasses import fields, replace
from functools import cached_property
from io import StringIO

from cg_lab.errors import UserError
from cg_lab.execution.bench import ModelBench, OpenBench
from cg_lab.execution.clusters import End, Key, Look, NoAnswerError, NoRoomError, Task
from cg_lab.execution.packs import Submission, path_of
from cg_lab.execution.slurm_commands import (
    DEFAULTS,
    ask,
    check_commands,
    clean_environment,
    find_tasks,
    list_tasks,
    run_slurm,
)
from cg_lab.execution.worker import PackRun
from cg_lab.results import FailureKind, Layout
from cg_lab.serialize import content_id
from cg_lab.study import SlurmSettings, StageSettings

MOST_REQUEUES = 100_000
"""submitit's bound on time limits of one task; how often a job is tried is decided by its attempts."""
SILENT = ("Unable to contact slurm controller", "Socket timed out", "Connection refused", "Connection timed out",
          "Transport endpoint", "Zero Bytes", "Communication connection failure")  # fmt: skip
FULL = ("SubmitJob", "submit limit", "job limit", "MaxJobCount", "Slurm temporarily unable to accept job")
IDLE = frozenset({"PENDING", "SUSPENDED", "STOPPED"})
"""States of tasks that have not ended and don't work."""
NEVER = "DependencyNeverSatisfied"
ENDS: dict[str, FailureKind] = {
    "OUT_OF_MEMORY": "out_of_memory", "TIMEOUT": "lost", "NODE_FAIL": "lost", "PREEMPTED": "lost",
    "BOOT_FAIL": "lost", "DEADLINE": "lost", "CANCELLED": "lost", "REVOKED": "lost",
}  # fmt: skip
"""Slurm's states that say more than that a process died."""


def name_tasks(layout: Layout, study: str) -> str:
    """Name the tasks of a study in a queue that others use too; studies of other results folders have other names."""
    return f"cg_lab-{study}-{content_id('results', 1, str(layout.root.resolve()))[:6]}"


class SlurmCluster:
    """A Slurm cluster, from a login node or from one of its own tasks."""

    def __init__(self, settings: SlurmSettings, layout: Layout, study: str, open_bench: OpenBench = ModelBench) -> None:
        check_commands()
        self.settings = settings
        self.layout = layout
        self.study = study
        self.name = name_tasks(layout, study)
        self.slots = settings.slots
        self.patience_s = settings.patience_min * 60
        self.is_separate = settings.eval == "separate"
        self._open_bench = open_bench
        self._began = time.monotonic()
        self._over: set[Key] = set()

    @property
    def threads(self) -> int:
        """CPU threads of each process: one where the cluster decides."""
        return self.settings.cpus or 1

    @property
    def poll_s(self) -> float:
        """Seconds between two looks: more, the longer a sweep has taken."""
        return min(30.0, max(1.0, (time.monotonic() - self._began) / 60))

    @cached_property
    def _limits(self) -> tuple[int, int]:
        """Tasks of one array, and tasks of one user at one time; the cluster's own where nothing else is set."""
        shown = ask("scontrol", "show", "config") or ""
        array, jobs = (
            int(found.group(1)) if (found := re.search(rf"^{key}\s*=\s*(\d+)", shown, re.MULTILINE)) else default
            for key, default in (("MaxArraySize", 1001), ("MaxJobCount", 10_000))
        )
        return self.settings.max_array_size or array, self.settings.max_tasks or max(1, jobs // 2)

    def split(self, seconds: float, num_free: int, num_live: int) -> tuple[int, int]:
        """Deal no more to one task than it should take, in whole turns of all slots."""
        array, most = self._limits
        task_s = 60 * (self.settings.task_min or self.settings.timeout_min / 2)
        turns = max(1, math.ceil(seconds / (task_s * num_free)))
        return max(1, min(turns * num_free, most - num_live)), array

    def submit(self, submission: Submission, after: Submission | None, parallel: int) -> str:
        """Submit packs as one array; its comment is the submission's id, by which it is found again."""
        parameters = self._list_parameters(submission.stage)
        parameters |= {"comment": submission.id, "array_parallelism": min(parallel, len(submission.packs))}
        if after is not None:
            parameters["dependency"] = f"{'aftercorr' if len(after.packs) > 1 else 'afterok'}:{after.task}"
        path = path_of(self.layout, submission)
        runs = [PackRun(path, number, self._open_bench) for number in range(len(submission.packs))]
        return self._submit(parameters, runs)

    def submit_all(self, runs: Sequence[Callable[[], object]]) -> str:
        """Submit what can run at the same time as one array without packs."""
        parameters = self._list_parameters("evaluation") | {"comment": "images", "array_parallelism": self.slots}
        return self._submit(parameters, runs)

    def submit_last(self, run: Callable[[], None], after: Sequence[Submission]) -> str:
        """Submit what runs once all packs have ended, however they did."""
        parameters = self._list_parameters("report") | {"comment": "last"}
        names = [submission.task for submission in after if submission.task]
        if names:
            parameters["dependency"] = ":".join(["afterany", *names])
        return self._submit(parameters, [run])

    def _submit(self, parameters: dict[str, object], runs: Sequence[Callable[[], object]]) -> str:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        python = shlex.quote(sys.executable)
        executor = submitit.SlurmExecutor(
            folder=self.layout.packs(self.study) / "logs",
            max_num_timeout=MOST_REQUEUES,
            python=f"{self.settings.container} {python}" if self.settings.container else python,
        )
        executor.update_parameters(**parameters)
        try:
            # its words are in the exception too
            with clean_environment(), redirect_stderr(StringIO()), executor.batch():
                jobs = [executor.submit(run) for run in runs]
        except (FailedJobError, FailedSubmissionError) as error:
            words = " ".join(str(error).split())
            if any(silent in words for silent in SILENT):
                raise NoAnswerError(words) from None
            if any(full in words for full in FULL):
                raise NoRoomError(words) from None
            raise UserError(f"cluster=slurm: sbatch refused: {words}") from None
        return jobs[0].job_id.split("_")[0]

    def _list_parameters(self, stage: str) -> dict[str, object]:
        """Give sbatch's parameters as submitit names them; what is not set is left to the cluster."""
        asked = merge(self.settings, stage)
        gpus = self._count_gpus(asked) if asked.gpus is None else asked.gpus
        processes = asked.processes or max(1, gpus)
        is_single = stage != "finetune" or processes * asked.nodes == 1
        exported = [f"export {key}={shlex.quote(value)}" for key, value in (asked.environment or {}).items()]
        own = {name: getattr(asked, name) or os.environ.get(variable) for name, variable in DEFAULTS.items()}
        chosen: dict[str, object] = {
            **own,
            "job_name": self.name,
            "time": asked.timeout_min,
            "nodes": asked.nodes,
            "ntasks_per_node": 1 if is_single else processes,
            "cpus_per_task": asked.cpus,
            "mem": None if asked.memory_gb is None else f"{asked.memory_gb:g}GB",
            "gpus_per_node": gpus or None,
            "nodelist": asked.nodelist,
            "setup": [
                *asked.setup,
                f"export OMP_NUM_THREADS={asked.cpus or 1} TOKENIZERS_PARALLELISM=false",
                *exported,
            ],
            "signal_delay_s": asked.warn_s,
            "srun_args": None if is_single else ["--kill-on-bad-exit=1"],
            "additional_parameters": {"requeue": True},
        }
        return {key: value for key, value in chosen.items() if value is not None}

    def _count_gpus(self, asked: SlurmSettings) -> int:
        """Ask for one GPU where nodes have any."""
        partition = [f"--partition={asked.partition}"] if asked.partition else []
        return int("gpu" in (ask("sinfo", "--noheader", "--format=%G", *partition) or ""))

    def look(self, submissions: Sequence[Submission]) -> Look | None:
        """Ask squeue once for all tasks under the study's name, and by number for those that it does not list."""
        listed = list_tasks(self.name)
        if listed is None:
            return None
        ids = {submission.task: submission.id for submission in submissions if submission.task}
        unnoted = {submission.id for submission in submissions if submission.task is None}
        adopted = {task.comment: task.array for task in listed if task.array not in ids and task.comment in unnoted}
        ids |= {array: submission_id for submission_id, array in adopted.items()}
        missing = self._list_missing(
            submissions, {(ids[task.array], task.number) for task in listed if task.array in ids}
        )
        asked = find_tasks(missing)
        if asked is None:
            return None
        tasks: dict[Key, Task] = {}
        hopeless: dict[Key, str] = {}
        for task in (*listed, *asked):
            if task.array not in ids or task.is_over:
                continue
            key, name = (ids[task.array], task.number), f"{task.array}_{task.number}"
            if NEVER in task.reason:
                hopeless[key] = name
                continue
            is_waiting = task.state in IDLE
            told = task.reason if task.state == "PENDING" else task.state
            reason = told if is_waiting and told != "None" else ""
            tasks[key] = Task(name=name, state="waiting" if is_waiting else "running", reason=reason)
        self._over |= {
            (submission.id, number)
            for submission in submissions
            if submission.task in missing
            for number in range(len(submission.packs))
            if (submission.id, number) not in tasks and (submission.id, number) not in hopeless
        }
        return Look(tasks=tasks, adopted=adopted, hopeless=hopeless)

    def _list_missing(self, submissions: Sequence[Submission], listed: set[Key]) -> list[str]:
        """List the arrays with packs that are neither listed nor known to be over: absence alone proves nothing."""
        return [
            submission.task
            for submission in submissions
            if submission.task
            and any(
                (submission.id, number) not in listed and (submission.id, number) not in self._over
                for number in range(len(submission.packs))
            )
        ]

    def look_back(self, submissions: Sequence[Submission]) -> dict[Key, Task] | None:
        """Say what accounting last knew to wait or run, where the queue itself does not answer; None without it."""
        if shutil.which("sacct") is None:
            return None
        names = _name_packs((sent, number) for sent in submissions for number in range(len(sent.packs)))
        shown = ask("sacct", "--noheader", "--parsable2", "--allocations", "--array", f"--name={self.name}",
                    "--state=PENDING,RUNNING,REQUEUED,SUSPENDED", "--format=JobID,State")  # fmt: skip
        if shown is None:
            return None
        rows = [line.partition("|") for line in shown.splitlines()]
        return {
            names[name]: Task(name=name, state="running" if state.startswith("RUNNING") else "waiting", reason="")
            for name, _, state in rows
            if name in names
        }

    def drop(self, names: Sequence[str]) -> None:
        """Cancel tasks whose dependency can never be met; Slurm would keep them for ever."""
        for name in names:
            self._cancel(name)

    def adopt(self, submission: Submission) -> None:
        """Give tasks what they are to run, which submitit does once sbatch has answered."""
        from submitit.core.utils import DelayedSubmission, JobPaths

        assert submission.task
        many = len(submission.packs) > 1
        for number in range(len(submission.packs)):
            task = f"{submission.task}_{number}" if many else submission.task
            path = JobPaths(self.layout.packs(self.study) / "logs", job_id=task).submitted_pickle
            if not path.exists():
                delayed = DelayedSubmission(PackRun(path_of(self.layout, submission), number, self._open_bench))
                delayed.set_timeout(merge(self.settings, submission.stage).timeout_min, MOST_REQUEUES)
                path.parent.mkdir(parents=True, exist_ok=True)
                beside = path.with_suffix(".new")
                delayed.dump(beside)
                beside.replace(path)

    def take_away(self, submission: Submission, number: int) -> None:
        """Cancel one task; Slurm kills it if it does not end."""
        for name in _name_packs([(submission, number)]):
            self._cancel(name)

    def find_ends(self, packs: Sequence[tuple[Submission, int]]) -> dict[Key, End]:
        """Ask sacct once; without accounting nothing is known."""
        names = _name_packs(packs)
        if not names or shutil.which("sacct") is None:
            return {}
        jobs = f"--jobs={','.join(names)}"
        shown = ask("sacct", "--noheader", "--parsable2", "--allocations", jobs, "--format=JobID,State")
        ends: dict[Key, End] = {}
        for line in (shown or "").splitlines():
            name, _, state = line.partition("|")
            kind = ENDS.get(state.split()[0] if state.split() else "")
            if name in names and kind:
                ends[names[name]] = End(kind=kind, message=f"Slurm says {state} of task {name}")
        return ends

    def stop(self, submissions: Sequence[Submission]) -> None:
        """Cancel arrays; running fine-tunes get SIGTERM first and save."""
        for submission in submissions:
            if submission.task:
                self._cancel(submission.task)

    def find_own(self) -> list[str]:
        """List the arrays in the queue that carry the study's name, whether the study's files know them or not."""
        return list(dict.fromkeys(task.array for task in list_tasks(self.name) or [] if not task.is_over))

    def has_last(self) -> bool:
        """Tell whether the last task of a detached sweep waits or runs."""
        return any(task.comment == "last" and not task.is_over for task in list_tasks(self.name) or [])

    def _cancel(self, name: str) -> None:
        run_slurm("scancel", name)


def _name_packs(packs: Iterable[tuple[Submission, int]]) -> dict[str, Key]:
    """Give packs by the names that Slurm has for their tasks; those without one are left out."""
    return {
        (f"{sent.task}_{number}" if len(sent.packs) > 1 else sent.task): (sent.id, number)
        for sent, number in packs
        if sent.task
    }


def merge(settings: SlurmSettings, stage: str) -> SlurmSettings:
    """Give what the tasks of a stage ask for."""
    own = {"evaluation": settings.evaluation, "report": settings.report}.get(stage)
    if own is None:
        return settings
    changed = {part.name: value for part in fields(StageSettings) if (value := getattr(own, part.name)) is not None}
    return replace(settings, **changed)
