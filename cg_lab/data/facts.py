"""What is known of every image once it has been opened: hashes, size, brightness; measured once, on all cores."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import compress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from cg_lab.data.pictures import Pictures, Stamp, UnreadableError, hash_pixels
from cg_lab.data.places import Place
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
SHARED = ("error", "digest", "pixels", "thumbnail")
"""Columns that are held as a dictionary: images of equal content share them."""
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
    known = read_facts(folder)
    origins = pa.array(stamps, pa.string())
    missing = dict(compress(stamps.items(), ~_find_fresh(known, origins, stamps)))
    if missing:
        known = _join([known, measure_anew(pictures, missing, folder, tell, workers)])
    return known.take(pa.array(_find_newest(known, origins)))


def read_facts(folder: Path, below: str | None = None) -> pa.Table:
    """Give all that was measured in the order of time, or that of images below a folder of their own place."""
    files = sorted(folder.glob(f"facts-v{FACTS_SCHEMA}-*.parquet"))
    bounds = [("origin", ">=", f"{below}/"), ("origin", "<", f"{below}0")] if below else None  # 0 comes after /
    tables: list[pa.Table] = []
    for file in files:
        try:
            tables.append(_encode(pq.read_table(file, schema=SCHEMA, filters=bounds)))
        except (OSError, pa.ArrowException):
            file.unlink(missing_ok=True)  # it is measured again
    return _join(tables)


def _encode(table: pa.Table) -> pa.Table:
    """Keep once what files of equal content have in common."""
    for number, name in enumerate(SCHEMA.names):
        if name in SHARED:
            table = table.set_column(number, name, table[name].dictionary_encode())
    return table


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables([_encode(SCHEMA.empty_table()), *tables]).unify_dictionaries().combine_chunks()


def _find_newest(known: pa.Table, origins: pa.Array) -> NDArray[np.int64]:
    """Give the row of each image's last measurement, or -1."""
    backwards = known["origin"].take(pa.array(np.arange(len(known))[::-1]))
    rows = find_places(origins, backwards)
    return np.where(rows < 0, -1, len(known) - 1 - rows)


def find_places(values: pa.Array, among: pa.ChunkedArray) -> NDArray[np.int64]:
    """Give the first place of each value among others, or -1."""
    found = pc.index_in(values, value_set=among)  # pyright: ignore[reportAttributeAccessIssue] (made at run time)
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _find_fresh(known: pa.Table, origins: pa.Array, stamps: Mapping[str, Stamp]) -> NDArray[np.bool_]:
    """Tell which images have not changed since they were measured."""
    newest = _find_newest(known, origins)
    if not len(known):
        return newest >= 0
    size = np.fromiter((stamp.size for stamp in stamps.values()), np.int64, len(stamps))
    mtime = np.fromiter((stamp.mtime_ns for stamp in stamps.values()), np.int64, len(stamps))
    is_same = (known["size"].to_numpy()[newest] == size) & (known["mtime_ns"].to_numpy()[newest] == mtime)
    return (newest >= 0) & is_same


def facts_folder(folder: Path, place: Place) -> Path:
    """Say where the facts of images that lie in a place are kept."""
    return folder / "facts" / content_id("place", 1, [place.kind, place.root])


def measure_anew(
    pictures: Pictures, stamps: dict[str, Stamp], folder: Path, tell: Tell | None = None, workers: int | None = None
) -> pa.Table:
    """Give the facts of images in the order of `stamps`, whatever is known of them; see `measure_images`."""
    origins = list(stamps)
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
            written.append(_encode(table))
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
    return _join(written)


def _measure(
    pictures: Pictures, origins: list[str], stamps: dict[str, Stamp], workers: int | None
) -> Iterator[tuple[object, ...]]:
    """Give the rows of images in their order; a file that has several names is opened once."""
    names = Counter(inode for origin in origins if (inode := stamps[origin].inode) is not None)
    opened: dict[tuple[int, ...], str] = {}
    for origin in origins:
        inode = stamps[origin].inode
        if inode is not None and names[inode] > 1:
            opened.setdefault(inode, origin)
    first = [origin for origin in origins if opened.get(stamps[origin].inode or (), origin) == origin]
    rows = _open_all(pictures, first, stamps, workers)
    known: dict[tuple[int, ...] | None, tuple[object, ...]] = {}
    for origin in origins:
        inode = stamps[origin].inode
        if inode in known:
            yield (origin, *known[inode][1:])
            continue
        row = next(rows)
        if inode in opened:
            known[inode] = row
        yield row


def _open_all(
    pictures: Pictures, origins: list[str], stamps: dict[str, Stamp], workers: int | None
) -> Iterator[tuple[object, ...]]:
    count = workers or len(os.sched_getaffinity(0))
    parts = [origins[start : start + CHUNK] for start in range(0, len(origins), CHUNK)]
    marks = [[stamps[one] for one in part] for part in parts]
    if len(origins) <= FEW or count == 1:
        for part, mark in zip(parts, marks, strict=True):
            yield from measure_chunk(pictures, part, mark)
        return
    # Spawned: a fork would copy whatever threads the caller has.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
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
