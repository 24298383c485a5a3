"""Images as files for programs that read no source of ours: each written once, without loss, for all who ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cg_lab.data.samples import DataSource, Sample
from cg_lab.serialize import content_id, replacing

CHUNK = 256
"""Images that are in memory at a time."""


def write_image_files(source: DataSource, samples: Sequence[Sample], folder: Path) -> dict[str, Path]:
    """Write the images of samples as RGB in PNG, those that are not there yet; gives the files by sample id."""
    paths = {sample.id: folder / _name(sample.id) for sample in samples}
    missing = [sample for sample in {one.id: one for one in samples}.values() if not paths[sample.id].exists()]
    for start in range(0, len(missing), CHUNK):
        some = tuple(missing[start : start + CHUNK])
        for sample, image in zip(some, source.read_images(some), strict=True):
            with replacing(paths[sample.id]) as beside:
                image.convert("RGB").save(beside, format="PNG")
    return paths


def _name(sample_id: str) -> str:
    """Name a file so that it is safe, and no folder holds a hundred thousand of them."""
    name = content_id("image", 1, sample_id)
    return f"{name[:2]}/{name}.png"
