"""Mirror a study's files to MLflow: one writer, the same result however often it runs."""

from __future__ import annotations

from cg_lab.tracking.experiments import delete_experiment, list_shown_jobs, rename_experiment
from cg_lab.tracking.server import running_server
from cg_lab.tracking.server_login import Login, prepare_login
from cg_lab.tracking.store import TrackingError
from cg_lab.tracking.sync import SyncReport, is_synced, sync_study
from cg_lab.tracking.ui import UiCommand, build_ui_command, run_ui

__all__ = [
    "Login",
    "SyncReport",
    "TrackingError",
    "UiCommand",
    "build_ui_command",
    "delete_experiment",
    "is_synced",
    "list_shown_jobs",
    "prepare_login",
    "rename_experiment",
    "run_ui",
    "running_server",
    "sync_study",
]
