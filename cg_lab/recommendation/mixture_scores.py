"""Score mixtures for a target: by what finished fine-tunes tell, or by structure and features alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cg_lab.recommendation.mixture_search import MixtureSearch
from cg_lab.recommendation.subset_features import COLUMNS
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations
from cg_lab.recommendation.transfer_model import FEATURES, TransferModel, describe_mixtures

READ = 3.0
"""Weight of what is read off images, against the elements shown."""


def open_search(
    relations: SubsetRelations, model: TransferModel | None, target: str, num_samples: int
) -> MixtureSearch:
    """Score by the model, or by structure alone where there is none."""
    place = relations.graph.index[target]

    def score(counts_MS: NDArray[np.int64]) -> FloatArray:
        targets_M = np.full(len(counts_MS), place)
        if model is not None:
            return model.predict(relations, counts_MS, targets_M)
        return score_structure(describe_mixtures(relations, counts_MS, targets_M))

    return MixtureSearch(relations, num_samples, score)


def score_structure(described_MD: FloatArray) -> FloatArray:
    """Put first what shows most of the elements, then what shows most in its samples, with the target's labels.

    Where an untouched backbone was asked, elements count more that it can read off a subset's images, and so do subsets
    from which it reads the target's labels.
    """
    column = dict(zip((*FEATURES, *COLUMNS), described_MD.T, strict=False))
    score_M = 3 * column["shown"] + column["shared"] + column["labels"] - column["subsets"] / 10
    for name in ("decoded", "probed"):
        if name in column:
            score_M = score_M + READ * column[name]
    return score_M
