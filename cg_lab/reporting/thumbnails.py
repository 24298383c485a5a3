"""Small images of test samples, from a study's own source, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pyarrow as pa
from PIL import Image

from cg_lab.data.samples import DataSource, Split
from cg_lab.data.sources import open_source
from cg_lab.errors import UserError
from cg_lab.planning.plan import PlannedCatalog

SIDE = 224
"""Pixels of the longer side, at most."""
EXACT_SIDE = 96
"""Up to here an image stays as it is, pixel by pixel."""
MOST_BYTES = 36_000
"""Of one image; a dozen of them stay below 600 kB of page."""
QUALITIES = (85, 70, 50, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """An image that stands in the page itself."""

    uri: str
    width: int
    height: int

    @property
    def is_exact(self) -> bool:
        """Whether it is so small that its pixels are shown as they are."""
        return max(self.width, self.height) <= EXACT_SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnails:
    """What could be shown, and why the rest could not."""

    found: dict[str, Thumbnail]
    """By id of the sample."""
    reasons: dict[str, str]
    """By id of the sample."""


def read_thumbnails(catalog: PlannedCatalog, folder: Path, wanted: Mapping[str, frozenset[str]]) -> Thumbnails:
    """Read some test images of a catalogue; what can't be read costs nothing but itself.

    Parameters
    ----------
    catalog
        Says where images come from; phantoms are drawn anew.
    folder
        Keeps the tables of images.
    wanted
        Ids of test samples, by subset.

    """
    try:
        source = open_source(catalog, folder)
    except (UserError, OSError) as error:
        return Thumbnails(found={}, reasons={sample: str(error) for ids in wanted.values() for sample in ids})
    parts = [_read_subset(source, subset, ids) for subset, ids in wanted.items()]
    return Thumbnails(
        found={sample: thumbnail for part in parts for sample, thumbnail in part.found.items()},
        reasons={sample: reason for part in parts for sample, reason in part.reasons.items()},
    )


def _read_subset(source: DataSource, subset: str, ids: frozenset[str]) -> Thumbnails:
    try:
        samples = [sample for sample in source.read_samples(subset, Split.TEST) if sample.id in ids]
    except (OSError, pa.ArrowException) as error:
        why = f"the table of images can't be read for subset '{subset}' ({error}); plan again, so that it is written"
        return Thumbnails(found={}, reasons=dict.fromkeys(ids, why))
    found: dict[str, Thumbnail] = {}
    known = {sample.id for sample in samples}
    reasons = {
        sample: f"data: subset '{subset}' has no test sample '{sample}' any more; plan and sweep again"
        for sample in ids - known
    }
    for sample in samples:
        try:
            (image,) = source.read_images((sample,))
        except (UserError, OSError) as error:
            reasons[sample.id] = str(error)
        else:
            found[sample.id] = make_thumbnail(image)
    return Thumbnails(found=found, reasons=reasons)


def make_thumbnail(image: Image.Image) -> Thumbnail:
    """Scale an image down to `SIDE` pixels at most and encode it: as PNG, or as JPEG where that is smaller."""
    small = image.convert("RGB") if image.mode not in {"L", "RGB"} else image.copy()
    small.thumbnail((SIDE, SIDE))
    payload, kind = _encode(small, "PNG", optimize=True), "png"
    if max(small.size) > EXACT_SIDE:
        for quality in QUALITIES:
            packed = _encode(small, "JPEG", quality=quality, optimize=True)
            if len(packed) < len(payload):
                payload, kind = packed, "jpeg"
            if len(payload) <= MOST_BYTES:
                break
    uri = f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"
    return Thumbnail(uri=uri, width=small.width, height=small.height)


def _encode(image: Image.Image, form: str, **settings: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()
