"""Findings of the entangled world: how a label looks in one subset says nothing about how it looks in another.

Every image carries a mark at each of 16 sites, in one of four looks. Each (modality, area) has, for each task, a site
of its own, no two the same; and there each label has a look of its own, drawn independently for each (modality, area,
task). At all other sites the looks are drawn independently of the label and of each other. Hence within a subset the
look at its site decides the label, and whatever was learned about another subset of the task looks at another site,
where this subset's looks are independent of its labels: read exactly, on a
held-out subset it is right as often as a guess. (A model that reads places loosely can gain or lose a little on one
target by looks that two subsets share; over targets and worlds that averages out.)
A permutation of labels would not do: a model that reads the same sign would be always right or always wrong by luck.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from cg_lab.data.phantom.canvas import Canvas
from cg_lab.data.phantom.streams import Streams, shuffle_range
from cg_lab.data.phantom.vocabulary import AREAS, MODALITIES, PhantomKey

GRID = 4
NUM_SITES = GRID * GRID
LOOKS = ("plain", "bright", "dark", "ring")
_PITCH = 0.36
_RADIUS = 0.125


def find_site(key: PhantomKey, seed: int) -> int:
    """Give the site that decides the labels of a subset, in a world."""
    pairs = list(product(MODALITIES, AREAS))
    assert len(pairs) <= NUM_SITES
    return int(shuffle_range(NUM_SITES, "site", seed, key.task)[pairs.index((key.modality, key.area))])


def find_looks(key: PhantomKey, seed: int) -> NDArray[np.int64]:
    """Give the look of each label of a subset at its site, in a world."""
    order = shuffle_range(len(LOOKS), "look", seed, key.modality, key.area, key.task)
    return order[: len(key.labels)]


def draw_looks(key: PhantomKey, labels: NDArray[np.int64], streams: Streams, seed: int) -> NDArray[np.int64]:
    """Draw the look at every site; (sample, site), positions in `LOOKS`."""
    looks = np.stack([streams.integers("look", len(LOOKS), site) for site in range(NUM_SITES)], axis=1)
    looks[:, find_site(key, seed)] = find_looks(key, seed)[labels]
    return looks


def paint_marks(canvas: Canvas, looks: NDArray[np.int64], streams: Streams) -> None:
    """Paint a mark at every site, each on a gray ground, so that it is seen on every tissue.

    Every pixel looks at its nearest site alone, since marks do not reach into each other's cells.
    """
    middle = (GRID - 1) / 2
    column = np.clip(np.rint(canvas.x * (1 / _PITCH) + middle), 0, GRID - 1)
    row = np.clip(np.rint(canvas.y * (1 / _PITCH) + middle), 0, GRID - 1)
    site = (row * GRID + column).astype(np.intp).reshape(len(looks), -1)

    def at_site(values: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.take_along_axis(values, site, axis=1).reshape(canvas.image.shape)

    shift_x, shift_y = (
        np.concatenate([streams.jitter(name, 0.015, number)[:, :, 0] for number in range(NUM_SITES)], axis=1)
        for name in ("mark x", "mark y")
    )
    dx = canvas.x - (column - middle) * np.float32(_PITCH) - at_site(shift_x)
    dy = canvas.y - (row - middle) * np.float32(_PITCH) - at_site(shift_y)
    distance = np.sqrt(dx * dx + dy * dy)

    def disc(radius: float) -> NDArray[np.floating]:
        return np.clip((radius - distance) * np.float32(1 / canvas.pixel) + np.float32(0.5), 0, 1)

    canvas.paint(disc(1.4 * _RADIUS), 0.5)
    outer = disc(_RADIUS) * at_site((looks != LOOKS.index("plain")).astype(np.float32))
    outer -= outer * disc(0.5 * _RADIUS) * at_site((looks == LOOKS.index("ring")).astype(np.float32))
    canvas.paint(outer, at_site(np.where(looks == LOOKS.index("dark"), np.float32(0.02), np.float32(0.98))))
