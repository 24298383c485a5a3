"""How each world of marks is read: where a subset's marks lie, which of them counts, and what tells their values.

An image of a subset has two marks, each at a place of its own. One shows the sample's label, the other the other label
of the task; which one counts, the place says, and by what feature a mark shows a label, the look. So a reader needs
both: one that does not know which place counts sees either label once, and one that does not know the look sees marks
that tell nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from cg_lab.data.phantom.streams import shuffle_range
from cg_lab.data.phantom.vocabulary import AREAS, MODALITIES, TASKS, PhantomKey, World

MarkedWorld = Literal[World.FACTORED, World.REDUNDANT, World.ENTANGLED]
NUM_SETS = 4
"""Pairs of places, and looks."""
assert len(MODALITIES) == len(AREAS) == len(TASKS) == NUM_SETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What has to be known to answer about a subset."""

    places: int
    """Which pair of places has the marks."""
    counting: int
    """Position, in that pair, of the place whose mark shows the sample's label."""
    look: int
    """The feature by which marks show labels."""

    @property
    def place(self) -> tuple[int, int]:
        """The place that counts."""
        return self.places, self.counting


def find_reading(key: PhantomKey, world: MarkedWorld, seed: int) -> Reading:
    """Say how a subset is read.

    factored: the area decides the place, the modality the look. redundant: every subset has the same of both.
    entangled: each element that differs gives another look, so that of two subsets that share all but one element
    neither look is the other's, and which place counts changes with all three elements as well.

    Examples
    --------
    >>> keys = [
    ...     PhantomKey(modality=m, area=a, task="Side") for m, a in (("CT", "Lung"), ("CT", "Brain"), ("US", "Brain"))
    ... ]
    >>> first, second, third = (find_reading(key, World.FACTORED, 0) for key in keys)
    >>> (first.look == second.look, second.place == third.place, first.place == third.place)
    (True, True, False)
    """
    modality, area, task = MODALITIES.index(key.modality), AREAS.index(key.area), TASKS.index(key.task)
    sets, looks = shuffle_range(NUM_SETS, "places", seed), shuffle_range(NUM_SETS, "looks", seed)
    match world:
        case World.FACTORED:
            return Reading(places=int(sets[area]), counting=0, look=int(looks[modality]))
        case World.REDUNDANT:
            return Reading(places=int(sets[0]), counting=0, look=int(looks[0]))
        case World.ENTANGLED:
            counting = (modality + area + task) % 2
            return Reading(places=int(sets[area]), counting=counting, look=int(looks[modality ^ area ^ task]))
        case _:
            assert_never(world)
