"""From a mixture or a protocol to questions with their images: what a job is trained on, or asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from cg_lab.data.samples import DataSource, Sample, Split, ask, ask_elements, deal_labels, draw_mixture
from cg_lab.errors import UserError
from cg_lab.mat import MAX_OPTIONS, Kind, Subset
from cg_lab.planning.work import Mixture, Protocol
from cg_lab.questions import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Samples with the question and the image of each."""

    samples: tuple[Sample, ...]
    questions: tuple[Question, ...]
    images: list[Image.Image]


def pose_training(source: DataSource, subsets: Mapping[str, Subset], mixture: Mixture) -> Exam:
    """Draw a mixture's samples and ask about them; shuffled labels change the questions, never the images.

    Raises
    ------
    UserError
        For subsets whose answers are boxes.

    """
    samples = draw_mixture(source, mixture)
    questions = tuple(_ask(source, subsets[sample.subset], sample, mixture) for sample in deal_labels(samples, mixture))
    return Exam(samples=samples, questions=questions, images=source.read_images(samples))


def pose_test(source: DataSource, subsets: Mapping[str, Subset], target: str, protocol: Protocol) -> Exam:
    """Ask about every test sample of a subset.

    Raises
    ------
    UserError
        For examples in the prompt, and for subsets whose answers are boxes.

    """
    if protocol.shots:
        raise UserError(f"example images in the prompt (shots={protocol.shots}) can be planned, not run yet")
    samples = source.read_samples(target, Split.TEST)
    questions = tuple(_ask(source, subsets[target], sample, protocol) for sample in samples)
    images = source.read_images(samples)
    if protocol.image == "blank":
        images = [Image.new("L", image.size, 127) for image in images]
    return Exam(samples=samples, questions=questions, images=images)


def _ask(source: DataSource, subset: Subset, sample: Sample, asked: Mixture | Protocol) -> Question:
    """Ask about a sample's finding, or about which combination of elements it shows."""
    if subset.kind is Kind.DETECTION:
        raise UserError(f"subset '{subset.name}' asks for boxes, which can be planned, not run yet")
    if asked.ask == "finding":
        return ask(source, sample)
    right = " ".join(subset.own[place] for place in asked.places)
    most = None if isinstance(asked, Protocol) else MAX_OPTIONS
    return ask_elements(source, sample, right, asked.candidates, most=most)
