"""Images of tests as PNG, one after the other, read by all processors where there are many."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from cg_lab.catalog import PhantomData
from cg_lab.data.samples import DataSource, Split
from cg_lab.data.sources import open_source
from cg_lab.errors import UserError
from cg_lab.exchange.study_tests import StudyTest
from cg_lab.planning.plan import PlannedCatalog

AT_ONCE = 64
"""Images that a process reads together."""
MOST_WAITING = 4
"""Parts for each process that are read ahead, so that memory is bounded."""
FEW = 2_000
"""Images that are read here, since further processes take a second to start."""
RUN_LENGTHS = 3
"""zlib's Z_RLE: at its lowest level images become no larger, in two thirds of the time."""


def list_pngs(tests: Sequence[StudyTest], folder: Path) -> Iterator[bytes]:
    """Give the images of some tests in their order.

    Parameters
    ----------
    tests, folder
        Which, and where they come from, as `open_source` takes it.

    Raises
    ------
    UserError
        If one can't be read any more.

    """
    parts = [
        (slim, folder, test.target, start, min(start + AT_ONCE, test.num_questions))
        for test, slim in zip(tests, map(_slim_down, tests), strict=True)
        for start in range(0, test.num_questions, AT_ONCE)
    ]
    workers = len(os.sched_getaffinity(0))
    if len(parts) * AT_ONCE <= FEW or workers == 1:
        for part in parts:
            yield from write_part(*part)
        return
    # Spawned: a fork would copy whatever threads the caller has.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[list[bytes]]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(write_part, *part))
                if len(waiting) > MOST_WAITING * workers:
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


def _slim_down(test: StudyTest) -> PlannedCatalog:
    """Leave out of a catalogue what its images do not need, since each part carries it to another process."""
    subsets = (test.subset,) if isinstance(test.catalog.data, PhantomData) else ()
    return replace(test.catalog, subsets=subsets, notes=(), tied=())


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
