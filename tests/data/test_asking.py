"""What a job is trained on and asked: shuffled labels leave images alone, elements can be asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from cg_lab.config import read_study
from cg_lab.data.asking import pose_shots, pose_test, pose_training
from cg_lab.data.phantoms import build_phantom_catalog, open_phantoms
from cg_lab.data.samples import Split
from cg_lab.data.sources.phantom import Settings as PhantomSettings
from cg_lab.errors import UserError
from cg_lab.planning.work import Mixture, MixturePart, Protocol
from cg_lab.questions import Question

SETTINGS = read_study(["data.train_per_subset=64", "data.test_per_subset=24"]).data
assert isinstance(SETTINGS, PhantomSettings)
CATALOG = build_phantom_catalog(SETTINGS)
SUBSETS = {subset.name: subset for subset in CATALOG.subsets}
assert CATALOG.data.source == "phantom"
SOURCE = open_phantoms(CATALOG.data, CATALOG.subsets)
MIXTURE = Mixture(
    parts=(MixturePart(subset="ct-brain-mass", count=48), MixturePart(subset="us-lung-level", count=32)), seed=3
)


def test_shuffled_labels_are_as_frequent_and_no_image_changes() -> None:
    """A phantom is painted by its label, so that an image of a dealt label would make the control learn the truth."""
    true = pose_training(SOURCE, SUBSETS, MIXTURE)
    shuffled = pose_training(SOURCE, SUBSETS, replace(MIXTURE, labels="shuffled"))
    for first, second in zip(*(SOURCE.read_images(exam.samples) for exam in (true, shuffled)), strict=True):
        assert np.array_equal(np.asarray(first), np.asarray(second))
    answers = [[question.options[question.answer] for question in exam.questions] for exam in (true, shuffled)]
    assert answers[0] == [sample.label for sample in true.samples]
    for part in (slice(0, 48), slice(48, 80)):
        assert Counter(answers[0][part]) == Counter(answers[1][part])
        agreeing = np.mean([a == b for a, b in zip(answers[0][part], answers[1][part], strict=True)])
        assert agreeing < 0.6


def test_shuffling_depends_on_the_seed() -> None:
    exams = [pose_training(SOURCE, SUBSETS, replace(MIXTURE, labels="shuffled", seed=seed)) for seed in (1, 1, 2)]
    assert exams[0].questions == exams[1].questions
    assert exams[0].questions != exams[2].questions


def test_elements_are_asked_for_among_all_candidates_in_a_test_and_four_in_training() -> None:
    candidates = tuple(sorted({" ".join(subset.own[:2]) for subset in CATALOG.subsets}))
    protocol = Protocol(image="original", ask="elements", places=(0, 1), candidates=candidates)
    exam = pose_test(SOURCE, SUBSETS, "ct-brain-mass", protocol)
    assert all(set(question.options) == set(candidates) for question in exam.questions)
    assert {question.options[question.answer] for question in exam.questions} == {"CT Brain"}
    mixture = replace(MIXTURE, ask="elements", places=(0, 1), candidates=candidates)
    for question in pose_training(SOURCE, SUBSETS, mixture).questions:
        assert len(question.options) == 4
        assert question.options[question.answer] in {"CT Brain", "US Lung"}


def test_examples_in_the_prompt_are_of_every_label_and_of_the_training_side() -> None:
    few, more = (
        pose_shots(SOURCE, SUBSETS, "ct-brain-mass", Protocol(image="original", shots=count)) for count in (1, 3)
    )
    assert few is not None
    assert more is not None
    labels = Counter(question.options[question.answer] for question in more.questions if isinstance(question, Question))
    assert labels == dict.fromkeys(SUBSETS["ct-brain-mass"].labels, 3)
    assert {question.text for question in few.questions}
    pixels = {image.tobytes() for image in more.images}
    assert {image.tobytes() for image in few.images} < pixels
    for split, shared in ((Split.TRAIN, len(pixels)), (Split.TEST, 0)):
        known = {image.tobytes() for image in SOURCE.read_images(SOURCE.read_samples("ct-brain-mass", split))}
        assert len(pixels & known) == shared
    assert pose_shots(SOURCE, SUBSETS, "ct-brain-mass", Protocol(image="original")) is None
    with pytest.raises(UserError, match=r"design.shots: 99 examples .* has 22 training samples"):
        pose_shots(SOURCE, SUBSETS, "ct-brain-mass", Protocol(image="original", shots=99))
