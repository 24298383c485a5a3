"""Images of a test as PNG, one after the other, read by all processors where there are many."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from cg_lab.data.samples import DataSource, Split
from cg_lab.data.sources import open_source
from cg_lab.errors import UserError
from cg_lab.planning.plan import PlannedCatalog

AT_ONCE = 64
"""Images that a process reads together."""
FEW = 2_000
"""Images that are read here, since further processes take a second to start."""
RUN_LENGTHS = 3
"""zlib's Z_RLE: at its lowest level images become no larger, in two thirds of the time."""


def list_pngs(catalog: PlannedCatalog, folder: Path, subset: str, count: int) -> Iterator[bytes]:
    """Give the test images of a subset in their order.

    Parameters
    ----------
    catalog, folder
        Where they come from, as `open_source` takes it.
    subset, count
        Which, and how many there are.

    Raises
    ------
    UserError
        If one can't be read any more.

    """
    parts = [(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    workers = len(os.sched_getaffinity(0))
    if count <= FEW or workers == 1:
        for start, end in parts:
            yield from write_part(catalog, folder, subset, start, end)
        return
    # Spawned: a fork would copy whatever threads the caller has.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[list[bytes]]] = deque()
        try:
            for start, end in parts:
                waiting.append(pool.submit(write_part, catalog, folder, subset, start, end))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError("a process that reads images was killed, perhaps for want of memory") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def write_part(catalog: PlannedCatalog, folder: Path, subset: str, start: int, end: int) -> list[bytes]:
    """Write the test images from one place of a subset to another."""
    source = _open(catalog, folder)
    samples = source.read_samples(subset, Split.TEST)
    return [write_png(image) for image in source.read_images(samples[start:end])]


@lru_cache(maxsize=1)
def _open(catalog: PlannedCatalog, folder: Path) -> DataSource:
    return open_source(catalog, folder)


def write_png(image: Image.Image) -> bytes:
    """Write the pixels of an image, and nothing else that its file may say."""
    stream = BytesIO()
    plain = image.copy()
    plain.info = {}
    plain.save(stream, "PNG", compress_level=1, compress_type=RUN_LENGTHS)
    return stream.getvalue()
