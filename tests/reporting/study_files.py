"""A study's files, and what its arms answered; nothing of the analysis is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.reporting.formulas import (
    Answers,
    Estimate,
    Spread,
    Term,
    add_up,
    moderate,
)

Key = tuple[str, str, str]
"""Arm, variant, subset that is asked."""
CONTROLS = ("zero_shot", "unrelated")
REFERENCES = (*CONTROLS, "blind")
FEW_SEEDS = {"zero_shot", "unrelated", "mismatched", "ceiling", "shuffled"}
"""Arms that have all of their seeds from the first look on."""
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Question:
    """One held-out question, with what its arms answered."""

    contrast: Mapping[str, Any]
    answers: Mapping[Key, Answers]
    spreads: dict[Key, Spread | None]
    blind: dict[str, Spread | None]
    """Over the seeds of the related model less itself without the image."""
    known: dict[tuple[Key, Key], Estimate] = field(default_factory=dict)
    """Gains that were worked out."""

    @property
    def target(self) -> str:
        return str(self.contrast["target"])

    @property
    def sources(self) -> list[Key]:
        return [key for key in self.answers if key[0] == "alone"]

    def key(self, arm: str) -> Key:
        return (arm, "", self.target)

    def has(self, *arms: str) -> bool:
        return all(self.key(arm) in self.answers for arm in arms)

    def term(self, key: Key, weight: float = 1.0) -> Term:
        return Term(answers=self.answers[key], seeds=self.spreads[key], weight=weight)

    def mean(self, key: Key) -> Estimate:
        return add_up(self.term(key))

    def gain(self, first: Key, second: Key) -> Estimate:
        if (first, second) not in self.known:
            self.known[first, second] = self._find_gain(first, second)
        return self.known[first, second]

    def _find_gain(self, first: Key, second: Key) -> Estimate:
        guises = {self.key("related"), self.key("blind")}
        if {first, second} == guises:
            sign = 1.0 if first == self.key("related") else -1.0
            return add_up(Term(answers=pair(self, *sorted(guises)[::-1]), seeds=self.blind["blind"], weight=sign))
        return add_up(self.term(first), self.term(second, -1.0))

    def over(self, arm: str) -> Estimate:
        return self.gain(self.key("related"), self.key(arm))

    def over_alone(self) -> dict[str, Estimate]:
        return {key[1]: self.gain(self.key("related"), key) for key in self.sources}


def pair(question: Question, first: Key, second: Key) -> Answers:
    one, other = question.answers[first], question.answers[second]
    assert one.models == other.models
    return Answers(seeds=one.seeds, models=one.models, right_SQ=one.right_SQ - other.right_SQ, groups=one.groups)


@dataclass(frozen=True)
class Study:
    """The files of a study."""

    root: Path
    name: str

    @cached_property
    def plan(self) -> dict[str, Any]:
        return json.loads((self.root / "studies" / self.name / "plan.json").read_text())

    @cached_property
    def found(self) -> dict[str, pd.DataFrame]:
        """Give the predictions by job, as far as they are there."""
        jobs = {cell["eval_job"] for cell in self.plan["cells"]}
        paths = {job: self.root / "jobs" / job / "predictions.parquet" for job in jobs}
        return {job: pd.read_parquet(path) for job, path in paths.items() if path.exists()}

    def cells(self, contrast: str) -> dict[Key, list[dict[str, Any]]]:
        found: dict[Key, list[dict[str, Any]]] = {}
        for cell in self.plan["cells"]:
            if cell["contrast"] == contrast:
                found.setdefault((cell["arm"], cell["variant"], cell["subset"]), []).append(cell)
        return found

    def proof(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        return self.plan["proofs"][cell["proof"]]

    def stack(self, cells: Sequence[Mapping[str, Any]]) -> Answers | None:
        kept = sorted((cell for cell in cells if cell["eval_job"] in self.found), key=lambda cell: cell["seed"] or 0)
        if not kept:
            return None
        tables = [self.found[cell["eval_job"]] for cell in kept]
        return Answers(
            seeds=tuple(cell["seed"] for cell in kept if cell["seed"] is not None),
            models=tuple(cell["finetune_job"] for cell in kept if cell["finetune_job"]),
            right_SQ=np.array([table["score"].to_numpy(float) for table in tables]),
            groups=tuple(tables[0]["group"].fillna(tables[0]["question"])),
        )

    def measure(self, num_seeds: int = 1000) -> list[Question]:
        """Measure all questions as at a look with so many seeds."""
        return _measure(self, num_seeds)

    def list_questions(self, num_seeds: int) -> list[Question]:
        questions: list[Question] = []
        for contrast in self.plan["contrasts"]:
            stacks = {key: self.stack(cells) for key, cells in self.cells(contrast["id"]).items()}
            kept = {
                key: found if key[0] in FEW_SEEDS else found.first(num_seeds) for key, found in stacks.items() if found
            }
            questions.append(Question(contrast=contrast, answers=kept, spreads={}, blind={}))
        self._moderate(questions)
        return questions

    def _moderate(self, questions: Sequence[Question]) -> None:
        """Moderate each arm's variances over seeds over the study, the related arm first."""
        arms = dict.fromkeys(["related", *(key[0] for part in questions for key in part.answers)])
        earlier = self.plan["seed_deviations"]
        lent: Spread | None = None
        for arm in arms:
            members = [(part, key) for part in questions for key in part.answers if key[0] == arm]
            answers = [part.answers[key] for part, key in members]
            prior = None
            if earlier and arm not in FEW_SEEDS:
                prior = self._take_earlier(answers)
            elif arm != "related" and lent and all(len(own.seeds) < 3 for own in answers):
                prior = [lent] * len(answers)
            for (part, key), found in zip(members, moderate(answers, prior), strict=True):
                part.spreads[key] = None if arm == "related" and len(part.answers[key].seeds) < 2 else found
            if arm == "related":
                told = [found.variance for part, key in members if (found := part.spreads[key])]
                lent = Spread(variance=float(np.mean(told)), freedom=1.0) if told else None
        both = [part for part in questions if part.has("related", "blind")]
        pairs = [pair(part, part.key("related"), part.key("blind")) for part in both]
        prior = self._take_earlier(pairs) if earlier else None
        for part, own, found in zip(both, pairs, moderate(pairs, prior), strict=True):
            part.blind["blind"] = found if len(own.seeds) > 1 else None

    def _take_earlier(self, answers: Sequence[Answers]) -> list[Spread]:
        (earlier,) = self.plan["seed_deviations"]
        variance, freedom = earlier["deviation"] ** 2, float(earlier["freedom"])
        return [Spread(variance=variance + own.explained[1], freedom=freedom) for own in answers]

    @cached_property
    def num_asked(self) -> int:
        return len(self.plan["contrasts"])


@cache
def open_study(root: Path, name: str) -> Study:
    """Open a study's files, which are read once."""
    return Study(root, name)


@cache
def _measure(study: Study, num_seeds: int) -> list[Question]:
    return study.list_questions(num_seeds)
