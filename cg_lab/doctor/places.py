"""Where things are written and sent: the results folder, its disk, MLflow and Slurm."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cg_lab.byte_counts import tell_bytes
from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.doctor.disk_forecast import foresee_disk
from cg_lab.errors import UserError
from cg_lab.execution.slurm_commands import ask, check_commands
from cg_lab.locks import holding
from cg_lab.passwords import hide_passwords
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.results import Layout
from cg_lab.study import ClusterSettings, SlurmSettings, Study, TrackingSettings
from cg_lab.tracking.store import UNFIT, find_database, find_uri

ANSWER_S = 5.0
"""How long a server may take to answer."""
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Where databases listen if their URI does not say."""


def check_results(layout: Layout) -> CheckResult:
    """Check that the results folder can be written to, and that its file system has locks."""
    folder = _find_existing(layout.root)
    try:
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as probe,
            holding(Path(probe) / "lock") as held,
        ):
            assert held
    except OSError as error:
        return CheckResult(
            name="results",
            status=Status.FAULT,
            found=f"{folder} can't be written to ({error.strerror})",
            way_out="give another folder: results_dir=PATH",
        )
    except UserError as error:
        return CheckResult(name="results", status=Status.FAULT, found=str(error), way_out="see above")
    made = "" if layout.root.is_dir() else ", not there yet"
    return CheckResult(name="results", found=f"{layout.root.resolve()}{made}; can be written to, and has locks")


def _find_existing(path: Path) -> Path:
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def check_disk(study: Study, plan: Plan | None, finetunes: Sequence[FinetuneJob], layout: Layout) -> CheckResult:
    """Hold what weights, checkpoints and images will take against the disk's free space."""
    free = shutil.disk_usage(_find_existing(layout.root)).free
    if plan is None:
        return CheckResult(name="disk", found=f"{tell_bytes(free)} free; what is needed is not known without a plan")
    forecast = foresee_disk(plan, finetunes, study.cluster)
    kept = forecast.count_kept(study.keep)
    needed = kept + forecast.checkpoints
    told = (
        f"{tell_bytes(free)} free; {len(finetunes)} fine-tunes leave {tell_bytes(kept)} with keep={study.keep}, by "
        f"model.checkpoint_gb={study.model.checkpoint_gb:g}; their checkpoints take up to "
        f"{tell_bytes(forecast.checkpoints)} while they run; images up to {tell_bytes(study.cache_gb * 1e9)}"
    )
    if needed + study.cache_gb * 1e9 > free:
        return CheckResult(
            name="disk",
            status=Status.FAULT if needed > free else Status.WARNING,
            found=told,
            way_out="make room, or set keep=nothing, fewer cluster.slots, a smaller cache_gb, another results_dir, or "
            "model.checkpoint_gb",
        )
    return CheckResult(name="disk", found=told)


def check_mlflow(tracking: TrackingSettings, layout: Layout) -> CheckResult:
    """Check that MLflow's store can be reached; a sweep's results do not depend on it."""
    if tracking.name == "none":
        return CheckResult(name="MLflow", found="not used (tracking=none)")
    uri = find_uri(layout, tracking.uri)
    shown = hide_passwords(uri)
    database = find_database(uri)
    if database is not None:
        folder = _find_existing(database.parent)
        if set(str(database)) & set(UNFIT):
            trouble = f"the path has one of {UNFIT}, which MLflow's databases can't have"
        else:
            trouble = "" if os.access(folder, os.W_OK) else f"{folder} can't be written to"
    else:
        trouble = _reach(uri)
    if trouble:
        return CheckResult(
            name="MLflow",
            status=Status.WARNING,
            found=f"{shown}: {trouble}; results are safe, but are not mirrored",
            way_out="start it (python -m cg_lab server), mend tracking.uri, or take tracking=none",
        )
    return CheckResult(name="MLflow", found=shown)


def _reach(uri: str) -> str:
    """Say why a server can't be reached; empty if it can."""
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_S):  # noqa: S310 - http as asked
                return ""
        except urllib.error.HTTPError as error:
            hint = "; its MLFLOW_SERVER_ALLOWED_HOSTS may lack this name" if error.code == 403 else ""
            return f"it answers {error.code}{hint}"
        except (OSError, ValueError) as error:
            return f"no answer ({getattr(error, 'reason', error)})"
    port = parts.port or PORTS.get(parts.scheme.split("+")[0])
    if parts.hostname and port:
        try:
            with socket.create_connection((parts.hostname, port), timeout=ANSWER_S):
                return ""
        except OSError as error:
            return f"no answer ({error.strerror or error})"
    return ""


def check_slurm(cluster: ClusterSettings) -> CheckResult:
    """Check that Slurm answers and has the partition that is asked for."""
    if not isinstance(cluster, SlurmSettings):
        return CheckResult(name="Slurm", found=f"not used (cluster={cluster.name})")
    try:
        check_commands()
    except UserError as error:
        return CheckResult(name="Slurm", status=Status.FAULT, found=str(error), way_out="cluster=local trains here")
    told = ask("sinfo", "--noheader", "--format=%R|%a|%D|%G")
    if told is None:
        return CheckResult(
            name="Slurm",
            status=Status.FAULT,
            found="sinfo does not answer",
            way_out="wait until the controller is back (scontrol ping), or take cluster=local",
        )
    rows = [line.split("|") for line in told.splitlines() if line.count("|") == 3]
    known = sorted({name for name, *_ in rows})
    if cluster.partition and not set(cluster.partition.split(",")) <= set(known):
        return CheckResult(
            name="Slurm",
            status=Status.FAULT,
            found=f"no partition '{cluster.partition}'; known: {', '.join(known)}",
            way_out=f"cluster.partition={known[0] if known else 'null'}",
        )
    return CheckResult(
        name="Slurm", found="; ".join(f"{name} {up}, {num} nodes, {gres}" for name, up, num, gres in rows)
    )
