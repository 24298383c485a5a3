"""Draw many small pictures of plain geometric shapes at once, with numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SIDE = 48
"""Height and width of every picture, in pixels."""
SHAPES = ("circle", "oval", "square", "triangle", "star", "cross", "bar")
OUTLINES = ("smooth", "wavy", "spiky")
TEXTURES = ("plain", "striped", "dotted", "checkered")
_BINS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One object in each picture of a batch; pictures without it have `radius` 0."""

    shape_B: Ints
    outline_B: Ints
    x_B: Floats
    y_B: Floats
    radius_B: Floats
    angle_B: Floats
    """Turn of the shape, in radians."""
    inner_B: Floats
    """Radius of the hole as a share of the outer radius; 0 is filled."""
    edge_B: Floats
    """Width of the transition at the border, in pixels."""
    colour_BC: Floats
    texture_B: Ints
    contrast_B: Floats
    """Amplitude of the fill's texture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backdrop:
    """What lies behind the objects, and how the finished picture is degraded."""

    colour_BC: Floats
    slope_x_B: Floats
    """Change of brightness from the centre to the right border."""
    slope_y_B: Floats
    texture_B: Ints
    period_B: Floats
    angle_B: Floats
    contrast_B: Floats
    mottle_B: Floats
    """Amplitude of slow random changes of brightness."""
    noise_B: Floats
    """Standard deviation of the pixel noise, of 1."""
    blurs_B: Ints
    """How often the picture is smoothed by a 3 x 3 kernel before noise comes on top."""


def _build_profiles() -> Floats:
    """Tabulate each shape's border: distance from the centre at 256 angles, for a shape of radius 1."""
    angle = np.linspace(-np.pi, np.pi, _BINS, endpoint=False)
    cos, sin = np.abs(np.cos(angle)) + 1e-6, np.abs(np.sin(angle)) + 1e-6

    def polygon(corners: int) -> NDArray[np.float64]:
        wedge = 2 * np.pi / corners
        return np.cos(wedge / 2) / np.cos(np.mod(angle, wedge) - wedge / 2)

    fifth = 2 * np.pi / 5
    profiles = {
        "circle": np.ones(_BINS),
        "oval": 1.0 / np.sqrt(cos**2 + (sin / 0.55) ** 2),
        "square": polygon(4),
        "triangle": 1.15 * polygon(3),
        "star": 1.15 - 0.75 * np.abs(np.mod(angle, fifth) / fifth - 0.5) * 2,
        "cross": np.maximum(np.minimum(1 / cos, 0.32 / sin), np.minimum(1 / sin, 0.32 / cos)),
        "bar": np.minimum(1.1 / cos, 0.27 / sin),
    }
    return np.stack([profiles[name] for name in SHAPES]).astype(np.float32)


_PROFILES = _build_profiles()
_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
_KNOTS = 7
_UPSAMPLE = np.maximum(0, 1 - np.abs(np.linspace(0, _KNOTS - 1, SIDE)[:, None] - np.arange(_KNOTS)[None, :])).astype(
    np.float32
)


def _column(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, None, None]


