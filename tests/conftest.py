"""One loaded model for all tests that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cg_lab.models.backbone import LoadedBackbone


@pytest.fixture(scope="session")
def backbone() -> LoadedBackbone:
    """Load the packaged model as a study's workers do."""
    import torch

    from cg_lab.config import read_study
    from cg_lab.models.backbone import load_backbone
    from cg_lab.models.identity import identify_backbone

    torch.set_num_threads(1)
    return load_backbone(identify_backbone(read_study([]).model))
