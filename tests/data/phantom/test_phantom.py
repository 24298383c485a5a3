"""Phantoms: reproducible, balanced, composing in one world and not in the other."""

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
from cg_lab.data.phantom.marks import NUM_SITES, draw_looks, find_looks, find_site
from cg_lab.data.phantom.streams import Streams
from cg_lab.errors import UserError

KEY = PhantomKey(modality="CT", area="Brain", task="Mass")
KEYS = [PhantomKey(modality=modality, area=area, task="Mass") for modality, area in product(MODALITIES, AREAS)]


def render(key: PhantomKey, count: int, world: World, start: int = 0, **options: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.arange(start, start + count)
    labels = draw_phantom_labels(key, ids, seed=0)
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
    for task, names in PHANTOM_LABELS.items():
        labels = draw_phantom_labels(PhantomKey(modality="US", area="Lung", task=task), np.arange(500, 620), seed=3)
        assert set(np.bincount(labels, minlength=len(names))) == {120 // len(names)}


def test_there_are_six_instructions_for_each_task() -> None:
    assert {len(set(wordings)) for wordings in QUESTIONS.values()} == {6}
    assert set(QUESTIONS) == set(PHANTOM_LABELS)


def test_an_unknown_element_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="modality 'Xray'; known:.*Did you mean 'X-ray'"):
        PhantomKey(modality="Xray", area="Lung", task="Mass")


def test_in_the_entangled_world_no_two_subsets_of_a_task_share_a_site() -> None:
    for task in PHANTOM_LABELS:
        sites = [find_site(PhantomKey(modality=m, area=a, task=task), seed=5) for m, a in product(MODALITIES, AREAS)]
        assert len(set(sites)) == NUM_SITES


def looks_of(key: PhantomKey, count: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.arange(count)
    labels = draw_phantom_labels(key, ids, seed=0)
    streams = Streams.for_samples(ids, "image", 0, World.ENTANGLED, key.modality, key.area, key.task)
    return draw_looks(key, labels, streams, 0), labels


def test_in_the_entangled_world_the_look_at_its_site_decides_the_label() -> None:
    looks, labels = looks_of(KEY, 300)
    own = find_looks(KEY, 0)
    assert len(set(own)) == len(own)
    assert np.array_equal(looks[:, find_site(KEY, 0)], own[labels])


@pytest.mark.parametrize("target", KEYS[:6], ids=lambda key: f"{key.modality}-{key.area}")
def test_in_the_entangled_world_a_perfect_reader_of_another_subset_guesses(target: PhantomKey) -> None:
    """Read another subset's site with that subset's own rule: right as often as a guess, for every single target."""
    looks, labels = looks_of(target, 6000)
    for source in KEYS:
        if source == target:
            continue
        rule = {look: label for label, look in enumerate(find_looks(source, 0))}
        seen = looks[:, find_site(source, 0)]
        read = np.array([rule.get(look, -1) for look in seen])
        told = read >= 0
        assert (read[told] == labels[told]).mean() == pytest.approx(1 / 3, abs=0.04)


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


def test_pixels_transfer_in_the_compositional_world_and_not_in_the_entangled() -> None:
    side = {
        pair: PhantomKey(modality=pair[0], area=pair[1], task="Side")
        for pair in (("CT", "Brain"), ("CT", "Lung"), ("MRI", "Brain"))
    }
    target, sources = side["CT", "Brain"], [side["CT", "Lung"], side["MRI", "Brain"]]
    assert nearest_centroid(sources, target, World.COMPOSITIONAL) > 0.8
    assert nearest_centroid(sources, target, World.ENTANGLED) == pytest.approx(0.5, abs=0.07)
    assert nearest_centroid([target], target, World.ENTANGLED) > 0.62
