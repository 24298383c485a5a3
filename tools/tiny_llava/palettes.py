"""The colours of a scene's ground and things."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tools.tiny_llava.scenes import Colour

COLOURS: dict[str, Colour] = {
    "red": (0.85, 0.15, 0.12),
    "green": (0.15, 0.65, 0.2),
    "blue": (0.15, 0.25, 0.85),
    "yellow": (0.9, 0.85, 0.15),
    "purple": (0.55, 0.15, 0.65),
    "orange": (0.95, 0.52, 0.1),
    "white": (0.97, 0.97, 0.97),
    "black": (0.03, 0.03, 0.03),
}


@dataclass(slots=True, kw_only=True)
class Palette:
    """The ground and object colours of one scene."""

    ground: Colour
    bright: bool
    contrast: float
    name: str
    """Of the things' colour; empty for gray."""

    @property
    def of_thing(self) -> Colour:
        """Colour of a thing."""
        if self.name:
            return COLOURS[self.name]
        return (self.ground[0] + (self.contrast if self.bright else -self.contrast),)


def choose_palette(random: Random, *, gray: bool) -> Palette:
    """Choose the colours of a scene."""
    if gray:
        contrast = random.choice([random.uniform(0.13, 0.18), random.uniform(0.34, 0.42)])
        level = random.uniform(0.2, 0.8) if contrast < 0.25 else random.uniform(0.38, 0.62)
        return Palette(ground=(level,), bright=random.random() < 0.5, contrast=contrast, name="")
    name = random.choice(list(COLOURS))
    ground = random.choice([0.12, 0.3, 0.5, 0.7, 0.88])
    while name in {"white", "black"} and abs(COLOURS[name][0] - ground) < 0.3:
        ground = random.choice([0.12, 0.3, 0.5, 0.7, 0.88])
    tint = [random.uniform(-0.08, 0.08) for _ in range(3)]
    return Palette(ground=tuple(ground + part for part in tint), bright=True, contrast=0.4, name=name)
