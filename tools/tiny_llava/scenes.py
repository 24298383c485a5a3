"""What a scene is: the things in it, the facts that hold of it, what makes it harder to see, and its picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from tools.tiny_llava.rendering import OUTLINES, SHAPES, SIDE, TEXTURES, Backdrop, Layer, render_pictures
from tools.tiny_llava.topics import Fact

Colour = tuple[float, ...]


@dataclass(slots=True, kw_only=True)
class Thing:
    """One object of a scene while it is being composed."""

    x: float
    y: float
    radius: float
    colour: Colour
    shape: str = "circle"
    outline: str = "smooth"
    angle: float = 0.0
    inner: float = 0.0
    edge: float = 1.2
    texture: str = "plain"
    contrast: float = 0.0


@dataclass(slots=True, kw_only=True)
class Scene:
    """One picture to be: what it shows, how it is degraded, and what is true of it."""

    gray: bool
    ground: Colour
    things: list[Thing] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    slope: tuple[float, float] = (0.0, 0.0)
    texture: str = "plain"
    period: float = 8.0
    angle: float = 0.0
    contrast: float = 0.0
    mottle: float = 0.0
    noise: float = 0.0
    blurs: int = 0

    def state(self, topic: str, value: str, about: str = "") -> None:
        """Note a fact."""
        self.facts.append(Fact(topic=topic, value=value, about=about))


def add_clutter(scene: Scene, random: Random, clutter: float) -> None:
    """Make a scene with objects harder to see; `clutter` lies in [0, 1]."""
    weakest = (
        min((abs(thing.colour[0] - scene.ground[0]) for thing in scene.things), default=0.3) if scene.gray else 0.3
    )
    weakest = max(weakest, 0.13)
    scene.noise = random.random() * min(0.12, 0.45 * weakest) * clutter
    scene.mottle = random.random() * 0.25 * weakest * clutter
    if random.random() < 0.5 * clutter:
        turn, amount = random.uniform(0, 2 * math.pi), random.random() * min(0.5 * weakest, 0.15)
        scene.slope = (math.cos(turn) * amount, math.sin(turn) * amount)
    if random.random() < 0.2 * clutter:
        scene.texture, scene.period = random.choice(TEXTURES), random.uniform(5, 14)
        scene.contrast, scene.angle = 0.25 * weakest, random.uniform(0, 2 * math.pi)
    for _ in range(sum(random.random() < 0.4 * clutter for _ in range(2))):
        change = random.choice([-1, 1]) * random.uniform(0.15, 0.3) * weakest
        colour = tuple(part + change for part in scene.ground)
        turn, reach = random.uniform(0, 2 * math.pi), random.uniform(26, 36)
        x, y = SIDE / 2 + reach * math.cos(turn), SIDE / 2 + reach * math.sin(turn)
        band = Thing(x=x, y=y, radius=random.uniform(22, 30), colour=colour, shape="square", angle=random.uniform(0, 3))
        scene.things.insert(0, band)
    facts = {fact.topic for fact in scene.facts}
    if random.random() < 0.3 * clutter and not facts & {"edge", "outline", "fill"}:
        scene.blurs = random.randint(1, 2)


def _stack_layer(things: list[Thing | None], num_channels: int) -> Layer:
    absent = Thing(x=0, y=0, radius=0, colour=(0.0,) * num_channels)
    full = [thing or absent for thing in things]

    def stack(values: list[float]) -> NDArray[np.float32]:
        return np.array(values, dtype=np.float32)

    return Layer(
        shape_B=np.array([SHAPES.index(thing.shape) for thing in full]),
        outline_B=np.array([OUTLINES.index(thing.outline) for thing in full]),
        x_B=stack([thing.x for thing in full]),
        y_B=stack([thing.y for thing in full]),
        radius_B=stack([thing.radius for thing in full]),
        angle_B=stack([thing.angle for thing in full]),
        inner_B=stack([thing.inner for thing in full]),
        edge_B=stack([thing.edge for thing in full]),
        colour_BC=np.array([thing.colour for thing in full], dtype=np.float32),
        texture_B=np.array([TEXTURES.index(thing.texture) for thing in full]),
        contrast_B=stack([thing.contrast for thing in full]),
    )


def render_scenes(scenes: list[Scene], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw scenes; (len(scenes), 48, 48, 3)."""
    pictures = np.empty((len(scenes), SIDE, SIDE, 3), dtype=np.uint8)
    for gray in (True, False):
        rows = [row for row, scene in enumerate(scenes) if scene.gray == gray]
        if not rows:
            continue
        chosen = [scenes[row] for row in rows]
        depth = max(len(scene.things) for scene in chosen)
        layers = tuple(
            _stack_layer([s.things[level] if level < len(s.things) else None for s in chosen], 1 if gray else 3)
            for level in range(depth)
        )
        backdrop = Backdrop(
            colour_BC=np.array([scene.ground for scene in chosen], dtype=np.float32),
            slope_x_B=np.array([scene.slope[0] for scene in chosen], dtype=np.float32),
            slope_y_B=np.array([scene.slope[1] for scene in chosen], dtype=np.float32),
            texture_B=np.array([TEXTURES.index(scene.texture) for scene in chosen]),
            period_B=np.array([scene.period for scene in chosen], dtype=np.float32),
            angle_B=np.array([scene.angle for scene in chosen], dtype=np.float32),
            contrast_B=np.array([scene.contrast for scene in chosen], dtype=np.float32),
            mottle_B=np.array([scene.mottle for scene in chosen], dtype=np.float32),
            noise_B=np.array([scene.noise for scene in chosen], dtype=np.float32),
            blurs_B=np.array([scene.blurs for scene in chosen]),
        )
        pictures[rows] = render_pictures(backdrop, layers, rng)
    return pictures
