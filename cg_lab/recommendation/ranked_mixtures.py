"""Rank mixtures for a target, say what each is expected to reach, why, and how far that is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import join
from cg_lab.recommendation.calibration import Calibration, calibrate
from cg_lab.recommendation.finished_answers import Evidence
from cg_lab.recommendation.mixture_search import MOST_SOURCES, MixtureSearch, ScoredMixture
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations, relate_subsets
from cg_lab.recommendation.transfer_model import FEATURES, TransferModel, describe_mixtures

SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""
Outlook = Literal["likely", "unlikely", "unknown"]
MOST_SUBSETS = 5
"""In a mixture that is looked at, beside all related ones together."""
LIKELY = 0.6
"""Confidence of the interval whose lower end must show help for it to be likely: that leaves one in five below."""
MARGIN = 0.05
"""Skill that counts as help."""
MOST_USEFUL = 3
"""Combinations that are told as worth annotating."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Who in a mixture shows an element of the target."""

    factor: str
    elements: tuple[str, ...]
    subsets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedMixture:
    """One mixture and what is expected of it."""

    subsets: tuple[str, ...]
    samples: tuple[int, ...]
    """Of each subset."""
    accuracy: float | None
    """That is expected; None where no finished fine-tune tells."""
    low: float | None
    high: float | None
    """Ends of the prediction interval."""
    gain: float | None
    """Expected accuracy less that of all related subsets together, at as many samples."""
    gain_low: float | None
    gain_high: float | None
    shown: tuple[Shown, ...]
    """By factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsefulSubset:
    """A combination of elements that the catalogue does not have, and what it would add if it were annotated."""

    elements: tuple[str, ...]
    accuracy: float
    """Expected of the best mixture with it."""
    gain: float
    """Less that of the best mixture without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to train on for one target, and what stands behind it."""

    schema: int = SCHEMA
    target: str
    chance: float
    """Accuracy of a guess."""
    num_samples: int
    confidence: float
    """Of all intervals."""
    mixtures: tuple[RankedMixture, ...]
    """Best first."""
    all_related: RankedMixture | None
    """Training on all that shares an element with the target; None if nothing does."""
    single: str | None
    """The subset that is expected to help most by itself; None if none may be trained on."""
    outlook: Outlook
    """Whether the first mixture is likely to lift a model above a guess."""
    reason: str
    calibration: Calibration | None
    studies: tuple[str, ...]
    """Whose fine-tunes were looked at."""
    num_finetunes: int
    num_observations: int
    """Mixtures times targets."""
    num_left_out: int
    """Results that were not looked at since they are about the target."""
    num_foreign: int
    """Results of another backbone, recipe or other images."""
    useful: tuple[UsefulSubset, ...]
    """Combinations that would help if they were annotated, most useful first."""


def rank_mixtures(
    relations: SubsetRelations, evidence: Evidence, target: str, num_samples: int, *, most: int, confidence: float
) -> Recommendation:
    """Rank all mixtures of up to five subsets for a target at one number of samples.

    Parameters
    ----------
    relations
        Of the catalogue.
    evidence
        What finished fine-tunes tell, the target's own questions left out.
    target
        Name of the subset that is to be answered.
    num_samples
        That each mixture trains on, where its subsets have as many.
    most
        Mixtures that are told.
    confidence
        Of the intervals.

    """
    graph, allowed = relations.graph, relations.list_allowed(target)
    calibration = calibrate(relations, evidence.observed)
    model = None if calibration is None else TransferModel(relations, evidence.observed)
    search = _open_search(relations, model, target, num_samples)
    found = search.search(allowed, MOST_SUBSETS)
    related = graph.names(
        join(np.flatnonzero(relations.find_related(graph.index[target])).tolist(), len(graph.subsets))
    )
    whole = search.score([related])[0] if related else None
    if calibration is not None and calibration.prefers_all_related and whole is not None:
        found = [whole, *(mixture for mixture in found if mixture.subsets != whole.subsets)]
    scale = _Scale(graph[target], calibration, confidence)
    mixtures = tuple(_describe(graph, target, mixture, scale, whole) for mixture in found[:most])
    outlook, reason = _judge(found, scale)
    return Recommendation(
        target=target,
        chance=graph[target].chance,
        num_samples=num_samples,
        confidence=confidence,
        mixtures=mixtures,
        all_related=None if whole is None else _describe(graph, target, whole, scale, whole),
        single=next((mixture.subsets[0] for mixture in found if len(mixture.subsets) == 1), None),
        outlook=outlook,
        reason=reason,
        calibration=calibration,
        studies=evidence.studies,
        num_finetunes=evidence.num_finetunes,
        num_observations=len(evidence.observed.skills_N),
        num_left_out=evidence.num_left_out,
        num_foreign=evidence.num_foreign,
        useful=_find_useful(relations, model, target, num_samples, scale, found) if model and found else (),
    )


class _Scale:
    """Skills of a target as accuracies, with their intervals."""

    def __init__(self, target: Subset, calibration: Calibration | None, confidence: float) -> None:
        self.chance = target.chance
        self.calibration = calibration
        self._confidence = confidence

    def expect(self, skill: float) -> float:
        """Give the accuracy that is expected where a skill is predicted."""
        mean = self.calibration.accuracy.mean if self.calibration else 0.0
        return self._to_accuracy(min(1.0, skill + mean))

    def bound(self, skill: float, calibration: Calibration) -> tuple[float, float]:
        """Give the ends of the prediction interval of an accuracy."""
        low, high = calibration.accuracy.bound(skill, self._confidence)
        return max(0.0, self._to_accuracy(low)), min(1.0, self._to_accuracy(high))

    def bound_gain(self, skill: float, calibration: Calibration) -> tuple[float, float]:
        """Give the ends of the prediction interval of a difference of accuracies."""
        low, high = calibration.gain.bound(skill, self._confidence)
        return max(-1.0, low * (1 - self.chance)), min(1.0, high * (1 - self.chance))

    def _to_accuracy(self, skill: float) -> float:
        return self.chance + skill * (1 - self.chance)


def _open_search(
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
    """Put first what shows most of the elements, then what shows most in its samples, with the target's labels."""
    column = {name: described_MD[:, place] for place, name in enumerate(FEATURES)}
    return 3 * column["shown"] + column["shared"] + column["labels"] - column["subsets"] / 10


