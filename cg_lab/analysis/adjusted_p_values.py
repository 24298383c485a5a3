"""Several questions, each with claims in a fixed order, at one level for all of them together.

Each question has its share of the level for its first claim; what is claimed hands the share on to the question's next
claim, and a question whose last claim is made hands it on to the others in equal parts (Bretz et al. 2009, Stat. Med.
28(4)). With a single claim each, this is Holm's procedure.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from cg_lab.analysis.bootstrap import FloatArray

Family = Literal["graphical", "false_discovery_rate"]


def adjust_sequences(p_TC: FloatArray, family: Family = "graphical", size: int = 1) -> FloatArray:
    """Adjust the p-values of every question's claims over all questions.

    Parameters
    ----------
    p_TC
        Of shape (..., question, claim), claims in order; a question with fewer claims repeats its last one.
    family
        Whether any false claim is held at the level (graphical), or the expected share of false ones among those made
        (Benjamini and Hochberg 1995), each claim over all questions.
    size
        Questions that share the level, if more than those given: the others count as not claimed.

    Returns
    -------
    The least level at which each claim is made, of the same shape.

    Examples
    --------
    >>> adjust_sequences(np.array([[0.01, 0.01], [0.02, 0.2]])).tolist()
    [[0.02, 0.02], [0.02, 0.2]]

    """
    running_TC = _accumulate_largest(p_TC, -1)
    total = max(size, p_TC.shape[-2])
    if family == "false_discovery_rate":
        return _step_up(running_TC, total)
    finished_T = adjust_steps(running_TC[..., -1], total)
    adjusted_TC = np.ones_like(running_TC)
    num_given = p_TC.shape[-2]
    ordered_T = np.sort(finished_T, axis=-1)
    for finished in range(num_given + 1):
        left = total - finished
        if left == 0:
            break
        begin = ordered_T[..., finished - 1 : finished] if finished else np.zeros((*ordered_T.shape[:-1], 1))
        adjusted_TC = np.minimum(adjusted_TC, np.maximum(begin[..., None], running_TC * left))
    return adjusted_TC


def adjust_steps(p_T: FloatArray, size: int = 1) -> FloatArray:
    """Adjust single claims by Holm (1979), over the last axis.

    >>> adjust_steps(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    count = p_T.shape[-1]
    order = np.argsort(p_T, axis=-1)
    factors = max(size, count) - np.arange(count, dtype=np.float64)
    stepped = _accumulate_largest(np.take_along_axis(p_T, order, axis=-1) * factors, -1)
    adjusted = np.empty_like(stepped)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-1)
    return adjusted


def _step_up(p_TC: FloatArray, size: int) -> FloatArray:
    """Adjust each claim by Benjamini and Hochberg (1995)."""
    count = p_TC.shape[-2]
    order = np.argsort(p_TC, axis=-2)
    ranks = np.arange(1, count + 1, dtype=np.float64)[:, None]
    stepped = np.take_along_axis(p_TC, order, axis=-2) * size / ranks
    stepped = -_accumulate_largest(-stepped[..., ::-1, :], -2)[..., ::-1, :]
    adjusted = np.empty_like(stepped)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-2)
    return adjusted


def _accumulate_largest(values: FloatArray, axis: int) -> FloatArray:
    """Give the largest value so far along an axis."""
    return np.asarray(np.maximum.accumulate(values, axis=axis), dtype=np.float64)