def _draw_borders(layer: Layer, rng: np.random.Generator) -> Floats:
    """Tabulate the border of each object with its waves or spikes; (B, 256), of radius 1."""
    border = _PROFILES[layer.shape_B]
    turn = np.linspace(0, 1, _BINS, endpoint=False, dtype=np.float32)[None, :]
    teeth = rng.integers(8, 14, len(border))[:, None]
    wave = 0.13 * np.cos(2 * np.pi * (teeth // 2 + 1) * turn)
    tooth = 1 - 2 * np.abs(np.mod(turn * teeth, 1) - 0.5) * 2
    spikes = 0.3 * tooth + 0.08 * rng.standard_normal(border.shape).astype(np.float32).cumsum(axis=1) / 16
    outline = layer.outline_B[:, None]
    return border * (1 + np.where(outline == 1, wave, 0) + np.where(outline == 2, spikes, 0))


def _draw_pattern(texture_B: Ints, period_B: Floats, angle_B: Floats) -> Floats:
    """Paint the textures, between -1 and 1; (B, height, width)."""
    cos, sin = _column(np.cos(angle_B)), _column(np.sin(angle_B))
    scale = _column(2 * np.pi / period_B)
    along, across = np.sin((_X * cos + _Y * sin) * scale), np.sin((_Y * cos - _X * sin) * scale)
    choice = _column(texture_B)
    stripes, squares = np.sign(along), np.sign(along * across)
    dots = np.where((along > 0.35) & (across > 0.35), np.float32(1.4), np.float32(-0.4))
    return np.select([choice == 1, choice == 2, choice == 3], [stripes, dots, squares], np.float32(0))


def _draw_layer(picture_BCHW: Floats, layer: Layer, rng: np.random.Generator) -> None:
    """Paint one object over each picture, in place."""
    rows = np.flatnonzero(layer.radius_B > 0)
    if not len(rows):
        return
    border = _draw_borders(layer, rng)[rows]
    dx, dy = _X - _column(layer.x_B[rows]), _Y - _column(layer.y_B[rows])
    distance = np.sqrt(dx * dx + dy * dy)
    turn = (np.arctan2(dy, dx) - _column(layer.angle_B[rows])) * np.float32(_BINS / (2 * np.pi))
    bins = (np.floor(turn).astype(np.int32) + _BINS // 2) % _BINS
    reach = np.take_along_axis(border, bins.reshape(len(rows), -1), axis=1).reshape(distance.shape)
    reach = reach * _column(layer.radius_B[rows])
    edge = _column(layer.edge_B[rows])
    cover = np.clip((reach - distance) / edge + 0.5, 0, 1)
    inner = _column(layer.inner_B[rows])
    cover *= 1 - np.where(inner > 0, np.clip((reach * inner - distance) / edge + 0.5, 0, 1), 0)
    colour = np.broadcast_to(layer.colour_BC[rows][:, :, None, None], (len(rows), picture_BCHW.shape[1], SIDE, SIDE))
    textured = np.flatnonzero(layer.texture_B[rows] > 0)
    if len(textured):
        own = rows[textured]
        period = np.full(len(own), 6, np.float32)
        pattern = _draw_pattern(layer.texture_B[own], period, layer.angle_B[own]) * _column(layer.contrast_B[own])
        colour = colour.copy()
        colour[textured] += pattern[:, None]
    picture_BCHW[rows] += cover[:, None] * (colour - picture_BCHW[rows])


def _blur(picture: Floats) -> Floats:
    padded = np.pad(picture, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = 0.25 * padded[:, :, :-2] + 0.5 * padded[:, :, 1:-1] + 0.25 * padded[:, :, 2:]
    return 0.25 * rows[..., :-2] + 0.5 * rows[..., 1:-1] + 0.25 * rows[..., 2:]


def _draw_backdrop(backdrop: Backdrop, rng: np.random.Generator) -> Floats:
    half = np.float32(SIDE / 2)
    level = _column(backdrop.slope_x_B) * (_X - half) / half + _column(backdrop.slope_y_B) * (_Y - half) / half
    knots = rng.standard_normal((len(level), _KNOTS, _KNOTS)).astype(np.float32)
    level = level + _column(backdrop.mottle_B) * (_UPSAMPLE @ knots @ _UPSAMPLE.T)
    textured = np.flatnonzero(backdrop.texture_B > 0)
    if len(textured):
        pattern = _draw_pattern(backdrop.texture_B[textured], backdrop.period_B[textured], backdrop.angle_B[textured])
        level[textured] += pattern * _column(backdrop.contrast_B[textured])
    return backdrop.colour_BC[:, :, None, None] + level[:, None]


def render_pictures(backdrop: Backdrop, layers: tuple[Layer, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the layers over the backdrop, first to last, then smooth and add noise.

    Parameters
    ----------
    backdrop
        Also says by the length of its colours whether the pictures are gray (1) or coloured (3).
    layers
        Later ones cover earlier ones.
    rng
        Drawn from for spikes, mottle and noise.

    Returns
    -------
    Pictures of shape (B, 48, 48, 3), gray ones with three equal channels.
    """
    picture = _draw_backdrop(backdrop, rng)
    for layer in layers:
        _draw_layer(picture, layer, rng)
    for times in range(1, int(backdrop.blurs_B.max(initial=0)) + 1):
        rows = np.flatnonzero(backdrop.blurs_B >= times)
        picture[rows] = _blur(picture[rows])
    noise = rng.standard_normal((len(picture), 1, SIDE, SIDE), dtype=np.float32)
    picture += noise * backdrop.noise_B[:, None, None, None]
    pixels = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels.transpose(0, 2, 3, 1), (len(pixels), SIDE, SIDE, 3)))
