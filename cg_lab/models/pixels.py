"""Find out how images can be kept as bytes: whether a processor only scales their values at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.encoding import Seen, see_images
from cg_lab.models.stored import PIXELS, VALUES, Stored, look_up

Shape = Callable[[Image.Image], np.ndarray]
"""Gives an image as (3, height, width) of bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a backbone sees images whose prompt is always the same and whose values are only scaled at the end."""

    frame: Seen
    """Of any image."""
    table_CV: torch.Tensor
    """Values by colour and byte."""
    shape: Shape

    def see(self, image: Image.Image) -> Seen:
        """Give an image as bytes."""
        pixels = torch.from_numpy(self.shape(image))[None]
        return replace(self.frame, image=Stored({PIXELS: pixels}, self.table_CV))


def find_sight(backbone: LoadedBackbone, image: Image.Image) -> Sight | None:
    """Find out whether images can be kept as bytes, by comparing the values of an image and of its stretched copies.

    Returns
    -------
    None if the processor does more than to scale values at the end, or writes prompts that depend on the image.

    """
    width, height = image.size
    probes = [image, image.resize((2 * width + 1, height)), image.resize((width, 2 * height + 1))]
    seen = see_images(backbone, probes)
    if seen is None or any(set(one.image) != {VALUES} or one.image[VALUES].ndim != 4 for one in seen):
        return None
    if any(one.prompt != seen[0].prompt or one.tail != seen[0].tail for one in seen):
        return None
    processor = backbone.processor.image_processor

    def let_processor(image: Image.Image) -> np.ndarray:
        given: Any = processor(images=[_to_rgb(image)], do_rescale=False, do_normalize=False)
        return np.ascontiguousarray(np.asarray(given[VALUES][0]))

    try:
        table_CV = _read_table(backbone)
        for shape in (_find_geometry(processor), let_processor):
            if shape is not None and all(
                _is_same(shape(probe), table_CV, one) for probe, one in zip(probes, seen, strict=True)
            ):
                return Sight(frame=seen[0], table_CV=table_CV, shape=shape)
    except (TypeError, ValueError, KeyError, IndexError):
        pass  # a processor of its own kind
    return None


def _is_same(pixels: np.ndarray, table_CV: torch.Tensor, seen: Seen) -> bool:
    values = torch.from_numpy(pixels)[None]
    if values.dtype != torch.uint8 or values.shape != seen.image[VALUES].shape:
        return False
    return look_up(values, table_CV).equal(seen.image[VALUES])


def _to_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _find_geometry(processor: Any) -> Shape | None:
    """Give what CLIP's and like processors do to an image's shape, without their conversions; None for others."""
    size, crop = dict(processor.size), dict(getattr(processor, "crop_size", None) or {})
    if not getattr(processor, "do_resize", False) or set(size) not in ({"shortest_edge"}, {"height", "width"}):
        return None
    is_cropped = bool(getattr(processor, "do_center_crop", False))
    if is_cropped and set(crop) != {"height", "width"}:
        return None

    def shape(image: Image.Image) -> np.ndarray:
        width, height = image.size
        if "shortest_edge" in size:
            short, edge = min(width, height), size["shortest_edge"]
            target = (edge, int(edge * height / short)) if width <= height else (int(edge * width / short), edge)
        else:
            target = (size["width"], size["height"])
        resized = _to_rgb(image).resize(target, Image.Resampling(processor.resample))
        if is_cropped:
            left, top = (target[0] - crop["width"]) // 2, (target[1] - crop["height"]) // 2
            resized = resized.crop((left, top, left + crop["width"], top + crop["height"]))
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))

    return shape


def _read_table(backbone: LoadedBackbone) -> torch.Tensor:
    """Let the processor scale an image that holds every value of every colour."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    given: Any = backbone.processor.image_processor(
        images=[Image.fromarray(ramp)], do_resize=False, do_center_crop=False, do_pad=False
    )
    values = np.asarray(given[VALUES][0], np.float32)
    if values.shape != (3, 16, 16):
        raise ValueError(f"the processor gives {values.shape} of an image of 16 x 16 pixels")
    return torch.from_numpy(values.reshape(3, 256).copy())
