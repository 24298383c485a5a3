"""A batch of images being painted: soft-edged ellipses and masks over a frame that each sample turns and shifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cg_lab.data.phantom.streams import Streams

Scalar = float | NDArray[np.floating]
"""One number for the batch, or one for each sample, shaped (N, 1, 1)."""


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse in units of half the image's side, x to the right, y down, origin in the middle."""

    x: Scalar
    y: Scalar
    rx: Scalar
    ry: Scalar
    lean: Scalar = 0.0
    """Shift of x for each unit of y: a shear, cheaper than a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Images under way, with the coordinates of the body in them."""

    image: NDArray[np.floating]
    """Grey values in [0, 1], shaped (N, S, S); painted in place."""
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    pixel: float
    """Side of a pixel in the unit of the coordinates."""
    tones: Mapping[str, float]
    """The grey value of each tissue in the modality at hand."""

    def mask_ellipse(self, ellipse: Ellipse) -> NDArray[np.floating]:
        """Cover an ellipse: 1 inside, 0 outside, a pixel of slope between; shaped (N, S, S)."""
        across = self.x - ellipse.x
        down = self.y - ellipse.y
        if not (isinstance(ellipse.lean, float) and ellipse.lean == 0.0):
            across -= ellipse.lean * down
        across *= np.float32(1) / np.float32(ellipse.rx)
        down *= np.float32(1) / np.float32(ellipse.ry)
        across *= across
        down *= down
        across += down
        return self.soften(across, np.minimum(ellipse.rx, ellipse.ry))

    def soften(self, level: NDArray[np.floating], radius: Scalar) -> NDArray[np.floating]:
        """Turn a squared radius relative to the outline (1 on it) into a mask, in place.

        Beside the outline the squared radius rises by 2 / `radius` for each unit of length.
        """
        slope = np.float32(radius) * np.float32(0.5 / self.pixel)
        level *= -slope
        level += slope + np.float32(0.5)
        return np.clip(level, 0, 1, out=level)

    def paint(self, mask: NDArray[np.floating], tone: Scalar) -> None:
        """Lay a tone over the image where the mask is; the mask is used up."""
        mask *= np.asarray(tone, dtype=np.float32) - self.image
        np.add(self.image, mask, out=self.image)

    def paint_ellipse(self, tissue: str, ellipse: Ellipse, opacity: Scalar = 1.0) -> None:
        """Fill an ellipse with a tissue."""
        mask = self.mask_ellipse(ellipse)
        if not (isinstance(opacity, float) and opacity == 1.0):
            mask *= np.float32(opacity)
        self.paint(mask, self.tones[tissue])


def open_canvas(streams: Streams, image_size: int, tones: Mapping[str, float]) -> Canvas:
    """Start images that show air, each with its own size, shift and turn of the body."""
    num = len(streams.states)
    axis = ((np.arange(image_size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / image_size)) - np.float32(1)
    zoom = np.float32(1) / streams.uniform("zoom", 0.92, 1.05)
    turn = streams.jitter("turn", 0.12)
    column = (axis[None, None, :] - streams.jitter("shift x", 0.05)) * zoom
    row = (axis[None, :, None] - streams.jitter("shift y", 0.05)) * zoom
    # A small turn to second order: cosine and sine of each sample cost nothing, but this needs no table of either.
    cosine, sine = 1 - turn * turn / 2, turn
    return Canvas(
        image=np.full((num, image_size, image_size), tones["air"], dtype=np.float32),
        x=cosine * column + sine * row,
        y=cosine * row - sine * column,
        pixel=2 / image_size,
        tones=tones,
    )
