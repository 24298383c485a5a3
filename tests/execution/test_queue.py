"""What a driver does where Slurm is absent or silent; no Slurm is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cg_lab.errors import UserError
from cg_lab.execution import slurm
from cg_lab.execution.slurm import Queue, check_commands, name_tasks
from cg_lab.results import Layout


def test_a_machine_without_slurm_is_told_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="no sbatch and no squeue and no srun on this machine; use a login node"):
        check_commands()


def test_a_silent_queue_never_counts_as_empty_and_is_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a driver would submit again what is still running."""
    answers: list[list[str] | None] = [None, ["7_0"], None, []]
    monkeypatch.setattr(slurm, "POLL_S", 0.0)
    monkeypatch.setattr(slurm, "find_tasks", lambda _: answers.pop(0) if answers else None)
    queue = Queue("cg_lab-x")
    assert [bool(queue.list_tasks()) for _ in range(4)] == [True, True, True, False]
    monkeypatch.setattr(slurm, "GRACE_S", -1.0)
    with pytest.raises(UserError, match="squeue has not answered"):
        queue.list_tasks()


def test_the_same_study_in_two_results_folders_has_two_names(tmp_path: Path) -> None:
    first, second = (name_tasks(Layout(tmp_path / folder), "mine") for folder in ("a", "b"))
    assert first != second
    assert first == name_tasks(Layout(tmp_path / "b" / ".." / "a"), "mine")
