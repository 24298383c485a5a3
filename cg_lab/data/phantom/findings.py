"""Tasks give findings: the same process in every modality and area of the compositional world."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cg_lab.data.phantom.anatomy import Field
from cg_lab.data.phantom.canvas import Canvas, Ellipse
from cg_lab.data.phantom.streams import Streams
from cg_lab.data.phantom.vocabulary import PHANTOM_LABELS

SPOTS = {"none": (0, 0), "mild": (2, 3), "moderate": (5, 6), "severe": (10, 12)}
"""Fewest and most spots of each level of disease."""
_MOST_SPOTS = max(most for _, most in SPOTS.values())


def paint_finding(canvas: Canvas, task: str, labels: NDArray[np.int64], field: Field, streams: Streams) -> None:
    """Paint the finding that each sample's label asks for."""
    {"Mass": _paint_mass, "Bleed": _paint_bleed, "Level": _paint_level, "Side": _paint_side}[task](
        canvas, labels, field, streams
    )


def _column(values: NDArray[np.bool_] | NDArray[np.floating]) -> NDArray[np.floating]:
    return values.astype(np.float32)[:, None, None]


def _draw_side(streams: Streams) -> NDArray[np.floating]:
    return np.where(streams.uniform("side", 0, 1) < 0.5, np.float32(-1), np.float32(1))


def _draw_place(streams: Streams, field: Field, index: int = 0) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Draw a place in the ellipse of a field, relative to its centre."""
    radius = np.sqrt(streams.uniform("place radius", 0, 1, index))
    turn = streams.jitter("place turn", np.pi, index)
    return field.rx * radius * np.cos(turn), field.y + field.ry * radius * np.sin(turn)


def _paint_mass(canvas: Canvas, labels: NDArray[np.int64], field: Field, streams: Streams) -> None:
    """Paint nothing (normal), one smooth oval (benign), or one core with six to ten spikes (malignant)."""
    names = PHANTOM_LABELS["Mass"]
    dx, y = _draw_place(streams, field)
    across, down = canvas.x - (_draw_side(streams) * field.x + dx), canvas.y - y
    distance = np.sqrt(across * across + down * down)
    turn = np.arctan2(down, across)
    radius = streams.uniform("radius", 0.15, 0.22)
    oval = 1 + streams.uniform("oval", 0, 0.18) * np.cos(2 * turn + streams.jitter("oval turn", np.pi))
    spikes = np.abs(np.cos(turn * np.floor(streams.uniform("spikes", 3, 5)) + streams.jitter("spike turn", np.pi)))
    malignant = _column(labels == names.index("malignant"))
    outline = radius * (oval * (1 - malignant) + malignant * (0.45 + 1.45 * spikes**3))
    mask = np.clip((outline - distance) / canvas.pixel + 0.5, 0, 1)
    mask *= _column(labels != names.index("normal"))
    canvas.paint(mask, canvas.tones["lesion"])


def _paint_bleed(canvas: Canvas, labels: NDArray[np.int64], field: Field, streams: Streams) -> None:
    """Paint nothing (absent) or one crescent of blood (present)."""
    side = _draw_side(streams)
    dx, y = _draw_place(streams, field)
    x = side * field.x + dx * 0.5
    size = streams.uniform("size", 0.24, 0.32)
    lean = streams.jitter("lean", 0.35)
    outer = canvas.mask_ellipse(Ellipse(x, y, size * 0.8, size, lean=lean))
    inner = canvas.mask_ellipse(Ellipse(x - side * size * 0.5, y, size * 0.8, size * 0.95, lean=lean))
    outer *= 1 - inner
    outer *= _column(labels == PHANTOM_LABELS["Bleed"].index("present"))
    canvas.paint(outer, canvas.tones["blood"])


def _paint_level(canvas: Canvas, labels: NDArray[np.int64], field: Field, streams: Streams) -> None:
    """Paint small spots on both sides, from none to many."""
    bounds = np.array([SPOTS[name] for name in PHANTOM_LABELS["Level"]], dtype=np.float32)[labels]
    share = streams.uniform("spots", 0, 1)[:, 0, 0]
    wanted = np.floor(bounds[:, 0] + (bounds[:, 1] - bounds[:, 0] + 1) * share * np.float32(0.9999))
    first_side = _draw_side(streams)
    wide = Field(x=field.x, y=field.y, rx=field.rx + 0.08, ry=field.ry + 0.1)
    mask = np.zeros_like(canvas.image)
    for index in range(_MOST_SPOTS):
        rows = np.flatnonzero(wanted > index)
        if not len(rows):
            break
        some = Streams(streams.states[rows])
        # Spots of one side stand on a ring of six sectors, so that they do not run into each other.
        sector = (index // 2) * (np.pi / 3) + some.jitter("spot turn", 0.25, index) + some.jitter("ring turn", np.pi)
        reach = some.uniform("spot reach", 0.75, 1.0, index)
        side = first_side[rows] * np.float32(1 if index % 2 == 0 else -1)
        x = side * wide.x + wide.rx * reach * np.cos(sector)
        y = wide.y + wide.ry * reach * np.sin(sector)
        radius = some.uniform("spot radius", 0.055, 0.075, index)
        part = Canvas(
            image=canvas.image[rows], x=canvas.x[rows], y=canvas.y[rows], pixel=canvas.pixel, tones=canvas.tones
        )
        mask[rows] = np.maximum(mask[rows], part.mask_ellipse(Ellipse(x, y, radius, radius)))
    canvas.paint(mask, canvas.tones["lesion"])


def _paint_side(canvas: Canvas, labels: NDArray[np.int64], field: Field, streams: Streams) -> None:
    """Paint one round lesion left or right of the midline."""
    side = np.where(labels == PHANTOM_LABELS["Side"].index("left"), np.float32(-1), np.float32(1))[:, None, None]
    dx, y = _draw_place(streams, field)
    radius = streams.uniform("radius", 0.1, 0.19)
    canvas.paint_ellipse("lesion", Ellipse(side * field.x + dx, y, radius, radius))
