"""Sample plain geometric scenes with the facts that hold in them: what the embedded model is first trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from cg_lab.models.tiny_llava.rendering import OUTLINES, SHAPES, SIDE, TEXTURES, Backdrop, Layer, render_pictures
from cg_lab.models.tiny_llava.topics import Fact

Colour = tuple[float, ...]
_PALETTE: dict[str, Colour] = {
    "red": (0.85, 0.15, 0.12),
    "green": (0.15, 0.65, 0.2),
    "blue": (0.15, 0.25, 0.85),
    "yellow": (0.9, 0.85, 0.15),
    "purple": (0.55, 0.15, 0.65),
    "orange": (0.95, 0.52, 0.1),
    "white": (0.97, 0.97, 0.97),
    "black": (0.03, 0.03, 0.03),
}
_RADII = {"tiny": (2.4, 3.2), "small": (5.0, 6.3), "medium": (9.0, 11.0), "large": (14.5, 17.5)}
_GRAY_SHARE = 0.7


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


@dataclass(slots=True, kw_only=True)
class _Palette:
    """The ground and object colours of one scene."""

    ground: Colour
    bright: bool
    contrast: float
    name: str


def _choose_colours(random: Random, *, gray: bool) -> _Palette:
    if gray:
        contrast = random.choice([random.uniform(0.13, 0.18), random.uniform(0.34, 0.42)])
        level = random.uniform(0.2, 0.8) if contrast < 0.25 else random.uniform(0.38, 0.62)
        return _Palette(ground=(level,), bright=random.random() < 0.5, contrast=contrast, name="")
    name = random.choice(list(_PALETTE))
    ground = random.choice([0.12, 0.3, 0.5, 0.7, 0.88])
    while name in {"white", "black"} and abs(_PALETTE[name][0] - ground) < 0.3:
        ground = random.choice([0.12, 0.3, 0.5, 0.7, 0.88])
    tint = [random.uniform(-0.08, 0.08) for _ in range(3)]
    return _Palette(ground=tuple(ground + part for part in tint), bright=True, contrast=0.4, name=name)


def _pick_colour(colours: _Palette) -> Colour:
    if colours.name:
        return _PALETTE[colours.name]
    return (colours.ground[0] + (colours.contrast if colours.bright else -colours.contrast),)


def _start(random: Random) -> tuple[Scene, _Palette]:
    gray = random.random() < _GRAY_SHARE
    colours = _choose_colours(random, gray=gray)
    return Scene(gray=gray, ground=colours.ground), colours


def _state_position(scene: Scene, thing: Thing) -> None:
    dx, dy = thing.x - SIDE / 2, thing.y - SIDE / 2
    if abs(dx) > 4:
        scene.state("side", "left" if dx < 0 else "right")
    if abs(dy) > 4:
        scene.state("height", "top" if dy < 0 else "bottom")
    if abs(dx) > 7 and abs(dy) > 7:
        scene.state("corner", f"{'upper' if dy < 0 else 'lower'} {'left' if dx < 0 else 'right'}")
    elif abs(dx) < 3 and abs(dy) < 3:
        scene.state("corner", "center")


def _vary_surface(scene: Scene, thing: Thing, random: Random) -> None:
    """Give a medium or large object a hole, a soft edge or a pattern, and note what can be seen."""
    kind = random.random()
    if kind < 0.3 and thing.shape in {"circle", "oval", "square"} and thing.outline != "spiky":
        thin = random.random() < 0.5
        thing.inner = random.uniform(0.76, 0.82) if thin else random.uniform(0.42, 0.52)
        scene.state("hollow", "hollow/open")
        scene.state("wall", "thin/narrow" if thin else "thick/wide")
        return
    if kind < 0.65:
        scene.state("hollow", "filled/solid")
        soft = random.random() < 0.5
        if thing.shape in {"circle", "oval", "square"} and thing.outline == "smooth":
            thing.edge = 7.0 if soft else 1.0
            scene.state("edge", "soft/blurred" if soft else "sharp/clear")
        return
    position = random.randrange(len(TEXTURES))
    thing.texture, thing.contrast = TEXTURES[position], 0.2
    scene.state("fill", ("plain/even", "striped/lines", "dotted/dots", "checkered/checks")[position])


def _compose_single(random: Random) -> Scene:
    """One object, asked about in every way."""
    scene, colours = _start(random)
    size = random.choice(list(_RADII))
    radius = random.uniform(*_RADII[size])
    room = SIDE / 2 - min(radius, 13) - 2
    thing = Thing(
        x=SIDE / 2 + random.uniform(-room, room),
        y=SIDE / 2 + random.uniform(-room, room),
        radius=radius,
        colour=_pick_colour(colours),
        shape=random.choice(SHAPES),
        angle=random.uniform(0, 2 * math.pi),
    )
    scene.things.append(thing)
    scene.state("size", {"small": "small/little", "large": "large/big"}.get(size, size))
    _state_position(scene, thing)
    if scene.gray:
        scene.state("tone", "bright/light" if colours.bright else "dark")
        scene.state("strength", "faint/weak" if colours.contrast < 0.25 else "clear/strong")
    else:
        scene.state("colour", colours.name)
    if size == "tiny":
        return scene
    if random.random() < 0.35:
        thing.shape, position = random.choice(["circle", "circle", "oval"]), random.randrange(3)
        thing.outline = OUTLINES[position]
        scene.state("outline", ("smooth/even", "wavy/curved", "spiky/jagged")[position])
        scene.state("outline", ("smooth/even", "wavy/curved", "spiky/jagged")[position])
    else:
        scene.state("shape", thing.shape)
        scene.state("shape", thing.shape)
    if thing.shape == "bar":
        lie = random.randrange(3)
        thing.angle = (0, math.pi / 2, random.choice([1, 3]) * math.pi / 4)[lie] + random.uniform(-0.15, 0.15)
        scene.state("lie", ("horizontal/flat", "vertical/upright", "diagonal/tilted")[lie])
    elif size != "small":
        _vary_surface(scene, thing, random)
    return scene


def _compose_maybe(random: Random) -> Scene:
    """One object or none."""
    scene, colours = _start(random)
    here = random.random() < 0.6
    if here:
        dx = random.choice([-1, 1]) * random.uniform(5, 15)
        thing = Thing(
            x=SIDE / 2 + dx,
            y=random.uniform(10, SIDE - 10),
            radius=random.uniform(4, 9),
            colour=_pick_colour(colours),
            shape=random.choice(SHAPES),
            angle=random.uniform(0, 2 * math.pi),
        )
        scene.things.append(thing)
        scene.state("shape_or_none", thing.shape)
        scene.state("side_or_none", "left" if dx < 0 else "right")
    else:
        scene.state("shape_or_none", "none/nothing/no shape")
        scene.state("side_or_none", "none/nowhere/neither")
    scene.state("any", "yes/present/shape/visible" if here else "no/absent/nothing/empty")
    return scene


def _compose_several(random: Random) -> Scene:
    """None to six equal objects on a loose grid."""
    scene, colours = _start(random)
    num, shape = random.randint(0, 6), random.choice(SHAPES)
    cells = random.sample([(column, row) for column in range(3) for row in range(3)], num)
    radius = random.uniform(3.6, 5.6)
    for column, row in cells:
        x, y = (9 + 15 * part + random.uniform(-1.5, 1.5) for part in (column, row))
        angle = random.uniform(0, 2 * math.pi)
        scene.things.append(Thing(x=x, y=y, radius=radius, colour=_pick_colour(colours), shape=shape, angle=angle))
    values = ("zero/none/0", "one/1/single", "two/2", "three/3", "four/4", "five/5", "six/6")
    for _ in range(3):
        scene.state("count", values[num])
    if num not in {3}:
        scene.state("amount", "none" if num == 0 else "few/some" if num < 3 else "many/several")
    lefts, rights = (sum(column == side for column, _ in cells) for side in (0, 2))
    if lefts != rights:
        scene.state("more", "left" if lefts > rights else "right")
    if num:
        scene.state("shape", shape)
    return scene


def _compose_pair(random: Random) -> Scene:
    """Two objects side by side or one above the other, that differ in some ways."""
    scene, colours = _start(random)
    wide = random.random() < 0.5
    alike = random.random() < 0.35
    first = random.choice(SHAPES)
    second = first if alike else random.choice([shape for shape in SHAPES if shape != first])
    radii = random.sample([random.uniform(4.5, 5.5), random.uniform(9, 11)], 2)
    if random.random() < 0.5:
        radii = [random.uniform(7, 9)] * 2
    places = ("left", "right") if wide else ("top", "bottom")
    for position, (shape, radius) in enumerate(zip((first, second), radii, strict=True)):
        along, across = 12 + 24 * position + random.uniform(-1.5, 1.5), SIDE / 2 + random.uniform(-8, 8)
        x, y = (along, across) if wide else (across, along)
        angle = random.uniform(0, 2 * math.pi)
        scene.things.append(Thing(x=x, y=y, radius=radius, colour=_pick_colour(colours), shape=shape, angle=angle))
        scene.state(
            "at", shape, places[position] if wide else random.choice([places[position], ("upper", "lower")[position]])
        )
    scene.state("same", "same/equal/alike" if alike else "different/unequal/unlike")
    if not alike:
        position = random.randrange(2)
        scene.state("place", places[position], (first, second)[position])
        if abs(radii[0] - radii[1]) > 2:
            larger = random.random() < 0.5
            scene.state("which", (first, second)[(radii[0] > radii[1]) != larger], "larger" if larger else "smaller")
        _set_apart(scene, random, (first, second))
    asked = random.choice([first, second]) if random.random() < 0.5 else random.choice(SHAPES)
    scene.state("has", "yes/present" if asked in {first, second} else "no/absent", asked)
    return scene


def _set_apart(scene: Scene, random: Random, shapes: tuple[str, str]) -> None:
    """Give the two objects of a pair different tones or colours, half of the time."""
    if random.random() < 0.5:
        return
    position = random.randrange(2)
    if scene.gray:
        level = random.uniform(0.42, 0.58)
        scene.ground = (level,)
        for place, thing in enumerate(scene.things):
            thing.colour = (level + (0.3 if place == position else -0.3),)
        bright = random.random() < 0.5
        scene.state("which", shapes[position if bright else 1 - position], "brighter" if bright else "darker")
        return
    scene.ground = (0.5, 0.5, 0.5)
    names = random.sample(list(_PALETTE), 2)
    for thing, name in zip(scene.things, names, strict=True):
        thing.colour = _PALETTE[name]
    scene.state("which", shapes[position], names[position])


def _compose_halves(random: Random) -> Scene:
    """Objects mirrored from left to right, at times with one that has no partner."""
    scene, colours = _start(random)
    for row in random.sample(range(3), random.randint(1, 3)):
        x, y = random.uniform(5, 19), 9 + 15 * row + random.uniform(-2, 2)
        shape, radius = random.choice(["circle", "square", "cross"]), random.uniform(3, 5.5)
        for place in (x, SIDE - x):
            scene.things.append(Thing(x=place, y=y, radius=radius, colour=_pick_colour(colours), shape=shape))
    if random.random() < 0.4:
        scene.state("halves", "symmetric/even/equal")
        scene.state("odd_side", "none/neither")
    else:
        gone = scene.things.pop(random.randrange(len(scene.things)))
        scene.state("halves", "uneven/unequal/different")
        scene.state("odd_side", "right" if gone.x < SIDE / 2 else "left")
    return scene


def _compose_field(random: Random) -> Scene:
    """No object: a pattern, a slope of light, or a grade of noise over the whole picture."""
    gray = random.random() < _GRAY_SHARE
    mood = random.randrange(3)
    level = (random.uniform(0.75, 0.85), random.uniform(0.46, 0.54), random.uniform(0.15, 0.25))[mood]
    scene = Scene(gray=gray, ground=(level,) if gray else tuple(level + random.uniform(-0.1, 0.1) for _ in range(3)))
    scene.state("mood", ("bright/light", "medium/middle", "dark")[mood])
    position = random.randrange(4)
    scene.texture, scene.contrast = TEXTURES[position], 0.13
    scene.state("ground", ("plain/even", "striped/lines", "dotted/dots", "checkered/checks")[position])
    if position:
        fine = random.random() < 0.5
        scene.period = random.uniform(4.5, 5.5) if fine else random.uniform(12, 15)
        scene.state("pitch", "fine/narrow" if fine else "coarse/wide")
        scene.angle = random.uniform(0, 2 * math.pi)
    if position == 1:
        lie = random.randrange(3)
        scene.angle = (math.pi / 2, 0, random.choice([1, 3]) * math.pi / 4)[lie] + random.uniform(-0.15, 0.15)
        scene.state("lie", ("horizontal/flat", "vertical/upright", "diagonal/tilted")[lie])
    if random.random() < 0.5:
        side = random.choice(("left", "right", "top", "bottom"))
        amount = 0.2 if side in {"right", "bottom"} else -0.2
        scene.slope = (amount, 0.0) if side in {"left", "right"} else (0.0, amount)
        scene.state("light", side)
    grade = random.randrange(3)
    scene.noise = (0.0, random.uniform(0.04, 0.05), random.uniform(0.12, 0.15))[grade]
    scene.state("noise", ("clean/clear", "grainy/slightly noisy", "noisy/very noisy")[grade])
    if position and scene.period > 10:
        soft = random.random() < 0.5
        scene.blurs = 5 if soft else 0
        scene.state("blur", "blurred/soft" if soft else "sharp/clear")
    return scene


_COMPOSERS: tuple[tuple[Callable[[Random], Scene], float], ...] = (
    (_compose_single, 0.42),
    (_compose_maybe, 0.13),
    (_compose_several, 0.15),
    (_compose_pair, 0.13),
    (_compose_halves, 0.07),
    (_compose_field, 0.10),
)


def _add_clutter(scene: Scene, random: Random, clutter: float) -> None:
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


def sample_scene(random: Random, clutter: float) -> Scene:
    """Sample one scene of a random kind.

    Parameters
    ----------
    random
        The only source of randomness.
    clutter
        0 gives clean pictures; up to 1 adds noise, mottle, slopes, patterns, bands and blur.
    """
    compose = random.choices([composer for composer, _ in _COMPOSERS], [weight for _, weight in _COMPOSERS])[0]
    scene = compose(random)
    if not any(fact.topic == "noise" for fact in scene.facts):
        _add_clutter(scene, random, clutter)
    return scene


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
