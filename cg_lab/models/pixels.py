"""Images as bytes, where a processor only scales their values at the end: a quarter of the room, and no rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.encoding import Seen, see_images

PIXELS = "pixels"
"""Name of the bytes; what models are given is called `pixel_values`."""
VALUES = "pixel_values"


class Stored(Mapping[str, torch.Tensor]):
    """What a processor gives of one image; pixel values are looked up when they are asked for.

    Parameters
    ----------
    tensors
        By the model's names, or with bytes `pixels` (1, 3, height, width) in place of `pixel_values`.
    table_CV
        What the processor makes of each of the 256 values of each colour; None without bytes.

    """

    __slots__ = ("table_CV", "tensors")

    def __init__(self, tensors: Mapping[str, torch.Tensor], table_CV: torch.Tensor | None) -> None:
        self.tensors = tensors
        self.table_CV = table_CV

    def __getitem__(self, key: str) -> torch.Tensor:
        """Give a tensor, with its first axis."""
        if key == VALUES and self.table_CV is not None:
            return look_up(self.tensors[PIXELS], self.table_CV)
        return self.tensors[key]

    def __iter__(self) -> Iterator[str]:
        """Name what there is."""
        return (VALUES if key == PIXELS else key for key in self.tensors)

    def __len__(self) -> int:
        """Count what there is."""
        return len(self.tensors)

    def without(self, key: str) -> Stored:
        """Leave one out."""
        return Stored({name: values for name, values in self.tensors.items() if name != key}, self.table_CV)


def look_up(pixels_NCHW: torch.Tensor, table_CV: torch.Tensor) -> torch.Tensor:
    """Give the processor's values of bytes."""
    offsets = torch.arange(0, table_CV.numel(), table_CV.shape[1], dtype=torch.int32)[:, None, None]
    places = (pixels_NCHW.to(torch.int32) + offsets).view(-1)
    return table_CV.view(-1).index_select(0, places).view(pixels_NCHW.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a backbone sees images whose prompt is always the same and whose values are only scaled at the end."""

    frame: Seen
    """Of any image."""
    table_CV: torch.Tensor
    """Values by colour and byte."""

    def see(self, backbone: LoadedBackbone, images: Sequence[Image.Image]) -> list[Seen]:
        """Give images as bytes."""
        pixels = [_shape(backbone, image) for image in images]
        return [
            Seen(
                prompt=self.frame.prompt,
                tail=self.frame.tail,
                image=Stored({PIXELS: torch.from_numpy(values)[None]}, self.table_CV),
                tokens=self.frame.tokens,
            )
            for values in pixels
        ]


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
    try:
        table_CV = _read_table(backbone)
        pixels = [torch.from_numpy(_shape(backbone, probe))[None] for probe in probes]
    except (TypeError, ValueError, KeyError, IndexError):
        return None  # a processor of its own kind
    for one, values in zip(seen, pixels, strict=True):
        if values.dtype != torch.uint8 or values.shape != one.image[VALUES].shape:
            return None
        if not look_up(values, table_CV).equal(one.image[VALUES]):
            return None
    return Sight(frame=seen[0], table_CV=table_CV)


def _shape(backbone: LoadedBackbone, image: Image.Image) -> np.ndarray:
    """Resize and crop as the processor does, (3, height, width) of bytes."""
    given: Any = backbone.processor.image_processor(images=[image.convert("RGB")], do_rescale=False, do_normalize=False)
    return np.ascontiguousarray(np.asarray(given[VALUES][0]))


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
