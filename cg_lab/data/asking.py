"""From a mixture or a protocol to questions about samples: what a job is trained on, or asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from PIL import Image

from cg_lab.data.samples import DataSource, Sample, Split, ask, ask_boxes, ask_elements, deal_labels, draw_mixture
from cg_lab.errors import UserError
from cg_lab.mat import MAX_OPTIONS, Kind, Subset
from cg_lab.planning.work import Mixture, Protocol
from cg_lab.questions import AnyQuestion, Shots


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Samples with the question about each."""

    samples: tuple[Sample, ...]
    questions: tuple[AnyQuestion, ...]


def pose_training(source: DataSource, subsets: Mapping[str, Subset], mixture: Mixture) -> Exam:
    """Draw a mixture's samples and ask about them; shuffled labels change the questions, never the images."""
    samples = draw_mixture(source, mixture)
    questions = tuple(_ask(source, subsets[sample.subset], sample, mixture) for sample in deal_labels(samples, mixture))
    return Exam(samples=samples, questions=questions)


def pose_test(source: DataSource, subsets: Mapping[str, Subset], target: str, protocol: Protocol) -> Exam:
    """Ask about every test sample of a subset."""
    samples = source.read_samples(target, Split.TEST)
    questions = tuple(_ask(source, subsets[target], sample, protocol) for sample in samples)
    return Exam(samples=samples, questions=questions)


def pose_finding(source: DataSource, subset: Subset, samples: tuple[Sample, ...]) -> tuple[AnyQuestion, ...]:
    """Ask about the finding of each of a subset's samples."""
    return tuple(
        ask_boxes(source, sample) if subset.kind is Kind.DETECTION else ask(source, sample) for sample in samples
    )


def read_blanks(source: DataSource, samples: tuple[Sample, ...]) -> list[Image.Image]:
    """Give an even gray image of the size of each sample's; those of one size are one image."""
    sizes = [image.size for image in source.read_images(samples)]
    blanks = {size: Image.new("L", size, 127) for size in sizes}
    return [blanks[size] for size in sizes]


def pose_shots(source: DataSource, subsets: Mapping[str, Subset], target: str, protocol: Protocol) -> Shots | None:
    """Draw the examples that stand in the prompt: so many of each label from the target's training side, mixed.

    They depend on the source's seed and the target alone, so that the samples of few shots are among those of more.

    Raises
    ------
    UserError
        If a label has too few training samples.

    """
    if not protocol.shots:
        return None
    by_label: dict[str, list[Sample]] = {}
    for sample in source.read_samples(target, Split.TRAIN):
        by_label.setdefault(sample.label, []).append(sample)
    chosen: list[Sample] = []
    for label in source.read_labels(target):
        group = by_label.get(label, [])
        if len(group) < protocol.shots:
            raise UserError(
                f"design.shots: {protocol.shots} examples for each label; '{label}' of subset '{target}' has "
                f"{len(group)} training samples"
            )
        Random(f"shots/{source.seed}/{target}/{label}").shuffle(group)
        chosen += group[: protocol.shots]
    Random(f"shots/{source.seed}/{target}/order").shuffle(chosen)
    questions = tuple(_ask(source, subsets[target], sample, protocol) for sample in chosen)
    return Shots(questions=questions, images=tuple(source.read_images(tuple(chosen))))


def _ask(source: DataSource, subset: Subset, sample: Sample, asked: Mixture | Protocol) -> AnyQuestion:
    """Ask about a sample's finding, where it is, or about which combination of elements it shows."""
    if asked.ask == "finding":
        return pose_finding(source, subset, (sample,))[0]
    right = " ".join(subset.own[place] for place in asked.places)
    most = None if isinstance(asked, Protocol) else MAX_OPTIONS
    return ask_elements(source, sample, right, asked.candidates, most=most)
