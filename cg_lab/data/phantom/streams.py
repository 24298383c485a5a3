"""Random numbers that depend on a sample's identity alone: a counter-based generator over whole batches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TRIANGLE_STD = 65536 / np.sqrt(6.0)
"""Standard deviation of the sum of two independent 16-bit uniforms."""


@lru_cache(maxsize=4096)
def hash_words(*words: str | int) -> int:
    """Hash words to 64 bits, the same on every machine.

    >>> hash_words("CT", 3) == hash_words("CT", 3), hash_words("CT", 3) == hash_words("CT3")
    (True, False)
    """
    text = "\x1f".join(f"{type(word).__name__}:{word}" for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix_bits(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit counters in place (the finaliser of SplitMix64; Steele, Lea, Flood, OOPSLA 2014, section 4)."""
    state ^= state >> np.uint64(30)
    state *= _MIX_1
    state ^= state >> np.uint64(27)
    state *= _MIX_2
    state ^= state >> np.uint64(31)
    return state


def shuffle_range(count: int, *words: str | int) -> NDArray[np.int64]:
    """Permute 0 .. count-1 in an order that the words alone decide."""
    return np.argsort(mix_bits(np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN + np.uint64(hash_words(*words))))


@dataclass(frozen=True, slots=True)
class Streams:
    """One random stream for each sample of a batch; draws are told apart by name, so their order is free."""

    states: NDArray[np.uint64]
    """One state for each sample."""

    @classmethod
    def for_samples(cls, sample_ids: NDArray[np.int64], *words: str | int) -> Streams:
        """Open the streams of the samples `sample_ids` in the space that `words` name."""
        counters = np.asarray(sample_ids).astype(np.uint64) * _GOLDEN
        return cls(mix_bits(counters + np.uint64(hash_words(*words))))

    def bits(self, name: str, index: int = 0) -> NDArray[np.uint64]:
        """Draw 64 bits for each sample."""
        return mix_bits(self.states ^ np.uint64(hash_words(name, index)))

    def uniform(self, name: str, low: float, high: float, index: int = 0) -> NDArray[np.floating]:
        """Draw from [low, high) for each sample, shaped (N, 1, 1) to meet images."""
        share = (self.bits(name, index) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        return (np.float32(low) + np.float32(high - low) * share)[:, None, None]

    def jitter(self, name: str, radius: float, index: int = 0) -> NDArray[np.floating]:
        """Draw from [-radius, radius) for each sample, shaped (N, 1, 1)."""
        return self.uniform(name, -radius, radius, index)

    def integers(self, name: str, high: int, index: int = 0) -> NDArray[np.int64]:
        """Draw from 0 .. high-1 for each sample, shaped (N,)."""
        return ((self.bits(name, index) >> np.uint64(32)) * np.uint64(high) >> np.uint64(32)).astype(np.int64)

    def noise_pair(self, name: str, image_size: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Draw two fields of uncorrelated noise, each (N, image_size, image_size) with mean 0 and variance 1.

        Sums and differences of two 16-bit uniforms stand for normal values: a triangular law is near enough for grain
        and ten times as cheap. One 64-bit hash serves two pixels.
        """
        num_pixels = image_size * image_size
        counters = np.arange(1, (num_pixels + 3) // 2, dtype=np.uint64) * _GOLDEN
        words = mix_bits(self.bits(name)[:, None] + counters[None, :])
        shorts = words.astype("<u8", copy=False).view("<u2").reshape(len(words), -1, 2)
        first, second = (shorts[:, :num_pixels, part].astype(np.float32) for part in (0, 1))
        shape = (len(words), image_size, image_size)
        scale = np.float32(1 / _TRIANGLE_STD)
        sums = ((first + second - np.float32(65535)) * scale).reshape(shape)
        return sums, ((first - second) * scale).reshape(shape)
