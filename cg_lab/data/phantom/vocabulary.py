"""The words of the phantoms: modalities, areas, tasks with their labels, instructions and the worlds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cg_lab.errors import list_faults, suggest

MODALITIES: tuple[str, ...] = ("CT", "MRI", "X-ray", "US")
AREAS: tuple[str, ...] = ("Lung", "Brain", "Kidney", "Breast")

PHANTOM_LABELS: dict[str, tuple[str, ...]] = {
    "Mass": ("normal", "benign", "malignant"),
    "Bleed": ("absent", "present"),
    "Level": ("none", "mild", "moderate", "severe"),
    "Side": ("left", "right"),
}
"""The labels of each task, in order; worlds of marks have the first and the last of them."""

TASKS: tuple[str, ...] = tuple(PHANTOM_LABELS)

QUESTIONS: dict[str, tuple[str, ...]] = {
    "Mass": (
        "What is the mass?",
        "How is the mass classified?",
        "Which mass does the image show?",
        "Name the state of the tissue.",
        "Is the {area} normal, benign or malignant?",
        "Classify the mass in this {area} image.",
    ),
    "Bleed": (
        "Is a bleed present?",
        "Is there a bleed in the image?",
        "Is blood seen outside the vessels?",
        "State if a bleed is seen.",
        "Does the {area} show a bleed?",
        "Is a bleed absent or present in the {area}?",
    ),
    "Level": (
        "What is the level of disease?",
        "How severe is the disease?",
        "Grade the extent of the spots.",
        "Which level of disease is seen?",
        "How severe is the {area} disease?",
        "Name the level of the {area} disease.",
    ),
    "Side": (
        "On which side is the lesion?",
        "Which side shows the lesion?",
        "Where is the lesion?",
        "Name the side of the lesion.",
        "Which side of the {area} image has the lesion?",
        "Is the {area} lesion left or right?",
    ),
}
"""Six instructions for each task; `{area}` stands for the area in lower case, to be filled with `str.format`."""


class World(StrEnum):
    """How what a label looks like depends on modality and area; `readings` says it for the worlds of marks."""

    COMPOSITIONAL = "compositional"
    """A label is the same finding everywhere, drawn into anatomy: the nearest to medicine."""
    FACTORED = "factored"
    """The area says which mark counts, the modality how marks are read: both sources are needed."""
    REDUNDANT = "redundant"
    """The same mark counts and is read alike everywhere: either source is enough."""
    ENTANGLED = "entangled"
    """Each combination is read in a way of its own: no source helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomKey:
    """One subset of the phantoms.

    Raises
    ------
    UserError
        With every element that is unknown, and the nearest known one.

    Examples
    --------
    >>> PhantomKey(modality="CT", area="Lungs", task="Mass")
    Traceback (most recent call last):
        ...
    cg_lab.errors.UserError: phantom has an unknown element:
      - area 'Lungs'; known: Brain, Breast, Kidney, Lung. Did you mean 'Lung'?
    """

    modality: str
    area: str
    task: str

    def __post_init__(self) -> None:
        elements = (
            ("modality", self.modality, MODALITIES),
            ("area", self.area, AREAS),
            ("task", self.task, TASKS),
        )
        faults = [f"{name} '{value}'; {suggest(value, known)}" for name, value, known in elements if value not in known]
        if faults:
            raise list_faults("phantom has an unknown element", faults)

    def list_labels(self, world: World) -> tuple[str, ...]:
        """List the labels that the task has in a world, numbered as in `render_phantoms`."""
        labels = PHANTOM_LABELS[self.task]
        return labels if world is World.COMPOSITIONAL else (labels[0], labels[-1])
