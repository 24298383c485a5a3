"""Rank mixtures for a target, say what each is expected to reach, why, and how far that is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.members import join
from cg_lab.recommendation.calibration import Calibration, calibrate
from cg_lab.recommendation.finished_answers import Evidence
from cg_lab.recommendation.mixture_scores import open_search
from cg_lab.recommendation.mixture_search import ScoredMixture
from cg_lab.recommendation.subset_features import COLUMNS
from cg_lab.recommendation.subset_relations import SubsetRelations
from cg_lab.recommendation.transfer_model import TransferModel
from cg_lab.recommendation.useful_subsets import UsefulSubset, find_useful
from cg_lab.recommendation.validation_answers import ValidatedMixture

SCHEMA = 1
"""Of what `--json` prints; raised when a field goes or changes its meaning."""
Outlook = Literal["likely", "unlikely", "unknown"]
MOST_SUBSETS = 5
"""In a mixture that is looked at, beside all related ones together."""
LIKELY = 0.6
"""Confidence of the interval whose lower end must show help for it to be likely: that leaves one in five below."""
MARGIN = 0.05
"""Skill that counts as help."""


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
class SourceView:
    """What an untouched model sees of a subset's training images, for the target."""

    subset: str
    logme: float
    """Evidence of a linear reading of its own labels, a sample and label; it does not count in the order."""
    decoded: float
    """How well the elements that it shares with the target are read off it as elsewhere; 0 is a guess, 1 all right."""
    similar: float | None
    """Cosine of its mean features and the target's; it does not count in the order."""
    probed: float | None
    """How well the target's labels are read off its images by a reading of this subset's; 0 is a guess, 1 all right."""


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
    source_views: tuple[SourceView, ...] = ()
    """What an untouched model sees of the first mixture's subsets; empty where it was not asked."""
    num_images: int = 0
    """Training images of each subset that it was shown, at most."""
    num_target_images: int = 0
    """Training images of the target that were looked at, by it or by fine-tunes; never a test image."""
    validated: tuple[ValidatedMixture, ...] = ()
    """Mixtures whose fine-tunes were asked about these images, best first: where there are any, these come first."""


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
    search = open_search(relations, model, target, num_samples)
    found = search.search(allowed, MOST_SUBSETS)
    if calibration is not None and calibration.prefers_structure:
        plain = open_search(relations, None, target, num_samples).search(allowed, MOST_SUBSETS)[:most]
        first = {mixture.subsets: place for place, mixture in enumerate(plain)}
        found.sort(key=lambda mixture: first.get(mixture.subsets, most))
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
        useful=find_useful(relations, model, target, num_samples, scale.expect, found) if model and found else (),
    )


def show_views(relations: SubsetRelations, found: Recommendation) -> Recommendation:
    """Add what an untouched model sees of the first mixture's subsets."""
    if not relations.extra_STK.size or not found.mixtures:
        return found
    index = relations.graph.index
    views: list[SourceView] = []
    for name in found.mixtures[0].subsets:
        values = relations.extra_STK[index[name], index[found.target]].tolist()
        known = dict(zip(COLUMNS, values, strict=False))
        views.append(
            SourceView(
                subset=name,
                logme=known["logme"],
                decoded=known["decoded"],
                similar=known.get("similar"),
                probed=known.get("probed"),
            )
        )
    return replace(found, source_views=tuple(views))


def prefer_validated(found: Recommendation, validated: tuple[ValidatedMixture, ...]) -> Recommendation:
    """Let what the target's own validation questions say come first.

    Help is likely where even the lower end of the best mixture's interval lies above a guess.
    """
    if not validated:
        return found
    first = validated[0]
    is_likely = first.low > found.chance + MARGIN * (1 - found.chance)
    outlook: Outlook = "likely" if is_likely else "unlikely"
    where = "above" if is_likely else "not surely above"
    reason = f"fine-tunes of the first of {len(validated)} mixtures answer its own validation questions {where} a guess"
    return replace(found, validated=validated, outlook=outlook, reason=reason)


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
