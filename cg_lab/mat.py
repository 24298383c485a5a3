"""The vocabulary: factors, elements and subsets (Med-MAT, arXiv 2412.20070, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

DEFAULT_FACTORS = ("modality", "area", "task")
"""The factors of a MAT-Triplet; a catalogue may have others and more."""
MAX_OPTIONS = 4
"""Options of a question, right one included (Med-MAT, section 3.2)."""

Elements = tuple[tuple[str, ...], ...]
"""For each factor the values that a subset counts as, its own first: `(("CT",), ("Lung",), ("covid", "state"))`."""


class Kind(StrEnum):
    """What is asked about the images of a subset."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    FILLER = "filler"
    """Non-medical questions that may be mixed into every arm; never a target or a source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """All samples of one combination of elements: what one may train or test on."""

    name: str
    elements: Elements
    """In the order of the catalogue's factors; a factor may have several values (COVID is a State)."""
    labels: tuple[str, ...] = ()
    """Every label that occurs, in sorted order; empty where the catalogue does not know them."""
    num_options: int
    """Options of a question, at most four; 0 where answers are boxes."""
    num_train: int
    num_test: int
    kind: Kind = Kind.CLASSIFICATION
    split: Literal["in_distribution", "out_of_distribution"] | None = None
    """Which side of Med-MAT's multi-task study the subset is on; None where the catalogue does not say."""
    title: str = ""
    """What the subset is about, in words."""
    datasets: tuple[str, ...] = ()
    """Original data sets that were merged into it."""
    has_groups: bool = False
    """Whether samples carry a patient or slide; then no group stands in training and test both."""

    @property
    def own(self) -> tuple[str, ...]:
        """The subset's own value of each factor, tags left out; empty texts for a filler."""
        return tuple(values[0] if values else "" for values in self.elements)

    @property
    def triplet(self) -> str:
        """The own values in one word.

        >>> lung = Subset(
        ...     name="a", elements=(("CT",), ("Lung",), ("covid", "state")), num_options=2, num_train=9, num_test=9
        ... )
        >>> lung.triplet
        'CT:Lung:covid'
        """
        return ":".join(self.own)

    @property
    def words(self) -> str:
        """The own values as a person would say them.

        >>> Subset(name="a", elements=(("CT",), ("Lung",)), num_options=2, num_train=9, num_test=9).words
        'CT Lung'
        """
        return " ".join(self.own)

    @property
    def chance(self) -> float:
        """Accuracy of a guess among equally likely options; 0 where answers are boxes."""
        return 1.0 / self.num_options if self.num_options else 0.0


def count_options(labels: tuple[str, ...]) -> int:
    """Count the options of a question about a subset with these labels."""
    return min(len(labels), MAX_OPTIONS)
