"""Worlds of marks: what each of them says of sources and targets, by brute force over every square of combinations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pytest

from cg_lab.data.phantom import AREAS, MODALITIES, TASKS, PhantomKey, World, draw_phantom_labels
from cg_lab.data.phantom.marks import LOOKS, PLACES, paint_marks, show_labels
from cg_lab.data.phantom.readings import NUM_SETS, MarkedWorld, Reading, find_reading
from cg_lab.data.phantom.streams import Streams

MARKED: tuple[MarkedWorld, ...] = (World.FACTORED, World.REDUNDANT, World.ENTANGLED)
SEEDS = (0, 1, 7)


@dataclass(frozen=True)
class Square:
    """A target with the two sources that show its elements."""

    target: PhantomKey
    of_modality: PhantomKey
    of_area: PhantomKey


def list_squares(task: str) -> Iterator[Square]:
    for (modality, other), (area, elsewhere) in product(permutations(MODALITIES, 2), permutations(AREAS, 2)):
        yield Square(
            target=PhantomKey(modality=modality, area=area, task=task),
            of_modality=PhantomKey(modality=modality, area=elsewhere, task=task),
            of_area=PhantomKey(modality=other, area=area, task=task),
        )


def show(key: PhantomKey, world: MarkedWorld, seed: int, count: int = 60) -> tuple[Reading, np.ndarray, np.ndarray]:
    labels = draw_phantom_labels(key, np.arange(count), world=world, seed=seed)
    reading = find_reading(key, world, seed)
    return reading, show_labels(reading, labels), labels


def ask(square: Square, sources: list[PhantomKey], world: MarkedWorld, seed: int) -> float:
    """Let the best reader that knows the sources' rules, apart from each other, answer: expected accuracy.

    Marks in a look that it does not know are all the same to it, so that it guesses. In a look that it knows it reads
    the place that counts, if it has learned that of one at all; else it can't tell the places, and picks any.
    """
    reading, values, labels = show(square.target, world, seed)
    known = [find_reading(source, world, seed) for source in sources]
    if reading.look not in {part.look for part in known}:
        return 1 / values.shape[1]
    counting = [part.counting for part in known if part.places == reading.places]
    right = (values == labels[:, None]).mean(axis=0)
    return float(right[counting].max()) if counting else float(right.mean())


@pytest.mark.parametrize("world", MARKED)
def test_every_image_shows_both_labels_so_that_not_knowing_the_place_is_knowing_nothing(world: MarkedWorld) -> None:
    for modality, area, task in product(MODALITIES, AREAS, TASKS):
        reading, values, labels = show(PhantomKey(modality=modality, area=area, task=task), world, 3)
        assert np.array_equal(values.sum(axis=1), np.ones(len(values)))
        assert np.array_equal(values[:, reading.counting], labels)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", TASKS)
def test_factored_needs_both_sources_and_either_alone_guesses(task: str, seed: int) -> None:
    for square in list_squares(task):
        assert ask(square, [square.of_modality, square.of_area], World.FACTORED, seed) == 1
        assert ask(square, [square.of_modality], World.FACTORED, seed) == 0.5
        assert ask(square, [square.of_area], World.FACTORED, seed) == 0.5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", TASKS)
def test_redundant_needs_but_one_source(task: str, seed: int) -> None:
    for square in list_squares(task):
        assert ask(square, [square.of_modality], World.REDUNDANT, seed) == 1
        assert ask(square, [square.of_area], World.REDUNDANT, seed) == 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", TASKS)
def test_entangled_lets_a_composing_reader_guess(task: str, seed: int) -> None:
    for square in list_squares(task):
        assert ask(square, [square.of_modality, square.of_area], World.ENTANGLED, seed) == 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_entangled_gives_no_two_combinations_that_differ_in_one_element_the_same_look(seed: int) -> None:
    keys = [PhantomKey(modality=m, area=a, task=t) for m, a, t in product(MODALITIES, AREAS, TASKS)]
    for key, other in product(keys, keys):
        differing = (key.modality != other.modality) + (key.area != other.area) + (key.task != other.task)
        if differing == 1:
            assert find_reading(key, World.ENTANGLED, seed).look != find_reading(other, World.ENTANGLED, seed).look


def test_what_a_source_alone_teaches_lies_at_no_place_of_another_area() -> None:
    places = [place for row in PLACES for place in row]
    assert len(set(places)) == len(places) == 8


def test_every_place_and_look_is_met_in_the_factored_and_in_the_entangled_world() -> None:
    for world in (World.FACTORED, World.ENTANGLED):
        keys = [PhantomKey(modality=m, area=a, task="Bleed") for m, a in product(MODALITIES, AREAS)]
        met = {(find_reading(key, world, 0).places, find_reading(key, world, 0).look) for key in keys}
        assert met == set(product(range(NUM_SETS), range(len(LOOKS))))


@pytest.mark.parametrize(("drawn", "read"), list(permutations(range(len(LOOKS)), 2)))
def test_a_mark_in_one_look_has_nothing_of_another(drawn: int, read: int) -> None:
    """Compare drawn marks with the pattern of another look: nothing is seen there, whatever the value."""
    seen, own = project(drawn, read), project(drawn, drawn)
    assert own > 0.2
    assert abs(seen) < 0.01 * own


def project(drawn: int, read: int) -> float:
    """Give how much of the difference between two values of a mark another look's pattern takes up."""
    streams = Streams.for_samples(np.zeros(1, dtype=np.int64), "one")
    flat = np.full((1, 480, 480), 0.5, dtype=np.float32)
    low, high = np.array([[0, 1]]), np.array([[1, 0]])
    shown, pattern = (
        paint_marks(flat, Reading(places=0, counting=0, look=look), low, streams)
        - paint_marks(flat, Reading(places=0, counting=0, look=look), high, streams)
        for look in (drawn, read)
    )
    left = slice(0, 240)
    return float((shown * pattern)[0, :, left].mean() / np.abs(pattern[0, :, left]).mean())


@pytest.mark.parametrize("world", MARKED)
def test_another_seed_is_another_world(world: MarkedWorld) -> None:
    keys = [PhantomKey(modality=m, area=a, task="Side") for m, a in product(MODALITIES, AREAS)]
    readings = {tuple(find_reading(key, world, seed) for key in keys) for seed in range(6)}
    assert len(readings) > 3
