"""Find images that show the same film: stored again, scaled, brightened or compressed otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 3
"""Bits of 64 in which the difference hashes of look-alikes may differ; one band more than that then agrees."""
LEAST_CORRELATION = 0.99
"""Of the thumbnails of look-alikes."""
LEAST_SPREAD = 0.01
"""Standard deviation of brightness below which an image shows nothing that could be compared."""
BLOCK = 4_000_000
"""Pairs of hashes that are compared at a time."""
CANDIDATES = 100_000
"""Pairs of thumbnails that are compared at a time."""


class Gallery:
    """Images by what they look like.

    Two of them are look-alikes if their difference hashes differ in three bits at most and their 16 x 16 thumbnails
    correlate with 0.99 or more. Hashes that differ in three bits agree in one of four bands of 16, so that only images
    that share a band are compared.
    """

    def __init__(self, hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], spread: NDArray[np.float32]) -> None:
        """Take facts of `n` images: hashes (n,), thumbnails (n, 256), standard deviation of brightness (n,)."""
        self.hashes = hashes
        self.thumbnails = thumbnails
        self.shows_something = spread >= LEAST_SPREAD

    def match(self, queries: NDArray[np.int64], references: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find one look-alike of each query among the references, itself left out.

        Parameters
        ----------
        queries, references
            Numbers of images.

        Returns
        -------
        For each query the number of a reference, or -1.

        """
        found = np.full(len(self.hashes), -1, np.int64)
        queries = np.unique(queries[self.shows_something[queries]])
        references = np.unique(references[self.shows_something[references]])
        for band in range(MAX_BITS + 1):
            queries = queries[found[queries] < 0]
            if len(queries):
                self._match_band(band, queries, references, found)
        return found

    def _match_band(
        self, band: int, queries: NDArray[np.int64], references: NDArray[np.int64], found: NDArray[np.int64]
    ) -> None:
        width = 64 // (MAX_BITS + 1)

        def cut(images: NDArray[np.int64]) -> NDArray[np.uint64]:
            return (self.hashes[images] >> np.uint64(band * width)) & np.uint64((1 << width) - 1)

        query_keys, reference_keys = cut(queries), cut(references)
        queries, query_keys = _sort_by(queries, query_keys)
        references, reference_keys = _sort_by(references, reference_keys)
        keys, starts = np.unique(query_keys, return_index=True)
        ends = np.append(starts[1:], len(queries))
        first = np.searchsorted(reference_keys, keys, "left")
        last = np.searchsorted(reference_keys, keys, "right")
        for start, end, low, high in zip(starts, ends, first, last, strict=True):
            if low < high:
                self._match_bucket(queries[start:end], references[low:high], found)

    def _match_bucket(
        self, queries: NDArray[np.int64], references: NDArray[np.int64], found: NDArray[np.int64]
    ) -> None:
        step = max(1, BLOCK // len(references))
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            distance = np.bitwise_count(self.hashes[part][:, None] ^ self.hashes[references][None, :])
            rows, columns = np.nonzero(distance <= MAX_BITS)
            for low in range(0, len(rows), CANDIDATES):
                one, other = part[rows[low : low + CANDIDATES]], references[columns[low : low + CANDIDATES]]
                open_ones = (found[one] < 0) & (one != other)
                one, other = one[open_ones], other[open_ones]
                alike = self._correlate(one, other) >= LEAST_CORRELATION
                found[one[alike]] = other[alike]

    def _correlate(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float32]:
        """Correlate thumbnails pair by pair."""
        return np.einsum("ij,ij->i", standardise(self.thumbnails[one]), standardise(self.thumbnails[other]))


def standardise(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give thumbnails (n, 256) a mean of 0 and a length of 1, so that their products are correlations."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)


def _sort_by(images: NDArray[np.int64], keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    order = np.argsort(keys, kind="stable")
    return images[order], keys[order]
