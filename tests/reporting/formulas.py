"""The formulas of docs/statistics.md, written anew from that page; nothing of the analysis is used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special, stats

Floats = NDArray[np.float64]
Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one arm answered, a row for each seed."""

    seeds: tuple[int, ...]
    """Empty for the untouched model."""
    models: tuple[str, ...]
    right_SQ: Floats
    groups: tuple[str, ...]

    def first(self, count: int) -> Answers:
        kept = slice(0, max(1, min(count, len(self.right_SQ))))
        return Answers(
            seeds=self.seeds[kept], models=self.models[kept], right_SQ=self.right_SQ[kept], groups=self.groups
        )

    @property
    def is_grouped(self) -> bool:
        return len(set(self.groups)) < len(self.groups)

    @cached_property
    def means_S(self) -> Floats:
        return self.right_SQ.mean(axis=1)

    @cached_property
    def values_SG(self) -> Floats:
        """Give a value for each whole group."""
        names = np.unique(self.groups)
        is_in_GQ = names[:, None] == np.array(self.groups)
        sums, sizes = self.right_SQ @ is_in_GQ.T, is_in_GQ.sum(axis=1)
        mean = self.right_SQ.mean()
        return mean + (sums - mean * sizes) * len(sizes) / len(self.groups)

    @cached_property
    def explained(self) -> tuple[float, float]:
        """Give what single answers explain of a seed's variance, and the least that the variance is taken for."""
        values = self.values_SG
        count = values.shape[1]
        wilson = (Z / (count + Z**2)) ** 2
        if len(values) < 2:
            return 0.0, wilson
        found = (values.var(axis=0, ddof=1).mean() - self.means_S.var(ddof=1)) / (count - 1)
        return max(0.0, found), max(found, wilson)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A variance over seeds with its degrees of freedom."""

    variance: float
    freedom: float


@dataclass(frozen=True, kw_only=True)
class Term:
    """An arm in a sum of arms."""

    answers: Answers
    seeds: Spread | None
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A sum of arms."""

    value: float
    variance: float
    freedom: float
    of_seeds: tuple[tuple[tuple[str, ...], float], ...] = field(default=())
    """Models, and what they add to the variance."""

    @cached_property
    def p_value(self) -> float:
        return float(2 * stats.t.sf(abs(self.value) / np.sqrt(self.variance), self.freedom)) if self.value else 1.0

    def limits(self, confidence: float = 0.95, least: float = -1.0, most: float = 1.0) -> tuple[float, float]:
        low, high = stats.t.interval(confidence, self.freedom, self.value, np.sqrt(self.variance))
        return max(least, float(low)), min(most, float(high))

    def one_sided(self, sign: int) -> float:
        """Give the p-value of the gain having a sign; 1 where it has the other."""
        return self.p_value if self.value * sign > 0 else 1.0


def moderate(arms: Sequence[Answers], prior: Sequence[Spread] | None) -> list[Spread | None]:
    """Draw the variances over seeds of one arm's trainings towards what is typical of them."""
    own = [float(arm.means_S.var(ddof=1)) if len(arm.seeds) > 1 else 0.0 for arm in arms]
    free = [max(0, len(arm.seeds) - 1) for arm in arms]
    floors = [arm.explained[1] for arm in arms]
    telling = [place for place in range(len(arms)) if free[place]]
    total = float(sum(free))
    typical = [Spread(variance=0.0, freedom=0.0)] * len(arms)
    if len(telling) >= 3:
        mean = float(np.mean([own[place] for place in telling]))
        if max(free) < 2:
            mean *= 1 + np.sqrt(2 / total) / 2
        logs = np.log([max(own[place], floors[place] / 100) for place in telling])
        beyond = ((logs - logs.mean()) ** 2).sum()
        beyond -= (len(telling) - 1) * np.mean([special.polygamma(1, free[place] / 2) for place in telling])
        wanted = (beyond + 6 * special.polygamma(1, 2)) / (len(telling) - 1 + 6)
        wanted = max(float(wanted), float(special.polygamma(1, 5)))
        freedom = 2 * optimize.brentq(lambda half: special.polygamma(1, half) - wanted, 1e-3, 1e3, xtol=1e-13)
        typical = [Spread(variance=mean, freedom=freedom)] * len(arms)
    elif prior is not None:
        typical = [Spread(variance=one.variance, freedom=min(4.0, one.freedom)) for one in prior]
        total += prior[0].freedom
    found: list[Spread | None] = []
    for arm, variance, d, floor, usual in zip(arms, own, free, floors, typical, strict=True):
        whole = d + usual.freedom
        if not arm.seeds or not whole:
            found.append(None)
            continue
        mixed = (usual.freedom * usual.variance + d * variance) / whole
        found.append(Spread(variance=max(floor, mixed), freedom=min(whole, total)))
    return found


