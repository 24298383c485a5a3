"""Labels that can be told without looking at the anatomy: from size, border, brightness and the file itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cg_lab.data.table import Shortcut

MOST = 2_000
"""Images of a subset that are looked at."""
FEWEST = 40
"""Images below which nothing can be said."""
FOLDS = 5
MARGIN = 0.15
"""Accuracy above chance that is warned of, once it is certain (two standard errors)."""
FEATURES = ("width", "height", "aspect", "bytes per pixel", "channels", "mean brightness", "contrast", "border")


def find_shortcut(subset: str, facts: pa.Table, labels: NDArray[np.object_]) -> Shortcut | None:
    """Try to tell labels with a linear probe on the facts of files.

    Parameters
    ----------
    subset
        Its name.
    facts, labels
        Facts of n images as `cg_lab.data.facts` measures them, and their labels (n,).

    Returns
    -------
    Balanced accuracy in five-fold cross-validation; None for too few images.

    """
    features = _tabulate(facts)
    kept = np.linspace(0, len(labels) - 1, min(len(labels), MOST)).astype(int)
    features, names = features[kept], labels[kept].astype(str)
    counts = dict(zip(*np.unique(names, return_counts=True), strict=True))
    usable = np.array([counts[name] >= FOLDS for name in names], bool)
    features, names = features[usable], names[usable]
    num_labels = len(set(names.tolist()))
    if len(names) < FEWEST or num_labels < 2:
        return None
    accuracy = _probe(features, names)
    chance = 1 / num_labels
    error = float(np.sqrt(accuracy * (1 - accuracy) / len(names)))
    warns = accuracy - 2 * error > chance + MARGIN
    alone = [_probe(features[:, [column]], names) for column in range(len(FEATURES))] if warns else [0.0]
    return Shortcut(
        subset=subset,
        num_images=len(names),
        accuracy=accuracy,
        chance=chance,
        feature=FEATURES[int(np.argmax(alone))],
        warns=warns,
    )


def _tabulate(facts: pa.Table) -> NDArray[np.float64]:
    """Give one row of features an image."""

    def column(name: str) -> NDArray[np.float64]:
        return np.asarray(facts[name].to_numpy(), np.float64)

    width, height = column("width"), column("height")
    return np.stack(
        [
            np.log(width), np.log(height), np.log(width / height), np.log(column("num_bytes") / (width * height)),
            column("channels"), column("mean"), column("spread"), column("border"),
        ],
        axis=1,
    )  # fmt: skip


def _probe(features: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    """Give the balanced accuracy of a logistic regression on images that it was not fitted to."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Any = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=200))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a probe that has not converged has found little
        return float(balanced_accuracy_score(labels, cross_val_predict(model, features, labels, cv=folds)))
