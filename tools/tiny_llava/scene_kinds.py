"""The kinds of scenes that the embedded model is first trained on: how each is composed, and how often it comes."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from tools.tiny_llava.palettes import COLOURS, Palette, choose_palette
from tools.tiny_llava.rendering import OUTLINES, SHAPES, SIDE, TEXTURES
from tools.tiny_llava.scenes import Scene, Thing, add_clutter

_RADII = {"tiny": (2.4, 3.2), "small": (5.0, 6.3), "medium": (9.0, 11.0), "large": (14.5, 17.5)}
_GRAY_SHARE = 0.7


def _start(random: Random) -> tuple[Scene, Palette]:
    gray = random.random() < _GRAY_SHARE
    colours = choose_palette(random, gray=gray)
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
        colour=colours.of_thing,
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
            colour=colours.of_thing,
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
        scene.things.append(Thing(x=x, y=y, radius=radius, colour=colours.of_thing, shape=shape, angle=angle))
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
        scene.things.append(Thing(x=x, y=y, radius=radius, colour=colours.of_thing, shape=shape, angle=angle))
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
    names = random.sample(list(COLOURS), 2)
    for thing, name in zip(scene.things, names, strict=True):
        thing.colour = COLOURS[name]
    scene.state("which", shapes[position], names[position])


def _compose_halves(random: Random) -> Scene:
    """Objects mirrored from left to right, at times with one that has no partner."""
    scene, colours = _start(random)
    for row in random.sample(range(3), random.randint(1, 3)):
        x, y = random.uniform(5, 19), 9 + 15 * row + random.uniform(-2, 2)
        shape, radius = random.choice(["circle", "square", "cross"]), random.uniform(3, 5.5)
        for place in (x, SIDE - x):
            scene.things.append(Thing(x=place, y=y, radius=radius, colour=colours.of_thing, shape=shape))
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
        add_clutter(scene, random, clutter)
    return scene
