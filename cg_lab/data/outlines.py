"""Boxes as they are written, or around what masks show (Med-MAT, section 3.2)."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from cg_lab.boxes import Box
from cg_lab.data.pictures import Folder, UnreadableError
from cg_lab.data.places import Place


class Outlines:
    """Reads boxes, from the upper left on: written, or around all that a mask shows (Med-MAT, section 3.2)."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def read(self, written: str, size: tuple[int, int]) -> tuple[Box, ...] | str:
        """Give boxes as shares of the image; a text says what is wrong with them."""
        if written.startswith("mask "):
            found = [self._find_outline(mask, size) for mask in written.removeprefix("mask ").split("; mask ")]
            return next((one for one in found if isinstance(one, str)), None) or tuple(
                sorted((one for one in found if not isinstance(one, str)), key=lambda box: (box[1], box[0]))
            )
        width, height = size
        boxes: list[Box] = []
        for part in filter(None, (part.strip() for part in written.split(";"))):
            try:
                x0, y0, x1, y1 = (float(number) for number in part.split())
            except ValueError:
                return f"box '{part}' is not `x0 y0 x1 y1` in pixels; several are parted by ;"
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                return f"box '{part}' does not lie within the {width} x {height} pixels of its image, or is empty"
            boxes.append((x0 / width, y0 / height, x1 / width, y1 / height))
        return tuple(sorted(boxes, key=lambda box: (box[1], box[0])))

    def _find_outline(self, mask: str, size: tuple[int, int]) -> Box | str:
        try:
            pixels: Image.Image = Folder(Path(self.place.root)).open(mask).image
        except UnreadableError as error:
            return f"mask '{mask}' can't be read ({error})"
        if pixels.size != size:
            return f"mask '{mask}' has {pixels.width} x {pixels.height} pixels and its image {size[0]} x {size[1]}"
        outline = pixels.convert("L").getbbox()
        if outline is None:
            return f"mask '{mask}' shows nothing: every pixel is 0"
        left, top, right, bottom = outline
        return left / size[0], top / size[1], right / size[0], bottom / size[1]
