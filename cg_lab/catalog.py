"""The catalogue: every subset that one may train or test on, and which data it describes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from cg_lab.errors import UserError, list_faults, suggest
from cg_lab.mat import Subset, Triplet


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomData:
    """Identity of embedded phantoms: all that decides which images and questions a sample id stands for."""

    source: Literal["phantom"] = "phantom"
    version: int
    """Of the drawing; raised whenever the same settings give other pixels."""
    world: Literal["compositional", "entangled"]
    seed: int
    image_size: int
    train_per_subset: int
    test_per_subset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestData:
    """Identity of images listed in a CSV: content, never place."""

    source: Literal["manifest"] = "manifest"
    content: str
    """SHA-256 over the rows in use and the bytes of their images."""
    seed: int
    """Decides split, questions and option order."""
    test_share: float
    max_train: int
    """Most training samples of a subset."""


DataRef = Annotated[PhantomData | ManifestData, Discriminator("source")]
"""Identity of a study's data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that was counted and left out while the catalogue was read."""

    subject: str
    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Subsets in order of name, with the identity of their data."""

    data: DataRef
    subsets: tuple[Subset, ...]
    notes: tuple[Note, ...] = ()

    def find(self, target: str) -> Subset:
        """Find a subset by its name or by its triplet written `Modality:Area:Task`.

        Raises
        ------
        UserError
            If there is none, with the nearest name; or if several subsets have the triplet.

        """
        found = [subset for subset in self.subsets if target in {subset.name, str(subset.triplet)}]
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


def build_catalog(data: DataRef, subsets: list[Subset], notes: tuple[Note, ...] = ()) -> Catalog:
    """Order and check subsets.

    Raises
    ------
    UserError
        Lists every fault: names used twice, empty elements, subsets with fewer than two labels.

    """
    faults = [f"subset '{name}' is listed {count} times" for name, count in _count_names(subsets).items() if count > 1]
    for subset in subsets:
        faults += _check_subset(subset)
    if not subsets:
        faults.append("it has no subset")
    if faults:
        raise list_faults("the catalogue can't be used", faults)
    return Catalog(data=data, subsets=tuple(sorted(subsets, key=lambda subset: subset.name)), notes=notes)


def _count_names(subsets: list[Subset]) -> Counter[str]:
    return Counter(subset.name for subset in subsets)


def _check_subset(subset: Subset) -> list[str]:
    faults: list[str] = []
    triplet: Triplet = subset.triplet
    for element, value in (("modality", triplet.modality), ("area", triplet.area), ("task", triplet.task)):
        if not value.strip():
            faults.append(f"subset '{subset.name}': empty {element}")
    if len(subset.labels) < 2:
        shown = f"only '{subset.labels[0]}'" if subset.labels else "none"
        faults.append(f"subset '{subset.name}': a question needs two labels or more, it has {shown}")
    return faults
