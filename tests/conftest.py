"""What all tests share: one loaded model, and signals that reach the processes they start."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cg_lab.models.backbone import LoadedBackbone

# A shell's background job ignores these, and so would every process that a test starts and then interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def backbone() -> LoadedBackbone:
    """Load the packaged model as a study's workers do."""
    import torch

    from cg_lab.config import read_study
    from cg_lab.models.backbone import load_backbone
    from cg_lab.models.identity import identify_backbone

    torch.set_num_threads(1)
    return load_backbone(identify_backbone(read_study([]).model))
