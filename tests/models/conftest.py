"""One loaded model for all tests of this folder."""

from __future__ import annotations

import pytest
import torch

from cg_lab.config import read_study
from cg_lab.models.backbone import LoadedBackbone, load_backbone
from cg_lab.models.identity import identify_backbone
from cg_lab.study import Backbone


@pytest.fixture(scope="session")
def identity() -> Backbone:
    torch.set_num_threads(1)
    return identify_backbone(read_study([]).model)


@pytest.fixture(scope="session")
def backbone(identity: Backbone) -> LoadedBackbone:
    return load_backbone(identity)
