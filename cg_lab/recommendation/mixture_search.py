"""Search mixtures of a few subsets for those that a score puts first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cg_lab.planning.mixture import Spreader
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations

MOST_SOURCES = 120
"""Single subsets, the best ones, that mixtures are made of."""
BEAM = 60
"""Mixtures of each size, pairs first, that a further subset is added to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredMixture:
    """A mixture and its score."""

    subsets: tuple[str, ...]
    counts_S: NDArray[np.int64]
    score: float


class MixtureSearch:
    """Mixtures of one number of samples, spread evenly over their subsets as the planner does, and their scores.

    Parameters
    ----------
    relations
        Of the catalogue.
    num_samples
        Of every mixture, none beyond what its subsets have.
    score
        Of mixtures by their samples of each subset, shaped (M, S).

    """

    def __init__(
        self, relations: SubsetRelations, num_samples: int, score: Callable[[NDArray[np.int64]], FloatArray]
    ) -> None:
        self._index = relations.graph.index
        self._spreader = Spreader(relations.graph.subsets)
        self._num_samples = num_samples
        self._score = score

    def score(self, mixtures: Sequence[tuple[str, ...]]) -> list[ScoredMixture]:
        """Score some mixtures; best first, of equals the smaller one, then by name."""
        counts_MS = np.stack([self._count(mixture) for mixture in mixtures])
        scored = [
            ScoredMixture(subsets=mixture, counts_S=counts_S, score=float(value))
            for mixture, counts_S, value in zip(mixtures, counts_MS, self._score(counts_MS), strict=True)
        ]
        return sorted(scored, key=_rank)

    def search(self, allowed: tuple[str, ...], most_subsets: int) -> list[ScoredMixture]:
        """Score single subsets, pairs of the best, and larger mixtures that grow from the best pairs; best first."""
        if not allowed:
            return []
        found = self.score([(name,) for name in allowed])
        sources = sorted(mixture.subsets[0] for mixture in found[:MOST_SOURCES])
        wave = list(combinations(sources, 2))
        for _ in range(2, most_subsets + 1):
            if not wave:
                break
            scored = self.score(wave)
            found += scored
            wave = _grow(scored[:BEAM], sources)
        return sorted(found, key=_rank)

    def _count(self, mixture: tuple[str, ...]) -> NDArray[np.int64]:
        counts_S = np.zeros(len(self._index), np.int64)
        for part in self._spreader.build_mixture(mixture, self._num_samples, seed=0).parts:
            counts_S[self._index[part.subset]] = part.count
        return counts_S


def _rank(mixture: ScoredMixture) -> tuple[float, int, tuple[str, ...]]:
    return -mixture.score, len(mixture.subsets), mixture.subsets


def _grow(mixtures: Iterable[ScoredMixture], sources: Sequence[str]) -> list[tuple[str, ...]]:
    subsets = [mixture.subsets for mixture in mixtures]
    return sorted({tuple(sorted((*names, name))) for names in subsets for name in sources if name not in names})
