"""Masks by their names: files beside an image, or in a folder beside its own, that are no images of their own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WORDS = r"masks?|segs?|segmentations?|gt|ground[ _-]?truth|annotations?"
NAME = re.compile(rf"(?P<image>.+?)[ _.-](?:{WORDS}|labels?|roi)(?:[ _-]?\d+)?", re.IGNORECASE)
"""Name of a mask, without its ending."""
FOLDER = re.compile(rf"(?:.*[ _-])?(?:{WORDS})(?:[ _-].*)?", re.IGNORECASE)
"""Name of a folder of masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """Files of a folder, parted into images and masks."""

    images: tuple[str, ...]
    masks: Mapping[str, tuple[str, ...]]
    """Of each image that has any."""


def part_masks(paths: Sequence[str]) -> Parted:
    """Part masks from the images that they belong to; what looks like a mask and has no image is an image.

    >>> part_masks(["a/1.png", "a/1_mask.png", "a/2_mask.png"]).images
    ('a/1.png', 'a/2_mask.png')
    >>> part_masks(["a/images/1.png", "a/masks/1.png"]).masks
    {'a/images/1.png': ('a/masks/1.png',)}
    """
    by_stem: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        head, stem = _part(path)
        outer, _, folder = head.rpartition("/")
        if not FOLDER.fullmatch(folder):
            by_stem[head, stem].append(path)
            by_stem[outer, stem].append(path)
    masks: dict[str, tuple[str, ...]] = {}
    images: list[str] = []
    for path in paths:
        image = _find_image(path, by_stem)
        if image is None:
            images.append(path)
        else:
            masks[image] = (*masks.get(image, ()), path)
    return Parted(images=tuple(images), masks=masks)


def _find_image(path: str, by_stem: Mapping[tuple[str, str], Sequence[str]]) -> str | None:
    """Give the one image that a mask belongs to; None if the file is no mask, or may be of several images."""
    head, stem = _part(path)
    outer, _, folder = head.rpartition("/")
    match = NAME.fullmatch(stem)
    keys = [(head, match["image"])] if match else []
    if FOLDER.fullmatch(folder):
        keys += [(outer, stem), *([(outer, match["image"])] if match else [])]
    for key in keys:
        found = [one for one in by_stem.get(key, ()) if one != path and (key[0] == outer or _part(one)[0] == head)]
        if len(set(found)) == 1:
            return found[0]
    return None


def _part(path: str) -> tuple[str, str]:
    """Give a file's folder, and its name without ending."""
    head, _, name = path.rpartition("/")
    return head, name.removesuffix(".gz").rpartition(".")[0] or name
