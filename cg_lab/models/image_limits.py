"""How large a model reads an image: a range of pixels, or a number of tiles, as each kind of image processor has it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

from cg_lab.errors import UserError
from cg_lab.study import Backbone

Described = Mapping[str, Any]
"""An image processor as its file has it; what the file leaves out may be missing."""
ONE_BY_ONE = ("Qwen2VL",)
"""Kinds that bound an image's pixels, by the beginning of their names."""
AS_FRAMES = ("Glm4v", "Glm46V")
"""Kinds that bound the pixels of all frames of a clip; an image is one of `temporal_patch_size` equal frames."""
CROPPED = ("GotOcr2", "Ovis2")
"""Kinds that crop to at most `max_patches`: InternVL3's, Aya Vision's, Ovis2's."""
IN_GRIDS = ("LlavaNextImage", "LlavaOnevision")
"""Kinds that cut into one of the grids that they list."""
SPLIT = ("Idefics3", "SmolVLM")
"""Kinds that scale an image's longer side to a number of tiles, and split it."""
GRIDS = "image_grid_pinpoints"
"""Name of that list, in the processor and in the model's configuration; the two must agree."""
LEARNED, BY_CALL = "Mllama", "Gemma3"


class ImageLimitError(UserError):
    """A model does not read images as it was asked to; `found` says why, `way_out` what to do."""

    def __init__(self, found: str, way_out: str) -> None:
        super().__init__(f"{found}; {way_out}")
        self.found = found
        self.way_out = way_out


def is_limited(identity: Backbone) -> bool:
    """Tell whether a model reads images otherwise than its processor says."""
    return any((identity.min_pixels, identity.max_pixels, identity.max_tiles))


def limit_images(identity: Backbone, described: Described) -> dict[str, Any]:
    """Give the settings of an image processor that a model's limits change.

    Raises
    ------
    ImageLimitError
        If it has no such limit, or none of that size.

    """
    return _bound_pixels(identity, described) | _bound_tiles(identity, described)


def _bound_pixels(identity: Backbone, described: Described) -> dict[str, Any]:
    if identity.min_pixels is None and identity.max_pixels is None:
        return {}
    kind = _name_kind(described)
    if not kind.startswith((*ONE_BY_ONE, *AS_FRAMES)):
        raise ImageLimitError(
            f"model.min_pixels, model.max_pixels: the processor of '{identity.name}' ({kind}) has no range of pixels",
            "leave both null",
        )
    frames = described.get("temporal_patch_size", 2) if kind.startswith(AS_FRAMES) else 1
    least, most = _read_range(described)
    least, most = (identity.min_pixels or least // frames, identity.max_pixels or most // frames)
    if most and least > most:
        raise ImageLimitError(
            f"model.min_pixels: {least} is more than the most pixels of an image, {most}",
            "give model.min_pixels and model.max_pixels together",
        )
    return {"size": {"shortest_edge": least * frames, "longest_edge": most * frames}}


def _read_range(described: Described) -> tuple[int, int]:
    """Read a range of pixels under its new names or its old ones; 0 for what a file leaves to its class."""
    size = described.get("size") or {}
    return (
        described.get("min_pixels") or size.get("shortest_edge") or 0,
        described.get("max_pixels") or size.get("longest_edge") or 0,
    )


def _bound_tiles(identity: Backbone, described: Described) -> dict[str, Any]:
    most = identity.max_tiles
    if most is None:
        return {}
    kind = _name_kind(described)
    if kind.startswith(CROPPED):
        least = min(described.get("min_patches") or 1, most)
        return {"crop_to_patches": most > 1, "min_patches": least, "max_patches": most}
    if kind.startswith(IN_GRIDS):
        return _choose_grids(identity.name, most, described)
    if kind.startswith(SPLIT):
        return _choose_edge(most, described)
    if kind.startswith(BY_CALL) and most == 1:
        return {"do_pan_and_scan": False}
    reason, way_out = _tell_tiles(kind)
    raise ImageLimitError(f"model.max_tiles: the processor of '{identity.name}' ({kind}) {reason}", way_out)


def _tell_tiles(kind: str) -> tuple[str, str]:
    """Say why a kind can't have a number of tiles, and what to do."""
    if kind.startswith(LEARNED):
        return (
            "numbers its grids of tiles as the weights were trained with, for as many tiles as it has",
            "leave it null",
        )
    if kind.startswith(BY_CALL):
        return "cuts where a call asks for it, which no checkpoint can hold", "take 1, or leave it null"
    if kind.startswith((*ONE_BY_ONE, *AS_FRAMES)):
        return "reads an image whole", "take model.max_pixels"
    return "cuts no image into tiles", "leave it null"


def _choose_grids(name: str, most: int, described: Described) -> dict[str, Any]:
    """Keep the grids of at most so many tiles."""
    grids, size = described.get(GRIDS), described.get("size") or {}
    side = (described.get("crop_size") or {}).get("height") or size.get("height") or size.get("shortest_edge")
    if not grids or not side:
        return {}
    tiles = [(height // side) * (width // side) for height, width in grids]
    if min(tiles) > most:
        raise ImageLimitError(
            f"model.max_tiles: {most} is less than the fewest tiles that '{name}' cuts an image into, {min(tiles)}",
            f"take {min(tiles)} or more",
        )
    return {GRIDS: [grid for grid, count in zip(grids, tiles, strict=True) if count <= most]}


def _choose_edge(most: int, described: Described) -> dict[str, Any]:
    """Bound the longer side so that a square has at most so many tiles; it is even, as an odd one is rounded up."""
    if most < 4:
        return {"do_image_splitting": False}
    tile, edge = ((described.get(key) or {}).get("longest_edge") for key in ("max_image_size", "size"))
    if not tile or not edge:
        return {}
    return {"do_image_splitting": True, "size": {"longest_edge": min(edge, isqrt(most) * tile // 2 * 2)}}


def _name_kind(described: Described) -> str:
    return str(described.get("image_processor_type") or "")
