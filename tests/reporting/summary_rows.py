"""The numbers of summary.csv, worked out anew, and another bootstrap; nothing of the analysis is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from tests.reporting.effect_rows import Values, spread_out, tell
from tests.reporting.formulas import (
    Estimate,
    Floats,
    fit_line,
)
from tests.reporting.study_files import CONTROLS, REFERENCES, Key, Question, Study


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Draws of a study's accuracies: whole groups and each fine-tune's seeds, with replacement."""

    generator: np.random.Generator
    num_draws: int = 4000

    def draw(self, question: Question) -> dict[Key, Floats]:
        """Draw the accuracy of each arm that is asked about the target; the same groups for all arms."""
        found: dict[Key, Floats] = {}
        seeds: dict[tuple[str, ...], Floats] = {}
        groups = question.answers[question.key("zero_shot")].groups
        is_in_GQ = np.unique(groups)[:, None] == np.array(groups)
        counts_DG = self.count(len(is_in_GQ))
        for key, answers in question.answers.items():
            if key[2] == question.target:
                sums_SG = answers.right_SQ @ is_in_GQ.T
                means_DS = counts_DG @ sums_SG.T / (counts_DG @ is_in_GQ.sum(axis=1))[:, None]
                weights_DS = seeds.setdefault(answers.models, self.count(len(answers.right_SQ)))
                found[key] = (means_DS * weights_DS).sum(axis=1) / len(answers.right_SQ)
        return found

    def count(self, number: int) -> Floats:
        return self.generator.multinomial(number, np.full(number, 1 / number), self.num_draws).astype(float)

    def pick(self, values: Floats) -> Floats:
        """Draw as many values as there are, with replacement."""
        return values[self.generator.integers(0, len(values), (self.num_draws, len(values)))]


def list_groups(study: Study, questions: Sequence[Question]) -> dict[str, list[Question]]:
    """Give the questions that are pooled: all, and those that share a direction or an element."""
    named: dict[str, list[Question]] = {"all": list(questions)}
    factors = study.plan["catalogs"][0]["factors"]
    for question in questions:
        direction = question.contrast["direction"]
        names = [f"direction={direction}"] if direction else []
        names += [f"{factor}={value}" for factor, value in zip(factors, question.contrast["view"], strict=True)]
        for name in names:
            named.setdefault(name, []).append(question)
    kept: dict[str, list[Question]] = {}
    for name, members in named.items():
        if name == "all" or (len(members) >= 3 and members not in kept.values()):
            kept[name] = members
    return kept


def pool(gains: Sequence[tuple[str, Estimate]]) -> dict[str, Estimate]:
    """Give the mean gain over targets like these, and over these very targets."""
    count, value = len(gains), float(np.mean([gain.value for _, gain in gains]))
    by_model: dict[tuple[str, ...], list[float]] = {}
    for models, variance in (seeds for _, gain in gains for seeds in gain.of_seeds):
        by_model.setdefault(models, []).append(variance)
    shared = sum(np.sqrt(own).sum() ** 2 - sum(own) for own in by_model.values() if len(own) > 1) / count**2
    least = min(gain.freedom for _, gain in gains)
    parts = [(gain.variance / count**2, gain.freedom) for _, gain in gains]
    found = {"these very targets": combine(value, [*parts, (shared, least)])}
    by_target = pd.Series([gain.value - value for _, gain in gains]).groupby([name for name, _ in gains]).sum()
    if len(by_target) >= 3:
        spread = float((by_target * len(by_target) / count).var(ddof=1)) / len(by_target)
        found["t over targets"] = combine(value, [(spread, len(by_target) - 1), (shared, least)])
    return found


def combine(value: float, parts: Sequence[tuple[float, float]]) -> Estimate:
    whole = sum(variance for variance, _ in parts)
    return Estimate(value=value, variance=whole, freedom=whole**2 / sum(v**2 / d for v, d in parts if v))


def recompute_pooled(study: Study) -> Iterator[tuple[tuple[str, str, str, str], Values]]:
    """Give the numbers of summary.csv's pooled rows, by measure, arm, questions and method."""
    questions = study.measure()
    for name, members in list_groups(study, questions).items():
        variants = dict.fromkeys(key[1] for part in members for key in part.answers if key[0] == "without")
        asked = [("gain", f"over {arm}", (arm, "")) for arm in REFERENCES]
        asked += [("loss_without", variant, ("without", variant)) for variant in variants]
        for measure, arm, key in asked:
            own = [part for part in members if part.has("related") and (*key, part.target) in part.answers]
            gains = [(part.target, part.gain(part.key("related"), (*key, part.target))) for part in own]
            for method, found in pool(gains).items() if gains else ():
                yield (measure, arm, name, method), {"num_questions": len(own), **tell("value", found)}


def recompute_slopes(study: Study) -> Iterator[tuple[tuple[str, str, str, str], Values]]:
    """Give slopes over the level of a design, where it has one."""
    questions = [part for part in study.measure() if part.contrast["level"] is not None]
    for arm in CONTROLS if questions else ():
        points = [(part.contrast["level"], part.over(arm).value, part.target) for part in questions]
        value, low, high, p_value = fit_line(points)
        row = {"num_questions": len(points), **spread_out("value", value, (low, high), p_value)}
        yield ("slope", f"over {arm}", questions[0].contrast["design"], "least squares"), row


def recompute_over_seeds(study: Study) -> Iterator[tuple[tuple[str, str, str, str], float, int]]:
    """Give means between quartiles, and chances of improvement (the Mann-Whitney statistic)."""
    questions = [part for part in study.measure() if part.has("related")]
    for arm in (*CONTROLS, "related", "ceiling"):
        own = [part.answers[part.key(arm)].means_S for part in questions if part.has(arm)]
        if own:
            value = float(stats.trim_mean(np.concatenate(own), 0.25))
            yield ("iqm", arm, "all", "bootstrap of seeds"), value, len(own)
    for arm in CONTROLS:
        runs = [
            [part.answers[part.key(one)].means_S for one in ("related", arm)] for part in questions if part.has(arm)
        ]
        wins = [stats.mannwhitneyu(*pair).statistic / (len(pair[0]) * len(pair[1])) for pair in runs]
        yield (
            ("probability_of_improvement", f"over {arm}", "all", "bootstrap of seeds"),
            float(np.mean(wins)),
            len(runs),
        )


def draw_over_seeds(study: Study, bootstrap: Bootstrap) -> Iterator[tuple[tuple[str, str, str, str], Floats]]:
    """Give draws of the same, each question's seeds drawn with replacement."""
    questions = [part for part in study.measure() if part.has("related")]
    for arm in (*CONTROLS, "related", "ceiling"):
        own = [bootstrap.pick(part.answers[part.key(arm)].means_S) for part in questions if part.has(arm)]
        if own:
            yield ("iqm", arm, "all", "bootstrap of seeds"), stats.trim_mean(np.hstack(own), 0.25, axis=1)
    for arm in CONTROLS:
        runs = [
            [bootstrap.pick(part.answers[part.key(one)].means_S) for one in ("related", arm)]
            for part in questions
            if part.has(arm)
        ]
        apart = [first[:, :, None] - second[:, None, :] for first, second in runs]
        wins = [((gain > 1e-9) + (abs(gain) <= 1e-9) / 2).mean(axis=(1, 2)) for gain in apart]
        yield ("probability_of_improvement", f"over {arm}", "all", "bootstrap of seeds"), np.mean(wins, axis=0)
