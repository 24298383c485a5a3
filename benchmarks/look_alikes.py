"""How many look-alikes are found among real images, and how many pairs are found that are none.

    python benchmarks/look_alikes.py MANIFEST

The manifest's images are stored again otherwise, and each of these is searched for among all images as they were: by
the rule for look-alikes that are moved out of training, and by the wider one for those that are counted. Pairs among
the images as they were that the manifest puts into two groups are listed, to be looked at. Images that show nothing
are left out.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from cg_lab.data.altered_films import find_altered
from cg_lab.data.facts import THUMBNAIL, hash_differences
from cg_lab.data.lookalikes import Gallery
from cg_lab.data.pictures import decode


def compress(image: Image.Image, form: str, quality: int) -> Image.Image:
    """Store in another format, and read again."""
    buffer = BytesIO()
    image.save(buffer, form, quality=quality)
    return decode(buffer.getvalue()).image


def scale(image: Image.Image, factor: float) -> Image.Image:
    """Store in another size."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def rewindow(image: Image.Image) -> Image.Image:
    """Show the middle nine tenths of the range of brightness, as another window does."""
    return image.point([min(255, max(0, round((level - 12.75) / 0.9))) for level in range(256)] * len(image.getbands()))


CHANGES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 75": lambda image: compress(image, "JPEG", 75),
    "JPEG of quality 40": lambda image: compress(image, "JPEG", 40),
    "WebP of quality 75": lambda image: compress(image, "WEBP", 75),
    "scaled to a half": lambda image: scale(image, 0.5),
    "scaled to 1.5": lambda image: scale(image, 1.5),
    "brightness x 1.1": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "brightness x 0.9": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "contrast x 0.9": lambda image: ImageEnhance.Contrast(image).enhance(0.9),
    "another window": rewindow,
    "one pixel less at the left": lambda image: image.crop((1, 0, image.width, image.height)),
    "one pixel less at the top": lambda image: image.crop((0, 1, image.width, image.height)),
    "one pixel less all round": lambda image: image.crop((1, 1, image.width - 1, image.height - 1)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "mirrored, JPEG of quality 75": lambda image: compress(
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG", 75
    ),
}


def describe(images: list[Image.Image]) -> Gallery:
    """Measure images as `cg_lab.data.facts` does."""
    grays = [image if image.mode == "L" else image.convert("L") for image in images]
    small = [gray.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX) for gray in grays]
    return Gallery(
        np.array([hash_differences(gray) for gray in grays], np.uint64),
        np.stack([np.asarray(one).ravel() for one in small]),
        np.array([np.asarray(gray).std() / 255 for gray in grays], np.float32),
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    given = parser.parse_args()
    with given.manifest.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    images = [decode((given.manifest.parent / line["image"]).read_bytes()).image for line in lines]
    groups = [line.get("group") or line["image"] for line in lines]
    numbers = np.arange(len(images))
    ways = {"moved": lambda gallery, *rows: gallery.match(*rows), "counted": find_altered}
    films = describe(images)
    for name, find in ways.items():
        found = find(films, numbers, numbers)
        pairs = {tuple(sorted((one, int(found[one])))) for one in numbers.tolist() if found[one] >= 0}
        across = [pair for pair in sorted(pairs) if groups[pair[0]] != groups[pair[1]]]
        print(f"{name}: {len(pairs)} pairs among {len(images):,} images, {len(across)} of them of two groups")
        for pair in across:
            print("   ", " like ".join(lines[row]["image"] for row in pair))
    shown = np.flatnonzero(films.shows_something)
    for name, change in CHANGES.items():
        both = describe([*images, *map(change, images)])
        rates = []
        for find in ways.values():
            twins = find(both, shown + len(images), numbers)[shown + len(images)].tolist()
            rates.append(
                np.mean(
                    [groups[twin] == groups[one] for one, twin in zip(shown, twins, strict=True) if twin >= 0]
                    + [False] * twins.count(-1)
                )
            )
        print(f"{name}: moved {rates[0]:.1%}, counted {rates[1]:.1%}", flush=True)


if __name__ == "__main__":
    main()
