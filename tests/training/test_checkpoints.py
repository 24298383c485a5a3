"""Which checkpoint a fine-tune goes on from: the last one that was written to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cg_lab.training.checkpoints import find_checkpoint


def write(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    save_file({"weight": torch.arange(100.0)}, checkpoint / "model.safetensors")
    torch.save({"state": torch.arange(100.0)}, checkpoint / "optimizer.pt")
    (checkpoint / "trainer_state.json").write_text(f'{{"global_step": {step}, "note": "é"}}', encoding="utf-8")
    return checkpoint


def find(folder: Path) -> tuple[str | None, list[tuple[str, dict[str, Any]]]]:
    told: list[tuple[str, dict[str, Any]]] = []
    return find_checkpoint(folder, lambda event, **facts: told.append((event, facts))), told


def test_the_last_checkpoint_is_that_of_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        write(tmp_path, step)
    assert find(tmp_path) == (str(tmp_path / "checkpoint-100"), [])


def test_without_a_checkpoint_a_fine_tune_begins_anew(tmp_path: Path) -> None:
    assert find(tmp_path / "absent") == (None, [])
    assert find(tmp_path) == (None, [])


@pytest.mark.parametrize("broken", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_checkpoint_that_was_cut_off_is_told_and_removed_and_the_one_before_is_taken(
    broken: str, tmp_path: Path
) -> None:
    whole, last = write(tmp_path, 9), write(tmp_path, 10)
    file = last / broken
    file.write_bytes(file.read_bytes()[: -file.stat().st_size // 3])
    reason = {"reason": "it can't be read whole", "checkpoint": "checkpoint-10"}
    assert find(tmp_path) == (str(whole), [("checkpoint_removed", reason)])
    assert not last.exists()
    assert whole.exists()


def test_a_checkpoint_without_its_state_was_not_written_to_its_end(tmp_path: Path) -> None:
    first, second = write(tmp_path, 9), write(tmp_path, 10)
    (second / "trainer_state.json").unlink()
    (first / "trainer_state.json").write_text('{"epoch": 1}')
    found, told = find(tmp_path)
    assert found is None
    assert [facts["checkpoint"] for _, facts in told] == ["checkpoint-10", "checkpoint-9"]
    assert list(tmp_path.iterdir()) == []