def _describe(
    graph: MatGraph, target: str, mixture: ScoredMixture, scale: _Scale, whole: ScoredMixture | None
) -> RankedMixture:
    calibration = scale.calibration
    low, high = scale.bound(mixture.score, calibration) if calibration else (None, None)
    accuracy = scale.expect(mixture.score) if calibration else None
    is_compared = calibration is not None and whole is not None and whole.subsets != mixture.subsets
    gain = scale.expect(mixture.score) - scale.expect(whole.score) if is_compared and whole else None
    gain_low, gain_high = (
        scale.bound_gain(mixture.score - whole.score, calibration)
        if is_compared and whole and calibration
        else (None, None)
    )
    elements = zip(graph.factors, graph[target].elements, strict=True)
    return RankedMixture(
        subsets=mixture.subsets,
        samples=tuple(int(mixture.counts_S[graph.index[name]]) for name in mixture.subsets),
        accuracy=accuracy,
        low=low,
        high=high,
        gain=gain,
        gain_low=gain_low,
        gain_high=gain_high,
        shown=tuple(
            Shown(
                factor=factor,
                elements=values,
                subsets=tuple(
                    name for name in mixture.subsets if not {*graph[name].elements[place]}.isdisjoint(values)
                ),
            )
            for place, (factor, values) in enumerate(elements)
        ),
    )


def _judge(found: list[ScoredMixture], scale: _Scale) -> tuple[Outlook, str]:
    """Say whether help is likely, and why."""
    calibration = scale.calibration
    if not found:
        return "unlikely", "no subset with training samples may be trained on for it"
    if calibration is None:
        return "unknown", "too few finished fine-tunes tell what training does for other targets"
    low, _ = calibration.accuracy.bound(found[0].score, LIKELY)
    if low <= MARGIN:
        return "unlikely", "on targets held out like this one, such predictions were not surely above a guess"
    return "likely", "on targets held out like this one, four in five such predictions came out above a guess"


def _find_useful(
    relations: SubsetRelations,
    model: TransferModel,
    target: str,
    num_samples: int,
    scale: _Scale,
    found: list[ScoredMixture],
) -> tuple[UsefulSubset, ...]:
    """Try combinations that differ from the target in one element and that no subset is."""
    graph, subset = relations.graph, relations.graph[target]
    have = {part.own for part in graph.subsets}
    best = scale.expect(found[0].score)
    sources = [mixture.subsets[0] for mixture in found if len(mixture.subsets) == 1][:MOST_SOURCES]
    near = [graph[name] for name in sorted([*sources, target])]
    useful: list[UsefulSubset] = []
    for factor in range(len(graph.factors)):
        for value in graph.list_values(factor):
            own = (*subset.own[:factor], value, *subset.own[factor + 1 :])
            if own in have:
                continue
            new = _make_subset(graph, own, num_samples, subset)
            search = _open_search(relate_subsets(MatGraph((*near, new), graph.factors)), model, target, num_samples)
            mixtures = [(_NEW,), *((name, _NEW) for name in sorted(sources))]
            accuracy = scale.expect(search.score(mixtures)[0].score)
            useful.append(UsefulSubset(elements=own, accuracy=accuracy, gain=accuracy - best))
    useful.sort(key=lambda part: (-part.gain, part.elements))
    return tuple(part for part in useful[:MOST_USEFUL] if part.gain > 0)


_NEW = "\x7fnew"
"""Name of a subset that there is not yet; no catalogue has such a one, and it comes last."""


def _make_subset(graph: MatGraph, own: tuple[str, ...], num_samples: int, target: Subset) -> Subset:
    """Make a subset of some elements, with the labels of its task, which the last factor says."""
    alike = next((part for part in graph.subsets if part.own[-1] == own[-1]), target)
    elements = tuple((value,) for value in own)
    return replace(alike, name=_NEW, elements=elements, num_train=num_samples, num_test=0)
