"""What is known of every image once it has been opened: hashes, size, brightness; measured once, on all cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cg_lab.data.pictures import Pictures, Stamp, UnreadableError, hash_pixels
from cg_lab.errors import UserError
from cg_lab.serialize import content_id, replacing

FACTS_SCHEMA = 1
"""Raised whenever the same image gives other facts; older facts are then measured anew."""
THUMBNAIL = 16
"""Pixels of one side of what two images are compared by."""
SCHEMA = pa.schema(
    [
        ("origin", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("error", pa.string()),
        ("digest", pa.string()),
        ("pixels", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("channels", pa.int8()),
        ("frames", pa.int32()),
        ("num_bytes", pa.int64()),
        ("mean", pa.float32()),
        ("spread", pa.float32()),
        ("border", pa.float32()),
        ("dhash", pa.uint64()),
        ("thumbnail", pa.binary(THUMBNAIL * THUMBNAIL)),
    ]
)
"""`error` says why an image can't be used and is null otherwise; `digest` is of the file, `pixels` of what is seen;
brightness (mean, standard deviation, mean of the outermost pixels) from 0 to 1."""
CHUNK = 256
"""Images that a process is given at a time."""
FEW = 400
"""Images that are measured in this process: starting others would take longer."""
PART = 20_000
"""Images after which what was measured is written down; a kill costs no more."""

Tell = Callable[[int, int], None]
"""Told how many images of how many are done."""


def measure_images(
    pictures: Pictures, stamps: dict[str, Stamp], folder: Path, tell: Tell | None = None, workers: int | None = None
) -> pa.Table:
    """Give the facts of some images; those that were measured before, and have not changed since, are not opened.

    Parameters
    ----------
    pictures, stamps
        Where they lie, and which of them are there.
    folder
        Keeps what was measured, in parts; a measurement that was stopped goes on with the next part.
    tell
        Told of progress.
    workers
        Processes; None for one a core.

    Returns
    -------
    One row for each image, in the order of `stamps`; columns as in `SCHEMA`.

    """
    known = _read_parts(folder)
    wanted = pa.array(list(stamps), pa.string())
    missing = _select_unknown(known, stamps)
    if missing:
        parts = [known, *_measure_parts(pictures, missing, stamps, folder, tell, workers)]
        known = pa.concat_tables(parts)
    # The newest measurement of an image is the last one.
    places = dict(zip(known["origin"].to_pylist(), range(len(known)), strict=True))
    return known.take(pa.array([places[origin] for origin in wanted.to_pylist()], pa.int64()))


def _select_unknown(known: pa.Table, stamps: dict[str, Stamp]) -> list[str]:
    fresh = set()
    for origin, size, mtime in zip(
        known["origin"].to_pylist(), known["size"].to_pylist(), known["mtime_ns"].to_pylist(), strict=True
    ):
        stamp = stamps.get(origin)
        if stamp is not None and stamp.size == size and stamp.mtime_ns == mtime:
            fresh.add(origin)
        else:
            fresh.discard(origin)
    return [origin for origin in stamps if origin not in fresh]


def _read_parts(folder: Path) -> pa.Table:
    files = sorted(folder.glob(f"facts-v{FACTS_SCHEMA}-*.parquet"))
    tables: list[pa.Table] = []
    for file in files:
        try:
            tables.append(pq.read_table(file, schema=SCHEMA))
        except (OSError, pa.ArrowException):
            file.unlink(missing_ok=True)  # it is measured again
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def _measure_parts(
    pictures: Pictures,
    origins: list[str],
    stamps: dict[str, Stamp],
    folder: Path,
    tell: Tell | None,
    workers: int | None,
) -> list[pa.Table]:
    written: list[pa.Table] = []
    rows: list[tuple[object, ...]] = []

    def write() -> None:
        if rows:
            columns = zip(*rows, strict=True)
            table = pa.table(
                [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
            )
            number = content_id("facts", FACTS_SCHEMA, [time.time_ns(), os.getpid(), len(written)])
            with replacing(folder / f"facts-v{FACTS_SCHEMA}-{time.time_ns():020d}-{number}.parquet") as beside:
                pq.write_table(table, beside)
            written.append(table)
            rows.clear()

    folder.mkdir(parents=True, exist_ok=True)
    try:
        for done, row in enumerate(_measure(pictures, origins, stamps, workers), 1):
            rows.append(row)
            if len(rows) >= PART:
                write()
            if tell is not None and (done % CHUNK == 0 or done == len(origins)):
                tell(done, len(origins))
    finally:
        write()
    return written


def _measure(
    pictures: Pictures, origins: list[str], stamps: dict[str, Stamp], workers: int | None
) -> Iterator[tuple[object, ...]]:
    count = workers or len(os.sched_getaffinity(0))
    if len(origins) <= FEW or count == 1:
        for start in range(0, len(origins), CHUNK):
            part = origins[start : start + CHUNK]
            yield from measure_chunk(pictures, part, [stamps[one] for one in part])
        return
    # Spawned: a fork would copy whatever threads the caller has.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        parts = [origins[start : start + CHUNK] for start in range(0, len(origins), CHUNK)]
        marks = [[stamps[one] for one in part] for part in parts]
        try:
            for rows in pool.map(measure_chunk, [pictures] * len(parts), parts, marks):
                yield from rows
        except BrokenProcessPool:
            raise UserError(
                "a process that opens images was killed, perhaps for want of memory; what is measured is kept, give "
                "the same command again"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def measure_chunk(pictures: Pictures, origins: Sequence[str], stamps: Sequence[Stamp]) -> list[tuple[object, ...]]:
    """Open some images and measure each; rows as in `SCHEMA`."""
    return [_measure_one(pictures, origin, stamp) for origin, stamp in zip(origins, stamps, strict=True)]


def _measure_one(pictures: Pictures, origin: str, stamp: Stamp) -> tuple[object, ...]:
    head = (origin, stamp.size, stamp.mtime_ns)
    try:
        picture = pictures.open(origin)
    except UnreadableError as error:
        return (*head, str(error), *([None] * (len(SCHEMA) - len(head) - 1)))
    image = picture.image
    gray = image if image.mode == "L" else image.convert("L")
    small = gray.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    histogram = np.asarray(gray.histogram(), np.float64)
    levels = np.arange(256) / 255
    total = histogram.sum()
    mean = float(histogram @ levels / total)
    spread = float(np.sqrt(max(0.0, float(histogram @ levels**2 / total) - mean**2)))
    return (
        *head,
        None,
        picture.digest,
        hash_pixels(image),
        image.width,
        image.height,
        len(image.getbands()),
        picture.frames,
        picture.num_bytes,
        mean,
        spread,
        _measure_border(gray),
        hash_differences(gray),
        small.tobytes(),
    )


def _measure_border(gray: Image.Image) -> float:
    pixels = np.asarray(gray)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return float(edge.mean() / 255)


def hash_differences(gray: Image.Image) -> int:
    """Hash the course of brightness from left to right: 64 bits tell whether it rises between two of 9 x 8 fields.

    Rises of less than a fiftieth of the image's own contrast are none, so that noise in an even background does not
    count. After the difference hash of N. Krawetz (2013).
    """
    fields = np.asarray(gray.resize((9, 8), Image.Resampling.BOX), np.int16)
    least = max(1.0, float(fields.max() - fields.min()) / 50)
    bits = (np.diff(fields, axis=1) > least).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
