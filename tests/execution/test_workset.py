"""What a job is given to look at: the images as they are, or blank ones in their place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.config import read_study
from cg_lab.data.asking import pose_test
from cg_lab.data.phantoms import build_phantom_catalog, open_phantoms
from cg_lab.data.sources.phantom import Settings as PhantomSettings
from cg_lab.execution.workset import Workset
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import Example
from cg_lab.models.encoding import encode_questions
from cg_lab.models.prepared import PreparedImages
from cg_lab.planning.work import ORIGINAL, EvalJob

TARGET = "ct-brain-mass"


@pytest.fixture
def workset(backbone: LoadedBackbone, tmp_path: Path) -> Workset:
    settings = read_study(["data.train_per_subset=4", "data.test_per_subset=4", "data.image_size=48"]).data
    assert isinstance(settings, PhantomSettings)
    catalog = build_phantom_catalog(settings)
    assert catalog.data.source == "phantom"
    job = EvalJob(
        data=catalog.data, backbone=backbone.identity, target=TARGET, checkpoint_of=None, protocol=ORIGINAL
    )  # fmt: skip
    return Workset(
        job=job,
        subsets={subset.name: subset for subset in catalog.subsets},
        source=open_phantoms(catalog.data, catalog.subsets),
        backbone=backbone,
        prepared=PreparedImages(backbone, tmp_path, 0.1),
    )


def look(example: Example) -> np.ndarray:
    """Give what the model sees."""
    return np.asarray(example.image["pixel_values"].float())


@pytest.mark.parametrize("image", ["original", "blank"])
def test_a_job_is_shown_the_images_that_its_protocol_names(image: str, workset: Workset) -> None:
    protocol = replace(ORIGINAL, image=image)  # type: ignore[arg-type]
    asked = workset.ask(replace(workset.job, protocol=protocol))  # type: ignore[arg-type]
    exam = pose_test(workset.source, workset.subsets, TARGET, protocol)
    real = workset.source.read_images(exam.samples)
    shown = real if image == "original" else [Image.new("L", one.size, 127) for one in real]
    expected = encode_questions(workset.backbone, exam.questions, shown)
    assert [(one.id, one.question) for one in asked] == [
        (sample.id, question) for sample, question in zip(exam.samples, exam.questions, strict=True)
    ]
    for one, other in zip(asked, expected, strict=True):
        (turn,) = one.turns
        assert turn.prompt == other.prompt
        assert np.allclose(look(turn), look(other), atol=1e-6)
    assert len({look(one.turns[0]).tobytes() for one in asked}) == (4 if image == "original" else 1)
