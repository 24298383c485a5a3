"""A few random acts on one results folder break nothing; `python -m tests.execution.random_acts` does many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.execution.random_acts import play


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_after_random_acts_each_study_is_what_an_undisturbed_run_makes(tmp_path: Path, seed: int) -> None:
    assert play(tmp_path, seed, num_acts=12) == []
