"""Marks: discs at places of a grid, each of which shows a value by its look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cg_lab.data.phantom.readings import Reading
from cg_lab.data.phantom.streams import Streams

PLACES = (
    ((1, 0), (1, 3)),
    ((0, 2), (3, 2)),
    ((2, 3), (2, 0)),
    ((3, 1), (0, 1)),
)
"""Row and column in a grid of 4 x 4 of both places of each set: each set is the one before, turned by a quarter.

So who has learned which place counts in one set is led by nearness to neither place of the sets beside it, and to the
wrong one of the set across."""
LOOKS = ("upright", "level", "checkered", "central")
"""What is bright in a mark of the second label and dark in one of the first: its right half, its lower half, two of
its quarters, its core; the rest is the other way round.

No look has anything of another. A mark has a little of those that are not its own as well, drawn without regard to the
label, so that only a model that has learned the whole of a look reads it: parts of two looks can be alike."""
_PITCH = 0.49
_RADIUS = 0.21
_RIM = 0.05
_CONTRAST = 0.26
_STRAY = 0.7
"""Most that a mark has of a look that is not its own, as a share of its own."""
_SHIFT = 0.04
"""How far a mark may lie off its place."""
_NOISE = 0.02
_BACKGROUND = 0.5
"""Contrast that is left to the anatomy behind the marks."""


def show_labels(reading: Reading, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say which label the mark at each place shows: the sample's own where it counts, the other one elsewhere.

    Returns
    -------
    Positions in the labels of the task; (sample, place of the set).

    """
    places = np.arange(len(PLACES[reading.places]))
    return np.where(places == reading.counting, labels[:, None], 1 - labels[:, None])


def paint_marks(
    image: NDArray[np.floating], reading: Reading, values: NDArray[np.int64], streams: Streams
) -> NDArray[np.floating]:
    """Lay marks over formed images; in the frame of the image, so that they look alike in every modality and area.

    Parameters
    ----------
    image
        Grey values, shaped (N, S, S).
    reading
        Gives places and look.
    values
        Positions in the labels, shaped (N, place): the label that each mark shows.
    streams
        Of the samples.

    """
    size = image.shape[1]
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)
    image = np.float32(0.5) + np.float32(_BACKGROUND) * (np.clip(image, 0, 1).astype(np.float32) - np.float32(0.5))
    signs = values.astype(np.float32) * 2 - 1
    for number, (row, column) in enumerate(PLACES[reading.places]):
        x = axis[None, None, :] - np.float32((column - 1.5) * _PITCH) - streams.jitter("mark x", _SHIFT, number)
        y = axis[None, :, None] - np.float32((row - 1.5) * _PITCH) - streams.jitter("mark y", _SHIFT, number)
        reach = np.sqrt(x * x + y * y)
        tone = np.full_like(reach, 0.5)
        for look in range(len(LOOKS)):
            own = look == reading.look
            amount = signs[:, number, None, None] if own else streams.jitter(f"stray {look}", _STRAY, number)
            tone += np.float32(_CONTRAST) * amount * _draw_look(look, x, y, reach, size)
        image += _soften(np.float32(_RADIUS + _RIM) - reach, size) * (np.float32(0.5) - image)
        image += _soften(np.float32(_RADIUS) - reach, size) * (tone - image)
    return image + streams.noise_pair("mark noise", size)[0] * np.float32(_NOISE)


def _draw_look(
    look: int, x: NDArray[np.floating], y: NDArray[np.floating], reach: NDArray[np.floating], size: int
) -> NDArray[np.floating]:
    """Give the sign of each pixel of a mark under a look, with slopes of a pixel between."""
    across, down = 2 * _soften(x, size) - 1, 2 * _soften(y, size) - 1
    match LOOKS[look]:
        case "upright":
            return across
        case "level":
            return down
        case "checkered":
            return across * down
        case _:
            return 2 * _soften(np.float32(_RADIUS / np.sqrt(2)) - reach, size) - 1


def _soften(distance: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """Turn a signed distance from an outline into a mask: 1 inside, 0 outside, a pixel of slope between."""
    return np.clip(distance * np.float32(size / 2) + np.float32(0.5), 0, 1)
