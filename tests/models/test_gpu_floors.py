"""One command measures what a page says of a GPU; here its ways are gone on tiny models, without one."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from cg_lab.errors import UserError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
gpu: Any = import_module("gpu")


def test_without_a_gpu_each_row_says_that_it_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 0
    rows = capsys.readouterr().out.strip().splitlines()[2:]
    assert len(rows) == len(gpu.list_rows(tiny=False))
    assert all("not measured: there is no GPU here" in row for row in rows)


def test_a_row_that_has_no_time_left_is_given_up() -> None:
    began = time.monotonic()
    row = gpu.Row(title="slow", floor="", measure=lambda: time.sleep(60))
    assert gpu.fill(row, 0.05) == "not measured: no time left"
    assert time.monotonic() - began < 30


def test_a_row_that_fails_says_why_and_lets_the_others_be_measured() -> None:
    def fail() -> str:
        raise UserError("finetune: no room\nfor it")

    assert gpu.fill(gpu.Row(title="large", floor="", measure=fail), 60) == "failed: finetune: no room"


@pytest.mark.slow
def test_every_way_runs_on_tiny_models() -> None:
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(gpu.list_rows(tiny=True))
    assert not any("not measured" in row or "failed" in row for row in rows)
    assert "float32 masters on the host" in done.stdout