def add_up(*terms: Term) -> Estimate:
    """Add arms up, paired by question, with degrees of freedom by Satterthwaite."""
    means_G = np.sum([term.weight * term.answers.values_SG.mean(axis=0) for term in terms], axis=0)
    shares = [term.weight**2 / len(term.answers.right_SQ) for term in terms]
    spread = float(means_G.var(ddof=1)) / len(means_G)
    noise = sum(share * term.answers.explained[0] for share, term in zip(shares, terms, strict=True))
    floor = max(share * term.answers.explained[1] for share, term in zip(shares, terms, strict=True))
    seeds = [(term, share * term.seeds.variance) for share, term in zip(shares, terms, strict=True) if term.seeds]
    whole = max(floor, max(0.0, spread - noise) + sum(variance for _, variance in seeds))
    squares = spread**2 / (len(means_G) - 1)
    squares += sum(variance**2 / term.seeds.freedom for term, variance in seeds if term.seeds)
    freedom = max(1.0, whole**2 / squares) if squares else np.inf
    return Estimate(
        value=float(means_G.mean()),
        variance=whole,
        freedom=freedom,
        of_seeds=tuple((term.answers.models, variance) for term, variance in seeds),
    )


def share_recovered(
    own: Estimate, most: Estimate, apart: Estimate, freedom: float
) -> tuple[float, float, float] | None:
    """Give Fieller's interval of `own / most`, `apart` being their difference; None where it has no ends."""
    t = stats.t.ppf(0.975, freedom) ** 2
    both = (own.variance + most.variance - apart.variance) / 2
    square = [most.value**2 - t * most.variance, -2 * (own.value * most.value - t * both)]
    if square[0] <= 0:
        return None
    low, high = sorted(np.roots([*square, own.value**2 - t * own.variance]).real)
    share = own.value / most.value
    return share, min(share, low), max(share, high)


def reject_graphically(p_TC: Sequence[tuple[float, float]], size: int) -> list[tuple[float, float]]:
    """Adjust p-values by the graph of Bretz et al. (2009), node by node, with weights and a transfer matrix.

    Each question is a path of two nodes, whose last hands its share on to the first of all others.
    """
    p_values = np.array([*np.ravel(p_TC), *[1.0] * 2 * (size - len(p_TC))])
    weights = np.tile([1 / size, 0.0], size)
    transfer = np.zeros((2 * size, 2 * size))
    for question in range(size):
        transfer[2 * question, 2 * question + 1] = 1
        for other in set(range(size)) - {question}:
            transfer[2 * question + 1, 2 * other] = 1 / (size - 1)
    left, adjusted, level = list(range(2 * size)), np.ones(2 * size), 0.0
    while left:
        ratios = {node: p_values[node] / weights[node] if weights[node] > 1e-12 else np.inf for node in left}
        chosen = min(left, key=lambda node: ratios[node])
        level = max(level, min(1.0, ratios[chosen]))
        adjusted[chosen] = level
        left.remove(chosen)
        weights = weights + weights[chosen] * transfer[chosen]
        handed = transfer.copy()
        for first in left:
            for second in left:
                cycle = transfer[first, chosen] * transfer[chosen, first]
                passed = transfer[first, second] + transfer[first, chosen] * transfer[chosen, second]
                handed[first, second] = passed / (1 - cycle) if first != second and cycle < 1 else 0.0
        transfer = handed
    return [(float(a), float(b)) for a, b in adjusted.reshape(-1, 2)[: len(p_TC)]]


def fit_line(points: Iterable[tuple[float, float, str]]) -> tuple[float, float, float, float]:
    """Give the slope with its interval and p-value by statsmodels."""
    from statsmodels.api import OLS, add_constant

    frame = pd.DataFrame(points, columns=["level", "gain", "target"])
    heights = add_constant(frame[["level"]])
    if (frame.groupby("target")["level"].nunique() > 1).any():
        heights = pd.get_dummies(frame["target"], dtype=float).assign(level=frame["level"])
    fit = OLS(frame["gain"], heights).fit()
    return (float(fit.params["level"]), *map(float, fit.conf_int().loc["level"]), float(fit.pvalues["level"]))
