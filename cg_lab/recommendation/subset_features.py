"""What the untouched backbone sees of each subset, as numbers: likeness, transferability, decodability of elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cg_lab.planning.graph import MatGraph
from cg_lab.recommendation.subset_relations import FloatArray, SubsetRelations

BLIND_COLUMNS = ("logme", "decoded")
"""What is known without any image of the target."""
SEEN_COLUMNS = ("similar", "probed")
"""What takes some."""
COLUMNS = (*BLIND_COLUMNS, *SEEN_COLUMNS)
"""In the order in which relations have them."""
RIDGE = 10.0
"""Penalty of linear readings, on standardised features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetFeatures:
    """What an untouched backbone makes of some images of one subset, none of them a test image."""

    image_ND: FloatArray
    """Mean over the tokens of each image, as the language model gets them."""
    prompt_ND: FloatArray
    """Hidden state behind the last layer at the end of each question, image and all."""
    labels: tuple[str, ...]

    @property
    def joined_ND(self) -> FloatArray:
        """Both beside each other."""
        return np.concatenate([self.image_ND, self.prompt_ND], axis=1)


def add_features(
    relations: SubsetRelations, features: Mapping[str, SubsetFeatures], *, sees_target: bool
) -> SubsetRelations:
    """Add what an untouched backbone tells of each subset, for each target.

    Parameters
    ----------
    relations
        Of the catalogue.
    features
        By subset, of the same backbone; subsets without any get the mean of the others.
    sees_target
        Whether images of targets may be compared with those of sources: then those of the asked target are there.

    """
    graph = relations.graph
    known = {name: features[name] for name in graph.index if name in features}
    if len(known) < 2:
        return relations
    places = [graph.index[name] for name in known]
    columns = {
        "logme": np.repeat(_fill(places, _measure_logme(known), graph)[:, None], relations.num_subsets, axis=1),
        "decoded": _share_decoded(relations, places, _decode_elements(graph, known)),
    }
    if sees_target:
        square = np.ix_(places, places)
        for name, values in (("similar", _compare(known)), ("probed", _probe(known))):
            columns[name] = np.full((relations.num_subsets,) * 2, float(values.mean()))
            columns[name][square] = values
    return replace(relations, extra_STK=np.stack(list(columns.values()), axis=-1))


def compute_logme(features_ND: FloatArray, labels: tuple[str, ...]) -> float:
    """Give the mean log evidence of a Bayesian linear map from features to one-hot labels (LogME, arXiv 2102.11005).

    Precisions of weights and noise are found by MacKay's fixed point; the mean is over samples and labels.
    """
    values_ND = StandardScaler().fit_transform(features_ND)
    count, width = values_ND.shape
    left_NK, singular_K, _ = np.linalg.svd(values_ND, full_matrices=False)
    squares_K = singular_K**2
    evidence: list[float] = []
    for label in sorted(set(labels)):
        truth_N = np.array([float(one == label) for one in labels])
        truth_N = (truth_N - truth_N.mean()) / max(truth_N.std(), 1e-9)
        along_K = left_NK.T @ truth_N
        rest = max(float(truth_N @ truth_N - along_K @ along_K), 0.0)
        weight, noise, size, missed = 1.0, 1.0, 0.0, 0.0
        for _ in range(20):
            mean_K = noise * singular_K * along_K / (weight + noise * squares_K)
            used = float((noise * squares_K / (weight + noise * squares_K)).sum())
            size = float(mean_K @ mean_K)
            missed = rest + float(((along_K - singular_K * mean_K) ** 2).sum())
            weight, noise = used / max(size, 1e-9), max(count - used, 1e-9) / max(missed, 1e-9)
        determinant = float(np.log(weight + noise * squares_K).sum()) + (width - len(squares_K)) * np.log(weight)
        evidence.append(
            (width * np.log(weight) + count * np.log(noise) - count * np.log(2 * np.pi) - determinant) / 2 / count
            - (noise * missed + weight * size) / 2 / count
        )
    return float(np.mean(evidence))


def _measure_logme(known: Mapping[str, SubsetFeatures]) -> FloatArray:
    return np.array([compute_logme(part.joined_ND, part.labels) for part in known.values()])


def _fill(places: list[int], values: FloatArray, graph: MatGraph) -> FloatArray:
    filled = np.full(len(graph.subsets), float(values.mean()))
    filled[places] = values
    return filled


def _decode_elements(graph: MatGraph, known: Mapping[str, SubsetFeatures]) -> FloatArray:
    """Read each subset's elements off its images by what linear readings of all other subsets say; skill by factor."""
    names = list(known)
    joined = [known[name].joined_ND for name in names]
    decoded_SF = np.zeros((len(names), len(graph.factors)))
    for factor in range(len(graph.factors)):
        values = [graph[name].own[factor] for name in names]
        for place, own in enumerate(values):
            others = [one for one in range(len(names)) if one != place]
            kinds = {values[one] for one in others}
            if own not in kinds or len(kinds) < 2:
                continue
            reading = make_pipeline(StandardScaler(), RidgeClassifier(alpha=RIDGE, class_weight="balanced"))
            truth = np.concatenate([np.full(len(joined[one]), values[one]) for one in others])
            reading.fit(np.concatenate([joined[one] for one in others]), truth)
            right = float(np.mean(reading.predict(joined[place]) == own))
            decoded_SF[place, factor] = (right - 1 / len(kinds)) / (1 - 1 / len(kinds))
    return decoded_SF


def _share_decoded(relations: SubsetRelations, places: list[int], decoded_SF: FloatArray) -> FloatArray:
    """Give, by source and target, how well those elements are read off the source that it shares with the target."""
    filled_SF = np.tile(decoded_SF.mean(axis=0), (relations.num_subsets, 1))
    filled_SF[places] = decoded_SF
    return (relations.shared_STF * filled_SF[:, None, :]).mean(axis=-1)


def _compare(known: Mapping[str, SubsetFeatures]) -> FloatArray:
    """Give the cosine of each two subsets' mean features, standardised over all images."""
    joined = [part.joined_ND for part in known.values()]
    scaler = StandardScaler().fit(np.concatenate(joined))
    means_SD = np.stack([np.asarray(scaler.transform(part)).mean(axis=0) for part in joined])
    means_SD /= np.maximum(np.linalg.norm(means_SD, axis=1, keepdims=True), 1e-9)
    return means_SD @ means_SD.T


def _probe(known: Mapping[str, SubsetFeatures]) -> FloatArray:
    """Read labels off a target's images by a linear reading of a source's; skill, 0 where labels differ."""
    parts = list(known.values())
    probed_ST = np.zeros((len(parts), len(parts)))
    for row, source in enumerate(parts):
        kinds = set(source.labels)
        if len(kinds) < 2:
            continue
        reading = make_pipeline(StandardScaler(), RidgeClassifier(alpha=RIDGE, class_weight="balanced"))
        reading.fit(source.joined_ND, np.array(source.labels))
        for column, target in enumerate(parts):
            if row != column and kinds >= set(target.labels):
                right = float(np.mean(reading.predict(target.joined_ND) == np.array(target.labels)))
                probed_ST[row, column] = (right - 1 / len(kinds)) / (1 - 1 / len(kinds))
    return probed_ST
