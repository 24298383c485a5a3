"""Predict what training on a mixture does for a target, from what other mixtures did for other targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from cg_lab.recommendation.subset_relations import BoolArray, FloatArray, SubsetRelations

FEATURES = ("shared", "shown", "shows_all", "near", "labels", "subsets", "samples")
"""What a mixture is described by, for a target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What fine-tuned models reached, seeds of a mixture taken together: a row a mixture and target."""

    counts_NS: NDArray[np.int64]
    """Training samples of each subset."""
    targets_N: NDArray[np.int64]
    """Position of the subset that was asked about, which the mixture shows nothing of."""
    skills_N: FloatArray
    """Accuracy above a guess, as a share of what there is above it: 0 is a guess, 1 is all right."""
    seeds_N: NDArray[np.int64]
    """Models that stand behind each."""

    def keep(self, is_kept_N: BoolArray) -> Observations:
        """Give some of the rows."""
        return Observations(
            counts_NS=self.counts_NS[is_kept_N],
            targets_N=self.targets_N[is_kept_N],
            skills_N=self.skills_N[is_kept_N],
            seeds_N=self.seeds_N[is_kept_N],
        )

    def hide(self, hidden: Sequence[int]) -> Observations:
        """Leave out what was asked about some subsets, and what was trained on them."""
        is_asked = np.isin(self.targets_N, hidden)
        return self.keep(~is_asked & ~self.counts_NS[:, list(hidden)].any(axis=1))


class TransferModel:
    """A Bayesian linear regression (MacKay 1992) on what mixtures show of targets, with products of two features.

    What an untouched backbone sees stays out of it: with a dozen targets it did worse for it in the world that it was
    chosen on.
    """

    def __init__(self, relations: SubsetRelations, observed: Observations) -> None:
        features = PolynomialFeatures(2, interaction_only=True, include_bias=False)
        self._pipeline: Pipeline = make_pipeline(features, StandardScaler(), BayesianRidge())
        described = describe_mixtures(relations, observed.counts_NS, observed.targets_N)[:, : len(FEATURES)]
        self._pipeline.fit(described, observed.skills_N, bayesianridge__sample_weight=observed.seeds_N)

    def predict(
        self, relations: SubsetRelations, counts_NS: NDArray[np.int64], targets_N: NDArray[np.int64]
    ) -> FloatArray:
        """Predict the skill of each mixture on its target, over the factors that it was made with; at most 1."""
        described = describe_mixtures(relations, counts_NS, targets_N)[:, : len(FEATURES)]
        return np.minimum(self._pipeline.predict(described), 1.0)


def describe_mixtures(
    relations: SubsetRelations, counts_NS: NDArray[np.int64], targets_N: NDArray[np.int64]
) -> FloatArray:
    """Describe mixtures for their targets, without any result.

    Returns
    -------
    The columns that `FEATURES` names: the mean share of samples that show an element of the target, the share of its
    elements that any sample shows, whether that is all, the share of samples that show all but one or more, the mean
    overlap of labels, and logarithms of the effective number of subsets and of the number of samples. Few enough that
    a dozen targets can tell them apart; finer ones, by factor, did no better on phantoms. Behind them stands the mean
    over samples of what an untouched backbone tells, where it was asked.

    """
    samples_N = counts_NS.sum(axis=1)
    shares_NS = counts_NS / samples_N[:, None]
    is_in_NS = counts_NS > 0
    shared_NSF = relations.shared_STF[:, targets_N].swapaxes(0, 1)
    labels_NS = relations.labels_ST[:, targets_N].T
    shown_NF = (is_in_NS[:, :, None] & shared_NSF).any(axis=1)
    is_near_NS = shared_NSF.sum(axis=2) >= shared_NSF.shape[2] - 1
    described_ND: FloatArray = np.column_stack(
        [
            np.einsum("ns,nsf->nf", shares_NS, shared_NSF).mean(axis=1),
            shown_NF.mean(axis=1),
            shown_NF.all(axis=-1),
            (shares_NS * is_near_NS).sum(axis=1),
            (shares_NS * labels_NS).sum(axis=1),
            -np.log(np.square(shares_NS).sum(axis=1)),
            np.log2(samples_N),
            np.einsum("ns,nsk->nk", shares_NS, relations.extra_STK[:, targets_N].swapaxes(0, 1)),
        ]
    ).astype(np.float64)
    return described_ND
