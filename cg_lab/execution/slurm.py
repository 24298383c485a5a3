"""Packs on a Slurm cluster: one array a round through submitit, watched with one squeue for all of them."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.execution.worker import run_pack
from cg_lab.results import Layout
from cg_lab.serialize import content_id
from cg_lab.study import SlurmSettings

POLL_S = 2.0
"""Between two looks at the queue."""
GRACE_S = 300.0
"""How long the queue may be out of reach before that is told; jobs go on meanwhile."""


def check_commands() -> None:
    """Make sure that there is a Slurm to talk to.

    Raises
    ------
    UserError
        If one of the commands that are needed is not on PATH.

    """
    missing = [command for command in ("sbatch", "squeue", "srun") if shutil.which(command) is None]
    if missing:
        raise UserError(
            f"cluster=slurm: no {' and no '.join(missing)} on this machine; use a login node of the cluster, "
            "or cluster=local"
        )


def name_tasks(layout: Layout, study: str) -> str:
    """Name the tasks of a study in a queue that others use too; studies of other results folders have other names."""
    return f"cg_lab-{study}-{content_id('results', 1, str(layout.root.resolve()))[:6]}"


def launch(packs: list[Path], folder: Path, settings: SlurmSettings, name: str) -> Callable[[], bool]:
    """Submit packs as one array, and give what tells whether all of its tasks have left the queue.

    Parameters
    ----------
    packs
        One file for each process, on a file system that the nodes share.
    folder
        For submitit's own files and the logs.
    settings
        What each task asks for.
    name
        Of the array: by it a driver that was killed right after submitting finds its tasks again.

    Raises
    ------
    UserError
        If Slurm refuses the array, with its own words.

    """
    import submitit
    from submitit.core.utils import FailedJobError

    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**_list_parameters(settings, name, len(packs)))
    try:
        executor.map_array(run_pack, packs)
    except FailedJobError as error:
        raise UserError(f"cluster=slurm: sbatch refused: {' '.join(str(error).split())}") from None
    queue = Queue(name)
    return lambda: not queue.list_tasks()


def _list_parameters(settings: SlurmSettings, name: str, num_packs: int) -> dict[str, object]:
    """Give sbatch's parameters as submitit names them; what is not set is left to the cluster."""
    chosen: dict[str, object] = {
        "job_name": name,
        "time": settings.timeout_min,
        "cpus_per_task": settings.cpus,
        "mem": None if settings.memory_gb is None else f"{settings.memory_gb:g}GB",
        "gpus_per_node": settings.gpus or None,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "setup": list(settings.setup) or None,
        "array_parallelism": min(num_packs, settings.slots),
        "signal_delay_s": settings.warn_s,
        "additional_parameters": {"requeue": True},
    }
    return {key: value for key, value in chosen.items() if value is not None}


class Queue:
    """What squeue says of the tasks of one name; of a queue that is out of reach, what it said last."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: list[str] = [name]
        self._asked_at = 0.0
        self._answered_at = time.monotonic()

    def list_tasks(self) -> list[str]:
        """List tasks that wait or run.

        Raises
        ------
        UserError
            If squeue has not answered for minutes; what was submitted goes on.

        """
        now = time.monotonic()
        if now - self._asked_at < POLL_S:
            return self._tasks
        self._asked_at = now
        found = find_tasks(self._name)
        if found is not None:
            self._tasks, self._answered_at = found, now
        elif now - self._answered_at > GRACE_S:
            raise UserError(
                f"cluster=slurm: squeue has not answered for {GRACE_S / 60:.0f} minutes; submitted jobs go on, "
                "and the same command attaches to them again"
            )
        return self._tasks


def find_tasks(name: str) -> list[str] | None:
    """Ask squeue for the tasks of one's own under a name; None if it does not answer."""
    command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", f"--name={name}", "--format=%i"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split() if done.returncode == 0 else None
