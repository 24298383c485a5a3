"""Phantoms: reproducible, balanced, and told apart by pixels as their worlds say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cg_lab.data.phantom import (
    AREAS,
    MODALITIES,
    PHANTOM_LABELS,
    QUESTIONS,
    PhantomKey,
    World,
    draw_phantom_labels,
    render_phantoms,
)
from cg_lab.errors import UserError

KEY = PhantomKey(modality="CT", area="Brain", task="Mass")


def render(key: PhantomKey, count: int, world: World, start: int = 0, **options: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.arange(start, start + count)
    labels = draw_phantom_labels(key, ids, world=world, seed=0)
    return render_phantoms(key, labels, ids, world=world, seed=0, **options), labels


@pytest.mark.parametrize("world", list(World))
def test_an_image_does_not_depend_on_its_batch(world: World) -> None:
    together, labels = render(KEY, 40, world)
    alone = render_phantoms(KEY, labels[[33, 7]], np.array([33, 7]), world=world, seed=0)
    assert np.array_equal(together[[33, 7]], alone)


def test_another_seed_and_another_sample_give_another_image() -> None:
    images, labels = render(KEY, 4, World.COMPOSITIONAL)
    other = render_phantoms(KEY, labels, np.arange(4), world=World.COMPOSITIONAL, seed=1)
    assert len({image.tobytes() for image in [*images, *other]}) == 8


@pytest.mark.parametrize("size", [48, 64, 128])
def test_every_subset_is_drawn_at_every_size(size: int) -> None:
    for modality, area, task in product(MODALITIES, AREAS, PHANTOM_LABELS):
        images, _ = render(PhantomKey(modality=modality, area=area, task=task), 2, World.COMPOSITIONAL, image_size=size)
        assert images.shape == (2, size, size)
        assert images.dtype == np.uint8
        assert images.std() > 15


def test_labels_are_balanced_over_any_run_of_ids() -> None:
    for task, world in product(PHANTOM_LABELS, World):
        key = PhantomKey(modality="US", area="Lung", task=task)
        labels, num_labels = (
            draw_phantom_labels(key, np.arange(500, 620), world=world, seed=3),
            len(key.list_labels(world)),
        )
        assert set(np.bincount(labels, minlength=num_labels)) == {120 // num_labels}


def test_there_are_six_instructions_for_each_task() -> None:
    assert {len(set(wordings)) for wordings in QUESTIONS.values()} == {6}
    assert set(QUESTIONS) == set(PHANTOM_LABELS)


def test_an_unknown_element_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="modality 'Xray'; known:.*Did you mean 'X-ray'"):
        PhantomKey(modality="Xray", area="Lung", task="Mass")


def nearest_centroid(train: list[PhantomKey], test: PhantomKey, world: World, count: int = 600) -> float:
    """Classify by the nearest mean of images that a subset's own mean has been taken from."""

    def prepare(key: PhantomKey, start: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = render(key, count, world, start)
        flat = images.reshape(count, 24, 2, 24, 2).mean(axis=(2, 4)).reshape(count, -1)
        flat = flat - flat.mean(axis=0)
        return flat / flat.std(), labels

    parts = [prepare(key, 0) for key in train]
    pixels, labels = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    centroids = np.stack([pixels[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    asked, right = prepare(test, 100_000)
    return float(((asked @ centroids.T - 0.5 * (centroids**2).sum(axis=1)).argmax(axis=1) == right).mean())


def test_pixels_transfer_where_a_world_says_so() -> None:
    side = {
        pair: PhantomKey(modality=pair[0], area=pair[1], task="Side")
        for pair in (("CT", "Brain"), ("CT", "Lung"), ("MRI", "Brain"))
    }
    target, sources = side["CT", "Brain"], [side["CT", "Lung"], side["MRI", "Brain"]]
    assert nearest_centroid(sources, target, World.COMPOSITIONAL) > 0.8
    assert nearest_centroid(sources[:1], target, World.REDUNDANT) > 0.95
    for world in (World.FACTORED, World.REDUNDANT, World.ENTANGLED):
        assert nearest_centroid([target], target, world) > 0.95
