"""Samples, and what every source of them offers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Protocol

from cg_lab.boxes import Box
from cg_lab.mat import MAX_OPTIONS
from cg_lab.planning.work import Mixture
from cg_lab.questions import BoxQuestion, Question

if TYPE_CHECKING:
    from PIL import Image  # planning reads no image


class Split(StrEnum):
    """Which side of the held-out line a sample is on."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled image."""

    id: str
    """Unique in the catalogue and independent of where the data lies."""
    subset: str
    label: str
    group: str | None
    """Patient, slide or look-alike cluster; None where the source knows of none."""
    boxes: tuple[Box, ...] = ()
    """Where the label is to be found, in subsets that ask for that."""
    letter: int | None = None
    """Where the right option stands, counted on over the options; None draws it."""
    question: Question | None = None
    """The source's own, taken as it is."""


class DataSource(Protocol):
    """What a source offers; images are read when they are asked for."""

    def read_samples(self, subset: str, split: Split) -> tuple[Sample, ...]:
        """List a subset's samples on one side, in a fixed order."""
        ...

    def read_images(self, samples: tuple[Sample, ...]) -> list[Image.Image]:
        """Give the samples' images, in their order, as gray or RGB."""
        ...

    def read_labels(self, subset: str) -> tuple[str, ...]:
        """Give all labels of a subset, in a fixed order."""
        ...

    def read_instructions(self, subset: str) -> tuple[str, ...]:
        """Give the wordings of a subset's question."""
        ...

    @property
    def seed(self) -> int:
        """Decides the questions."""
        ...


def draw_mixture(source: DataSource, mixture: Mixture) -> tuple[Sample, ...]:
    """Draw the training samples of a mixture: evenly over each subset's labels, never one sample twice.

    A label that has too few gives all it has, and the others make up for it.
    """
    return tuple(
        sample
        for part in mixture.parts
        for sample in _draw_balanced(source.read_samples(part.subset, Split.TRAIN), part.count, mixture.seed)
    )


def deal_labels(samples: tuple[Sample, ...], mixture: Mixture) -> tuple[Sample, ...]:
    """Give the samples as a mixture's questions see them: with their own labels, or with labels dealt anew.

    Shuffled labels are dealt among the drawn samples of each subset, so that every label is as frequent as before.
    Images are those of the samples as drawn: a phantom is painted by its label.
    """
    if mixture.labels == "true":
        return samples
    by_subset: dict[str, list[str]] = {}
    for sample in samples:
        by_subset.setdefault(sample.subset, []).append(sample.label)
    for subset, labels in by_subset.items():
        Random(f"shuffle/{mixture.seed}/{subset}").shuffle(labels)
    dealt = {subset: iter(labels) for subset, labels in by_subset.items()}
    return tuple(replace(sample, label=next(dealt[sample.subset])) for sample in samples)


def _draw_balanced(samples: tuple[Sample, ...], count: int, seed: int) -> list[Sample]:
    assert count <= len(samples)
    by_label: dict[str, list[Sample]] = {}
    for sample in samples:
        by_label.setdefault(sample.label, []).append(sample)
    for label, group in by_label.items():
        Random(f"draw/{seed}/{group[0].subset}/{label}").shuffle(group)
    drawn: list[Sample] = []
    rank = 0
    labels = sorted(by_label)
    while len(drawn) < count:
        drawn += [by_label[label][rank] for label in labels if rank < len(by_label[label])][: count - len(drawn)]
        rank += 1
    return drawn


def ask(source: DataSource, sample: Sample) -> Question:
    """Make the single-choice question of a sample; it depends on the source's seed and the sample alone.

    Up to four options: the right one and others of the subset's labels, in an order of the sample's own; one of the
    subset's instructions (Med-MAT, section 3.2). A sample that knows its letter has the right option there. The
    source's own question is asked as it is, as long as its answer is the sample's label.
    """
    if sample.question is not None and sample.question.options[sample.question.answer] == sample.label:
        return sample.question
    random = Random(f"question/{source.seed}/{sample.id}")
    wrong = [label for label in source.read_labels(sample.subset) if label != sample.label]
    options = [sample.label, *random.sample(wrong, min(len(wrong), MAX_OPTIONS - 1))]
    random.shuffle(options)
    if sample.letter is not None:
        place, wanted = options.index(sample.label), sample.letter % len(options)
        options[place], options[wanted] = options[wanted], options[place]
    text = random.choice(source.read_instructions(sample.subset))
    return Question(text=text, options=tuple(options), answer=options.index(sample.label))


def ask_boxes(source: DataSource, sample: Sample) -> BoxQuestion:
    """Ask where a sample's label is to be found, in one of the subset's instructions."""
    random = Random(f"question/{source.seed}/{sample.id}")
    text = random.choice(source.read_instructions(sample.subset)).replace("{label}", sample.label)
    return BoxQuestion(text=text, boxes=sample.boxes)


def ask_elements(
    source: DataSource, sample: Sample, right: str, candidates: tuple[str, ...], *, most: int | None
) -> Question:
    """Ask which combination of elements an image shows.

    Parameters
    ----------
    source, sample
        Decide the order of the options.
    right, candidates
        The combination that it shows, and all that are offered.
    most
        Options at most, the others drawn at random; None offers every candidate.

    """
    random = Random(f"elements/{source.seed}/{sample.id}")
    wrong = [candidate for candidate in candidates if candidate != right]
    options = [right, *(wrong if most is None else random.sample(wrong, min(len(wrong), most - 1)))]
    random.shuffle(options)
    return Question(text="What does the image show?", options=tuple(options), answer=options.index(right))
