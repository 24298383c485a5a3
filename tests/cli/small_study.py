"""A finished study of one target, whose answers are made up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cg_lab.cli import main, sweep as sweeping
from tests.cli.test_looks import Trainer

SMALL = (
    "study=s", "seeds=[0]", "arms=[zero_shot,unrelated,related]", "design.prefer=hash", "rule.resamples=100",
    "data.train_per_subset=96", "data.test_per_subset=24", "tracking=none",
)  # fmt: skip
BREAST, BRAIN = "targets=[us-breast-mass]", "targets=[ct-brain-mass]"


def run(verb: str, root: Path, *overrides: str) -> int:
    return main([verb, f"results_dir={root}", *SMALL, *overrides])


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    found = Trainer()
    monkeypatch.setattr(sweeping, "run_plan", found.run)
    return found


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweep a study of one target."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "run_plan", Trainer().run)
        assert run("sweep", root, BREAST) == 0
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "r")
    return tmp_path / "r"
