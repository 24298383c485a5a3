"""Where a study's numbers come from: command, versions, commit and machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cg_lab.passwords import hide_passwords
from cg_lab.version import __version__

PACKAGES = ("torch", "transformers", "numpy", "hydra-core", "submitit", "mlflow", "networkx")


def collect_provenance(argv: list[str], *, seconds: float | None) -> dict[str, object]:
    """Gather what a reader needs to judge or repeat a run.

    Parameters
    ----------
    argv
        The command line.
    seconds
        Wall clock of the sweep; None if nothing was run.

    """
    commit = _git("rev-parse", "HEAD")
    return {
        "command": hide_passwords(shlex.join(["python", "-m", "cg_lab", *argv[1:]])),
        "cg_lab": __version__,
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "versions": {name: _find_version(name) for name in PACKAGES},
        "host": platform.node(),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": None if seconds is None else round(seconds, 1),
    }


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout that the package lies in; None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
