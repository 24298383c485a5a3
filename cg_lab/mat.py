"""The vocabulary: elements, MAT-Triplets and subsets (Med-MAT, arXiv 2412.20070, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Element(StrEnum):
    """One of the three factors that describe a medical image set."""

    MODALITY = "modality"
    AREA = "area"
    TASK = "task"


class Kind(StrEnum):
    """What is asked about the images of a subset."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"


@dataclass(frozen=True, slots=True, order=True)
class Triplet:
    """Modality, Anatomical area and Task of a subset."""

    modality: str
    area: str
    task: str

    def value(self, element: Element) -> str:
        """Give the value of one element.

        >>> Triplet("CT", "Lung", "Cancer").value(Element.AREA)
        'Lung'
        """
        return {Element.MODALITY: self.modality, Element.AREA: self.area, Element.TASK: self.task}[element]

    def shared(self, other: Triplet) -> frozenset[Element]:
        """Tell which elements two triplets share.

        >>> sorted(Triplet("CT", "Lung", "Cancer").shared(Triplet("CT", "Brain", "Cancer")))
        [<Element.MODALITY: 'modality'>, <Element.TASK: 'task'>]
        """
        return frozenset(element for element in Element if self.value(element) == other.value(element))

    def __str__(self) -> str:
        return f"{self.modality}:{self.area}:{self.task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """All samples of one triplet: what one may train or test on."""

    name: str
    triplet: Triplet
    labels: tuple[str, ...]
    """Every label that occurs, in sorted order."""
    num_train: int
    num_test: int
    kind: Kind = Kind.CLASSIFICATION
    task_tags: tuple[str, ...] = ()
    """Further tasks that the subset counts as (COVID is a State)."""
    has_groups: bool = False
    """Whether samples carry a patient or slide; then no group stands in training and test both."""

    @property
    def chance(self) -> float:
        """Accuracy of a guess among equally likely options, of which a question shows at most four."""
        return 1.0 / min(len(self.labels), MAX_OPTIONS)


MAX_OPTIONS = 4
"""Options of a question, right one included (Med-MAT, section 3.2)."""
