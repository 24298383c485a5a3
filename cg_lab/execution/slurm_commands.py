"""Slurm's own commands, free of what the user's and the site's environment would have them do."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cg_lab.errors import UserError

COMMANDS = ("sbatch", "squeue", "srun", "scancel", "scontrol")
ANSWER_S = 60.0
"""How long one command may take."""
FOREIGN = ("SQUEUE_", "SACCT_", "SBATCH_", "SCANCEL_", "SINFO_", "SALLOC_", "SRUN_", "SLURM_")
"""Beginnings of variables that are options of Slurm's commands, or describe a task that this process runs in."""
KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_SACK_JWKS", "SLURM_SACK_KEY"})
"""How Slurm is reached."""
DEFAULTS = {"account": "SBATCH_ACCOUNT", "partition": "SBATCH_PARTITION", "qos": "SBATCH_QOS",
            "constraint": "SBATCH_CONSTRAINT"}  # fmt: skip
"""Settings of `cluster` for which a variable stands in where they are not set, as it does for sbatch."""
UNKNOWN = "Invalid job id"
ACTIVE = frozenset({"PENDING", "RUNNING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT",
                    "CONFIGURING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"})  # fmt: skip
"""States of a task that is not over."""
FORMAT = "--format=%F|%K|%T|%r|%k"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedTask:
    """A task as squeue lists it."""

    array: str
    """Number of the array, or of a task by itself."""
    number: int
    """Within the array."""
    state: str
    reason: str
    comment: str

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and is listed for a while yet."""
        return self.state not in ACTIVE


def check_commands() -> None:
    """Make sure that there is a Slurm to talk to, and that it is the one of this machine.

    Raises
    ------
    UserError
        If one of the commands that are needed is not on PATH, or if the environment names another cluster.

    """
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        raise UserError(
            f"cluster=slurm: no {' and no '.join(missing)} on this machine; use a login node of the cluster, "
            "or cluster=local"
        )
    for name in ("SLURM_CLUSTERS", "SBATCH_CLUSTERS", "SQUEUE_CLUSTERS"):
        if os.environ.get(name):
            raise UserError(
                f"cluster=slurm: {name}={os.environ[name]} asks for another cluster than this machine's own (-M), "
                "which can't be followed; log in there, or unset it"
            )


def list_foreign(environment: Mapping[str, str]) -> dict[str, str]:
    """List what of an environment Slurm's commands would take for options."""
    return {name: value for name, value in environment.items() if name.startswith(FOREIGN) and name not in KEPT}


def tell_foreign(environment: Mapping[str, str], unset: Sequence[str]) -> str:
    """Say which options of sbatch the environment has, and what becomes of them; empty if it has none.

    Parameters
    ----------
    environment
        Of the process.
    unset
        Settings of `cluster` that are null.

    """
    found = {name: value for name, value in list_foreign(environment).items() if name.startswith("SBATCH_")}
    taken = {name: found.pop(name) for setting in unset if (name := DEFAULTS.get(setting, "")) in found}
    said = [f"{name}={value} is used" for name, value in taken.items()]
    said += [f"{name}={value} is set aside" for name, value in found.items()]
    return f"cluster=slurm: {', '.join(said)}; cluster.* says what tasks ask for" if said else ""


@contextmanager
def clean_environment() -> Iterator[None]:
    """Take what Slurm's commands would take for options out of this process's environment for a while."""
    foreign = list_foreign(os.environ)
    for name in foreign:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(foreign)


def run_slurm(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run one of Slurm's commands; None if it can't be run, or takes too long."""
    foreign = list_foreign(os.environ)
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_S, check=False, env={**environment, "LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def ask(*command: str) -> str | None:
    """Run one of Slurm's commands that only look; None if it fails or takes too long."""
    done = run_slurm(*command)
    return done.stdout if done is not None and done.returncode == 0 else None


def list_tasks(name: str) -> list[QueuedTask] | None:
    """List one's own tasks under a name; None if squeue does not answer."""
    shown = ask("squeue", "--noheader", "--all", "--array", f"--user={getpass.getuser()}", f"--name={name}", FORMAT)
    return None if shown is None else _read_tasks(shown)


def find_tasks(arrays: Sequence[str]) -> list[QueuedTask] | None:
    """List the tasks of arrays by their numbers, whatever they are called and wherever they wait.

    Returns
    -------
    None if Slurm does not answer; an array that Slurm no longer knows has no tasks.

    """
    found: list[QueuedTask] = []
    for array in arrays:  # of several, one that is not known any more would hide the others
        done = run_slurm("squeue", "--noheader", "--all", "--array", f"--jobs={array}", FORMAT)
        if done is None or (done.returncode != 0 and UNKNOWN not in done.stderr):
            return None
        found += _read_tasks(done.stdout)
    return found


def _read_tasks(shown: str) -> list[QueuedTask]:
    rows = [line.split("|", 4) for line in shown.splitlines() if line.count("|") >= 4]
    return [
        QueuedTask(
            array=array, number=int(number) if number.isdigit() else 0, state=state, reason=reason, comment=comment
        )
        for array, number, state, reason, comment in rows
    ]
