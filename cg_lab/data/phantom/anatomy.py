"""Areas give geometry: each paints its organs and says where a finding can lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cg_lab.data.phantom.canvas import Canvas, Ellipse
from cg_lab.data.phantom.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where findings lie: two mirrored ellipses, left and right of the midline."""

    x: float
    """Distance of both centres from the midline."""
    y: float
    rx: float
    ry: float
    """Half axes of the ellipse in which a finding's centre lies."""


FIELDS = {
    "Lung": Field(x=0.43, y=-0.02, rx=0.12, ry=0.3),
    "Brain": Field(x=0.32, y=-0.02, rx=0.1, ry=0.36),
    "Kidney": Field(x=0.46, y=0.02, rx=0.08, ry=0.2),
    "Breast": Field(x=0.36, y=0.2, rx=0.14, ry=0.22),
}


def paint_anatomy(canvas: Canvas, area: str, streams: Streams) -> Field:
    """Paint one area's organs; each sample's sizes vary a little."""
    {"Lung": _paint_lung, "Brain": _paint_brain, "Kidney": _paint_kidney, "Breast": _paint_breast}[area](
        canvas, streams
    )
    return FIELDS[area]


def _paint_lung(canvas: Canvas, streams: Streams) -> None:
    canvas.paint_ellipse("fat", Ellipse(0.0, 0.0, 0.97, 0.82))
    canvas.paint_ellipse("soft", Ellipse(0.0, 0.0, 0.9, 0.75))
    for index, side in enumerate((-1.0, 1.0)):
        width = 0.34 + streams.jitter("lung width", 0.02, index)
        height = 0.56 + streams.jitter("lung height", 0.04, index)
        canvas.paint_ellipse("lung", Ellipse(side * 0.44, -0.02, width, height, lean=-side * 0.12))
    canvas.paint_ellipse("organ", Ellipse(0.08 + streams.jitter("heart", 0.03), 0.16, 0.2, 0.26))
    canvas.paint_ellipse("bone", Ellipse(0.0, 0.58, 0.12, 0.12))


def _paint_brain(canvas: Canvas, streams: Streams) -> None:
    wide = 0.74 + streams.jitter("head", 0.03)
    canvas.paint_ellipse("soft", Ellipse(0.0, 0.0, wide + 0.08, 0.95))
    canvas.paint_ellipse("bone", Ellipse(0.0, 0.0, wide + 0.02, 0.9))
    canvas.paint_ellipse("organ", Ellipse(0.0, 0.0, wide - 0.1, 0.78))
    canvas.paint_ellipse("fluid", Ellipse(0.0, -0.5, 0.02, 0.28))
    for index, side in enumerate((-1.0, 1.0)):
        size = 1 + streams.jitter("ventricle", 0.25, index)
        canvas.paint_ellipse("fluid", Ellipse(side * 0.1, -0.02, 0.06 * size, 0.2 * size, lean=side * 0.3))


def _paint_kidney(canvas: Canvas, streams: Streams) -> None:
    canvas.paint_ellipse("soft", Ellipse(0.0, 0.0, 0.98, 0.76))
    canvas.paint_ellipse("fat", Ellipse(0.0, 0.02, 0.88, 0.64))
    canvas.paint_ellipse("soft", Ellipse(0.0, 0.5, 0.44, 0.2))
    canvas.paint_ellipse("bone", Ellipse(0.0, 0.4, 0.15, 0.15))
    for index, side in enumerate((-1.0, 1.0)):
        width = 0.27 + streams.jitter("kidney width", 0.02, index)
        height = 0.42 + streams.jitter("kidney height", 0.03, index)
        canvas.paint_ellipse("organ", Ellipse(side * 0.46, 0.0, width, height, lean=side * 0.25))
        canvas.paint_ellipse("fluid", Ellipse(side * 0.27, 0.04, 0.06, 0.14, lean=side * 0.25))


def _paint_breast(canvas: Canvas, streams: Streams) -> None:
    dome = canvas.mask_ellipse(Ellipse(0.0, 0.62, 0.92 + streams.jitter("dome", 0.04), 1.3))
    dome *= np.clip((0.7 - canvas.y) / canvas.pixel + 0.5, 0, 1)
    canvas.paint(dome, canvas.tones["fat"])
    for index in range(5):
        canvas.paint_ellipse(
            "gland",
            Ellipse(
                streams.jitter("gland x", 0.4, index),
                0.12 + streams.jitter("gland y", 0.36, index),
                0.1 + streams.uniform("gland rx", 0.0, 0.1, index),
                0.16 + streams.uniform("gland ry", 0.0, 0.14, index),
            ),
            opacity=0.55,
        )
    wall = np.clip((canvas.y - 0.7) / canvas.pixel + 0.5, 0, 1)
    canvas.paint(wall, canvas.tones["soft"])
    canvas.paint_ellipse("soft", Ellipse(0.0, -0.7, 0.07, 0.07))
