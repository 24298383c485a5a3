"""Which subsets to train on for a target that has few images, from structure and from finished fine-tunes."""

from __future__ import annotations

from cg_lab.recommendation.ranked_mixtures import RankedMixture, Recommendation, rank_mixtures

__all__ = ["RankedMixture", "Recommendation", "rank_mixtures"]
