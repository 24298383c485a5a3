"""What one image costs with a model: disk once it is prepared, and calls of the vision tower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.encoding import see_images
from cg_lab.models.pixels import find_sight
from cg_lab.models.shards import list_tensors, measure
from cg_lab.models.stored import PIXELS, VALUES
from cg_lab.study import Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCost:
    """Of one image."""

    num_bytes: int
    """On disk, prepared, without a vision tower's outputs."""
    are_bytes: bool
    """Whether pixels are kept as bytes, not as the processor's values."""
    tower_calls: int
    """Pictures that the vision tower is given: the image's tiles, and the whole where it is given too."""

    def tell(self) -> str:
        """Say it in words.

        >>> ImageCost(num_bytes=338_688, are_bytes=True, tower_calls=1).tell()
        '338,688 bytes of disk once prepared (pixels as bytes) and 1 call of the vision tower'
        """
        kept = "pixels as bytes" if self.are_bytes else "pixels as the processor's values"
        calls = f"{self.tower_calls} call{'' if self.tower_calls == 1 else 's'} of the vision tower"
        return f"{self.num_bytes:,} bytes of disk once prepared ({kept}) and {calls}"


def measure_image(processor: Any, identity: Backbone, side: int) -> ImageCost | None:
    """Measure what a square image costs, by preparing one as jobs do.

    Returns
    -------
    None if the processor can't read an image apart from its question: then nothing is kept.

    """
    backbone = LoadedBackbone(identity=identity, model=None, processor=processor)
    image = Image.new("RGB", (side, side))
    sight = find_sight(backbone, image)
    if sight is not None:
        seen = sight.see(image)
    else:
        found = see_images(backbone, [image])
        if not found:
            return None
        (seen,) = found
    tensors = list_tensors(seen)
    return ImageCost(num_bytes=measure(seen), are_bytes=PIXELS in tensors, tower_calls=_count_calls(tensors))


def _count_calls(tensors: Mapping[str, torch.Tensor]) -> int:
    """Count the pictures in what a processor gives: rows of pictures, or of tiles; patches in one row are one."""
    values = tensors.get(PIXELS, tensors.get(VALUES))
    if values is None or values.ndim < 4:
        return 1
    return values.shape[:-3].numel()
