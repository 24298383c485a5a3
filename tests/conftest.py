"""What all tests share: one loaded model, and signals that reach the processes they start."""

from __future__ import annotations

import functools
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cg_lab.models.backbone import LoadedBackbone

# A shell's background job ignores these, and so would every process that a test starts and then interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what needs a Slurm where none answers; one that is down is slow to say so, so it is asked late."""
    if item.get_closest_marker("slurm") and not _has_slurm():
        pytest.skip("no Slurm answers here; `make slurm` installs and starts one")


@functools.cache
def _has_slurm() -> bool:
    from cg_lab.execution.slurm_commands import list_tasks

    return list_tasks("none") is not None


@pytest.fixture(scope="session")
def backbone() -> LoadedBackbone:
    """Load the packaged model as a study's workers do."""
    import torch

    from cg_lab.config import read_study
    from cg_lab.models.backbone import load_backbone
    from cg_lab.models.identity import identify_backbone

    torch.set_num_threads(1)
    return load_backbone(identify_backbone(read_study([]).model))
