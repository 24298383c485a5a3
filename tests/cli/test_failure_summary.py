"""The end of a sweep says once why jobs were given up, with the way out, at any width."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from cg_lab.cli.failure_summary import MOST_REASONS, print_failures
from cg_lab.results import Failure, Layout, write_failure

IDS = [f"{number:016x}" for number in range(1, 13)]


def fail(layout: Layout, job_id: str, message: str) -> None:
    failure = Failure(job_id=job_id, kind="user_error", message=message, attempts=1, host="h", when="")
    write_failure(layout, failure)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_equal_reasons_are_told_once_the_most_frequent_first(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path)
    fail(layout, IDS[0], "data.path: no folder\n'/images'; give one that is there")
    for number, job_id in enumerate(IDS[1:4]):
        fail(layout, job_id, f"sample {number}: 12{number} tokens, and the model takes 100; raise model.max_tokens")
    print_failures(Console(width=width, highlight=False), IDS, layout, "mine", " results_dir=there")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].startswith("3 jobs, user_error: sample 0: 120 tokens")
    assert "1 job, user_error: data.path: no folder '/images'; give one that is there" in " ".join(printed.split())
    assert printed.count("tokens,") == 1
    assert f"all of it: python -m cg_lab explain {IDS[1]} study=mine results_dir=there" in lines
    assert "again:     python -m cg_lab retry --failed study=mine results_dir=there" in lines


def test_of_many_reasons_some_are_told_and_the_others_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path)
    for job_id, word in zip(IDS, "abcdefghijkl", strict=True):
        fail(layout, job_id, f"reason {word} " * 200)
    print_failures(Console(width=80), IDS, layout, "mine", "")
    printed = capsys.readouterr().out
    assert f"... and {len(IDS) - MOST_REASONS} reasons more: python -m cg_lab status study=mine" in printed
    assert len(printed) < 500 * MOST_REASONS


def test_without_a_failure_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_failures(Console(width=80), IDS, Layout(tmp_path), "mine", "")
    assert capsys.readouterr().out == ""
