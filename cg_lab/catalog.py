"""The catalogue: every subset that one may train or test on, and which data it describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import DEFAULT_FACTORS, Kind, Subset
from cg_lab.serialize import content_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomData:
    """Identity of embedded phantoms: all that decides which images and questions a sample id stands for."""

    source: Literal["phantom"] = "phantom"
    version: int
    """Of the drawing; raised whenever the same settings give other pixels."""
    world: Literal["compositional", "factored", "redundant", "entangled"]
    seed: int
    image_size: int
    train_per_subset: int
    test_per_subset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageData:
    """Identity of labelled images: what they show and how they are split, never where or in which layout they lie."""

    source: Literal["images"] = "images"
    content: str
    """SHA-256 over every sample with its side, label and question."""
    seed: int
    """Decides what is drawn for each question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedData:
    """Identity of a catalogue without images: it can be planned, not run."""

    source: Literal["catalog"] = "catalog"
    content: str
    """SHA-256 over the subsets."""


def name_listing(factors: Sequence[str], subsets: Iterable[Subset]) -> ListedData:
    """Name a catalogue without images by its content, whatever the order of its lines."""
    listed = sorted(subsets, key=lambda subset: subset.name)
    return ListedData(content=content_id("listing", 1, [factors, listed]))


DataRef = Annotated[PhantomData | ImageData | ListedData, Discriminator("source")]
"""Identity of a study's data."""


UNGROUPED = "image without a group"
"""How a note begins that tells how a source's images were grouped; its count is that of those that were not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that a reader of the catalogue should know: what was left out, or found."""

    subject: str
    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Samples of one subset's training side that another subset's test side has too."""

    train: str
    test: str
    count: int
    what: str
    """Samples, image hashes or groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Subsets in order of name, with the identity of their data."""

    data: DataRef
    factors: tuple[str, ...] = DEFAULT_FACTORS
    subsets: tuple[Subset, ...]
    tied: tuple[tuple[str, str], ...] | None = None
    """Values of the first two factors that act as one element; None lets the planner find those only seen together."""
    overlaps: tuple[Overlap, ...] | None = ()
    """What stands in training and test both; None where samples are not known, so that nothing could be checked."""
    notes: tuple[Note, ...] = ()

    def find(self, target: str) -> Subset:
        """Find a subset by its name or by its elements written `Modality:Area:Task`.

        Raises
        ------
        UserError
            If there is none, with the nearest name; or if several subsets have the elements.

        """
        found = [subset for subset in self.subsets if target in {subset.name, subset.triplet}]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(subset.name for subset in found)
            raise UserError(f"targets: '{target}' stands for several subsets ({names}); give one of these names")
        raise UserError(f"targets: no subset '{target}' in the catalogue; {suggest(target, self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all subsets, in order."""
        return tuple(subset.name for subset in self.subsets)


def build_catalog(
    data: DataRef,
    subsets: list[Subset],
    *,
    factors: tuple[str, ...] = DEFAULT_FACTORS,
    tied: tuple[tuple[str, str], ...] | None = None,
    overlaps: tuple[Overlap, ...] | None = (),
    notes: tuple[Note, ...] = (),
) -> Catalog:
    """Order and check subsets.

    Raises
    ------
    UserError
        Lists every fault: names used twice, empty elements, subsets with fewer than two labels.

    """
    counts = Counter(subset.name for subset in subsets)
    faults = [f"subset '{name}' is listed {count} times" for name, count in counts.items() if count > 1]
    for subset in subsets:
        faults += _check_subset(subset, factors)
    if not subsets:
        faults.append("it has no subset")
    if faults:
        raise list_faults("the catalogue can't be used", faults)
    return Catalog(
        data=data,
        factors=factors,
        subsets=tuple(sorted(subsets, key=lambda subset: subset.name)),
        tied=tied,
        overlaps=overlaps,
        notes=notes,
    )


def _check_subset(subset: Subset, factors: tuple[str, ...]) -> list[str]:
    assert len(subset.elements) == len(factors)
    if subset.kind is Kind.FILLER:
        return []
    faults = [
        f"subset '{subset.name}': empty {factor}"
        for factor, values in zip(factors, subset.elements, strict=True)
        if not all(value.strip() for value in values) or not values
    ]
    if subset.num_options < 2 and subset.kind is Kind.CLASSIFICATION:
        shown = f"only '{subset.labels[0]}'" if subset.labels else "none"
        faults.append(f"subset '{subset.name}': a question needs two labels or more, it has {shown}")
    return faults
