"""How much one training differs from another: each arm's variance over seeds, moderated over a study's targets.

A few seeds tell little about how trainings differ, and now and then happen to agree. So what each target's seeds say is
drawn towards the mean of all targets, the more the less targets differ (after Smyth 2004, Stat. Appl. Genet. Mol. Biol.
3(1)). Two things are other than there, since few targets, of which some vary much, are the rule here and not thousands
of genes: the typical variance is the arithmetic mean, so that a target that varies much is never taken for one that
hardly does, and how much targets differ is itself drawn towards an expectation that counts as a few targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cg_lab.analysis.bootstrap import FloatArray, Scores
from cg_lab.analysis.components import take_groups
from cg_lab.planning.study_power import EXPECTED_FREEDOM, FEWEST_TARGETS
from cg_lab.student import find_trigamma, invert_trigamma
from cg_lab.study import FEWEST_SEEDS

EXPECTED_WEIGHT = 6.0
"""Targets that the expectation counts as."""
MOST_FREEDOM = 10.0
"""However alike targets are."""
SMALLEST = 0.01
"""Of the floor: what logarithms are taken of is no smaller, since seeds may agree to the last answer."""
CAUTION = 0.5
"""Standard errors by which the typical variance of an arm of two seeds is raised: few pairs of seeds say little."""
NORMAL = 1.959964
"""Of Wilson's interval where all answers are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedScores:
    """The answers of one arm to one target, or of many alike at once, reduced to what inference needs."""

    means_G: FloatArray  # ..., group: over seeds
    num_seeds: int
    """0 for the untouched backbone, which does not vary."""
    variance: FloatArray
    """Of a seed's mean, over seeds; not a number where there are fewer than two."""
    noise: FloatArray
    """What seeds that are equally good would differ by, since they answer single questions differently; 0 of one."""
    floor: FloatArray
    """The least that `variance` is taken for."""

    @property
    def estimate(self) -> FloatArray:
        """Mean over seeds and questions."""
        return self.means_G.mean(axis=-1)

    @property
    def freedom(self) -> int:
        """Of `variance`."""
        return max(0, self.num_seeds - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPrior:
    """What is typical of an arm's seeds by earlier studies, or by another arm."""

    variance: FloatArray | float
    freedom: float
    """Of the seeds that it was made from; no more than `EXPECTED_FREEDOM` count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeratedVariance:
    """Variance of one seed's mean, by target."""

    variance: FloatArray
    freedom: FloatArray
    """0 where nothing is known; `variance` is 0 there."""


def reduce_seeds(values_SG: FloatArray, *, is_trained: bool = True) -> SeedScores:
    """Reduce answers to means, and to the variance over seeds.

    Parameters
    ----------
    values_SG
        Of shape (..., seed, group), as `take_groups` gives them.
    is_trained
        False for the untouched backbone, whose one row holds for all seeds.

    """
    num_seeds, num_groups = values_SG.shape[-2:]
    means_G = values_SG.mean(axis=-2)
    wilson = (NORMAL / (num_groups + NORMAL**2)) ** 2
    if num_seeds < 2:
        empty = np.zeros(means_G.shape[:-1])
        return SeedScores(
            means_G=means_G,
            num_seeds=int(is_trained),
            variance=np.full_like(empty, np.nan),
            noise=empty,
            floor=empty + wilson,
        )
    variance = values_SG.mean(axis=-1).var(axis=-1, ddof=1)
    within = values_SG.var(axis=-2, ddof=1).mean(axis=-1)  # of one group's answers, over seeds
    rest = (within - variance) * num_groups / (num_groups - 1) if num_groups > 1 else np.zeros_like(variance)
    noise = np.maximum(rest, 0) / num_groups
    return SeedScores(
        means_G=means_G, num_seeds=num_seeds, variance=variance, noise=noise, floor=np.maximum(noise, wilson)
    )


def reduce_scores(scores: Scores, *, is_trained: bool = True) -> SeedScores:
    """Reduce one arm's right and wrong answers, patients and other groups as wholes."""
    return reduce_seeds(take_groups(scores), is_trained=is_trained)


def borrow_variance(main_T: FloatArray) -> SeedPrior:
    """Give the prior of an arm of one or two seeds in a study of few targets: that its seeds differ as the main arm's.

    It counts for one degree of freedom: enough to keep two seeds that happen to agree from being believed.
    """
    return SeedPrior(variance=main_T.mean(axis=-1, keepdims=True), freedom=1.0)


def find_typical(variance_T: FloatArray, floor_T: FloatArray, freedom_T: FloatArray) -> ModeratedVariance:
    """Find the typical variance of a study's targets, and the degrees of freedom that it counts for.

    These follow from how much the logarithms of the targets' variances differ beyond what few seeds explain: their
    variance is `trigamma(d / 2) + trigamma(d0 / 2)` (Smyth 2004, section 6.2).

    Parameters
    ----------
    variance_T, floor_T, freedom_T
        Of shape (..., target); degrees of freedom 0 mark targets that tell nothing.

    Returns
    -------
    Of shape (..., 1); degrees of freedom 0 with fewer than `FEWEST_TARGETS` targets that tell something.

    """
    tells_T = freedom_T > 0
    count = tells_T.sum(axis=-1, keepdims=True)
    share_T = tells_T / np.maximum(count, 1)
    variance = (np.where(tells_T, variance_T, 0.0) * share_T).sum(axis=-1, keepdims=True)
    total = (tells_T * freedom_T).sum(axis=-1, keepdims=True)
    is_pairs = freedom_T.max(axis=-1, keepdims=True) < FEWEST_SEEDS - 1
    variance = variance * np.where(is_pairs, 1 + CAUTION * np.sqrt(2 / np.maximum(total, 1)), 1.0)
    logs_T = np.log(np.where(tells_T, np.maximum(variance_T, floor_T * SMALLEST), 1.0))
    apart_T = logs_T - (logs_T * share_T).sum(axis=-1, keepdims=True)
    explained = (find_trigamma(np.where(tells_T, freedom_T, 1.0) / 2) * share_T).sum(axis=-1, keepdims=True)
    expected = find_trigamma(EXPECTED_FREEDOM / 2)
    found = (tells_T * apart_T**2).sum(axis=-1, keepdims=True) - (count - 1) * explained
    beyond = (found + EXPECTED_WEIGHT * expected) / (count - 1 + EXPECTED_WEIGHT)
    freedom = 2 * invert_trigamma(np.maximum(beyond, find_trigamma(MOST_FREEDOM / 2)))
    return ModeratedVariance(variance=variance, freedom=np.where(count >= FEWEST_TARGETS, freedom, 0.0))


def moderate_variance(
    variance_T: FloatArray, floor_T: FloatArray, freedom_T: ArrayLike, prior: SeedPrior | None = None
) -> ModeratedVariance:
    """Draw each target's variance over seeds towards what is typical of all.

    Degrees of freedom are bounded: those of the target's own seeds and of the typical variance together, never more
    than all seeds of the study have. A target of one seed has the typical variance. With too few targets the `prior`
    stands in; without one each target goes by its own seeds alone, and one of a single seed by nothing.

    Parameters
    ----------
    variance_T, floor_T, freedom_T
        Of shape (..., target), as `SeedScores` has them.
    prior
        Of earlier studies.

    """
    free_T: FloatArray = np.broadcast_to(np.asarray(freedom_T, dtype=np.float64), variance_T.shape)
    typical = find_typical(variance_T, floor_T, free_T)
    total: FloatArray = free_T.sum(axis=-1, keepdims=True)
    variance, weight = typical.variance, typical.freedom
    if prior is not None:
        is_short = weight == 0
        variance = np.where(is_short, prior.variance, variance)
        weight = np.where(is_short, min(EXPECTED_FREEDOM, prior.freedom), weight)
        total = np.where(is_short, total + prior.freedom, total)
    whole_T = weight + free_T
    own_T = np.where(free_T > 0, variance_T, 0.0)
    mixed_T = (weight * variance + free_T * own_T) / np.where(whole_T > 0, whole_T, 1.0)
    return ModeratedVariance(
        variance=np.where(whole_T > 0, np.maximum(floor_T, mixed_T), 0.0), freedom=np.minimum(whole_T, total)
    )
