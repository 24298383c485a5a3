"""Contact sheets: `python -m cg_lab.data.phantom.sheet OUT.png [--world entangled]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cg_lab.data.phantom.rendering import render_phantoms
from cg_lab.data.phantom.vocabulary import AREAS, MODALITIES, TASKS, PhantomKey, World

ZOOM = 2
SIZE = 48
LEFT, TOP = 130, 36


def build_sheet(world: World, seed: int) -> Image.Image:
    """Draw one image of every label of every subset: rows are task and label, columns modality and area."""
    labels = {task: PhantomKey(modality=MODALITIES[0], area=AREAS[0], task=task).list_labels(world) for task in TASKS}
    rows = [(task, label) for task, names in labels.items() for label in range(len(names))]
    columns = [(modality, area) for modality in MODALITIES for area in AREAS]
    cell = SIZE * ZOOM + 2
    sheet = Image.new("L", (LEFT + cell * len(columns), TOP + cell * len(rows)), 255)
    pen = ImageDraw.Draw(sheet)
    for column, (modality, area) in enumerate(columns):
        pen.text((LEFT + column * cell + 4, 4), modality, fill=0, font_size=13)
        pen.text((LEFT + column * cell + 4, 19), area, fill=0, font_size=13)
        for row, (task, label) in enumerate(rows):
            key = PhantomKey(modality=modality, area=area, task=task)
            pixels = render_phantoms(key, np.array([label]), np.array([row]), world=world, seed=seed)[0]
            image = Image.fromarray(pixels).resize((SIZE * ZOOM, SIZE * ZOOM), Image.Resampling.BICUBIC)
            sheet.paste(image, (LEFT + column * cell, TOP + row * cell))
    for row, (task, label) in enumerate(rows):
        pen.text((6, TOP + row * cell + 26), task, fill=0, font_size=14)
        pen.text((6, TOP + row * cell + 44), labels[task][label], fill=0, font_size=14)
    return sheet


def main() -> None:
    """Parse the command line and write the sheet."""
    parser = argparse.ArgumentParser(description="Write a contact sheet of the phantoms.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--world", type=World, choices=list(World), default=World.COMPOSITIONAL)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    build_sheet(arguments.world, arguments.seed).quantize(32).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
