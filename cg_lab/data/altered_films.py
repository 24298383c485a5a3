"""Find images that show the same film in another cut: less a row of pixels, mirrored, or in another window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cg_lab.data.facts import THUMBNAIL
from cg_lab.data.lookalikes import Gallery, standardise

MOST_BITS = 6
"""Bits of 64 in which the difference hashes of thumbnails may differ; two of eight bands agree then."""
BANDS = 8
LEAST_CORRELATION = 0.98
MOST_ALIKE = 1_000
"""Images that share two bands beyond which these tell nothing; other bands find the films then."""
BLOCK = 50_000
"""Pairs that are compared at a time."""


def find_altered(gallery: Gallery, queries: NDArray[np.int64], references: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find for each query one reference, itself left out, that shows the same film or its mirror image.

    Returns
    -------
    For each image of the gallery the number of a reference, or -1.

    """
    plain = hash_thumbnails(gallery.thumbnails)
    references = np.unique(references[gallery.shows_something[references]])
    queries = np.unique(queries[gallery.shows_something[queries]])
    found = np.full(len(plain), -1, np.int64)
    for thumbnails in (gallery.thumbnails, mirror(gallery.thumbnails)):
        hashes = plain if thumbnails is gallery.thumbnails else hash_thumbnails(thumbnails)
        for bands in combinations(range(BANDS), 2):
            still = queries[found[queries] < 0]
            for rows, columns in _pair(_cut(hashes[still], bands), _cut(plain[references], bands)):
                one, other = still[rows], references[columns]
                near = (one != other) & (np.bitwise_count(hashes[one] ^ plain[other]) <= MOST_BITS)
                one, other = one[near], other[near]
                shown = standardise(thumbnails[one]), standardise(gallery.thumbnails[other])
                alike = np.einsum("ij,ij->i", *shown) >= LEAST_CORRELATION
                found[one[alike]] = other[alike]
    return found


def mirror(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Swap left and right."""
    return thumbnails.reshape(-1, THUMBNAIL, THUMBNAIL)[:, :, ::-1].reshape(thumbnails.shape)


def hash_thumbnails(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash the course of brightness of thumbnails (n, 256) as `cg_lab.data.facts.hash_differences` does of images.

    A thumbnail is mirrored exactly, which the hash of an image is not: 8 x 9 fields of it are compared.
    """
    edges = np.arange(10) * THUMBNAIL / 9
    places = np.arange(THUMBNAIL)
    weights = np.clip(np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places), 0, None)
    hashes: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    for start in range(0, len(thumbnails), 16_384):
        part = thumbnails[start : start + 16_384].reshape(-1, 8, 2, THUMBNAIL).mean(axis=2, dtype=np.float32)
        fields = np.round(part @ (weights / weights.sum(axis=1, keepdims=True)).T.astype(np.float32))
        least = np.maximum(1, np.ptp(fields, axis=(1, 2)) / 50)
        bits = (np.diff(fields, axis=2) > least[:, None, None]).reshape(len(part), 64)
        hashes.append(np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64))
    return np.concatenate(hashes)


def _cut(hashes: NDArray[np.uint64], bands: tuple[int, int]) -> NDArray[np.uint64]:
    width, mask = np.uint64(64 // BANDS), np.uint64((1 << (64 // BANDS)) - 1)
    first, second = ((hashes >> np.uint64(band) * width) & mask for band in bands)
    return (first << width) | second


def _pair(
    queries: NDArray[np.uint64], references: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Give places of equal keys, so many at a time."""
    order = np.argsort(references, kind="stable")
    first = np.searchsorted(references, queries, "left", sorter=order)
    counts = np.searchsorted(references, queries, "right", sorter=order) - first
    counts[counts > MOST_ALIKE] = 0
    ends = np.cumsum(counts)
    start = 0
    while start < len(queries) and ends[-1] > (before := ends[start - 1] if start else 0):
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK, "right")))
        some = counts[start:stop]
        rows = np.repeat(np.arange(start, stop), some)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(some) - some, some)
        yield rows, order[first[rows] + within]
        start = stop
