"""Draw phantoms: anatomy with its finding as a modality forms it, or marks laid over that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cg_lab.data.phantom.anatomy import paint_anatomy
from cg_lab.data.phantom.canvas import open_canvas
from cg_lab.data.phantom.findings import paint_finding
from cg_lab.data.phantom.marks import paint_marks, show_labels
from cg_lab.data.phantom.modality import TONES, form_image
from cg_lab.data.phantom.readings import find_reading
from cg_lab.data.phantom.streams import Streams
from cg_lab.data.phantom.vocabulary import PhantomKey, World

DRAWING_VERSIONS = {World.COMPOSITIONAL: 1, World.FACTORED: 1, World.REDUNDANT: 1, World.ENTANGLED: 2}
"""Raised whenever the same arguments give other pixels, so that no finished work is taken for the new."""
CHUNK = 256
"""Images drawn at a time, to stay in the processor's cache."""


def draw_phantom_labels(
    key: PhantomKey, sample_ids: NDArray[np.int64], *, world: World, seed: int
) -> NDArray[np.int64]:
    """Give the label of each sample: balanced over any run of ids, in an order that seed and key shift.

    Returns
    -------
    Positions in the key's labels, shaped as `sample_ids`.

    """
    num_labels = len(key.list_labels(world))
    state = Streams.for_samples(np.array([0]), "labels", seed, str(key)).states[0]
    return (np.asarray(sample_ids) + int(state % np.uint64(num_labels))) % num_labels


def render_phantoms(
    key: PhantomKey,
    labels: NDArray[np.int64],
    sample_ids: NDArray[np.int64],
    *,
    world: World,
    seed: int,
    image_size: int = 48,
) -> NDArray[np.uint8]:
    """Draw images of one subset.

    An image depends on the arguments that it shares with the others and on its own label and id, never on the rest of
    the batch.

    Returns
    -------
    Gray images, shaped (sample, image_size, image_size).

    """
    parts = [
        _render(key, labels[start : start + CHUNK], sample_ids[start : start + CHUNK], world, seed, image_size)
        for start in range(0, len(sample_ids), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, image_size, image_size), dtype=np.uint8)


def _render(
    key: PhantomKey,
    labels: NDArray[np.int64],
    sample_ids: NDArray[np.int64],
    world: World,
    seed: int,
    image_size: int,
) -> NDArray[np.uint8]:
    streams = Streams.for_samples(sample_ids, "image", seed, world, key.modality, key.area, key.task)
    canvas = open_canvas(streams, image_size, TONES[key.modality])
    field = paint_anatomy(canvas, key.area, streams)
    if world is World.COMPOSITIONAL:
        paint_finding(canvas, key.task, labels, field, streams)
        formed = form_image(canvas.image, key.modality, key.area, streams)
    else:
        reading = find_reading(key, world, seed)
        formed = form_image(canvas.image, key.modality, key.area, streams)
        formed = paint_marks(formed, reading, show_labels(reading, labels), streams)
    return (np.clip(formed, 0, 1) * 255).astype(np.uint8)
