"""Checkpoints that were trained elsewhere become jobs with the mixtures, seeds and weights that are declared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.errors import UserError
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import Mixture, MixturePart
from cg_lab.recipe import TRAINED_ELSEWHERE
from tests.planning.cases import STUDY, cube, plan_one, with_design

BOTH = {"a-y-k": 5, "b-x-k": 3}


def make_row(arm: str, seed: int = 0, counts: dict[str, int] = BOTH, **more: Any) -> dict[str, Any]:
    parts = [{"subset": name, "count": count} for name, count in sorted(counts.items())]
    return {"target": "a-x-k", "arm": arm, **more} | {
        "checkpoint": {"seed": seed, "weights": f"/models/{arm}-{seed}@0123", "parts": parts}
    }


def plan(*rows: dict[str, Any], seeds: tuple[int, ...] = (0, 3), **changes: Any) -> Plan:
    study = replace(STUDY, seeds=seeds, finetune=TRAINED_ELSEWHERE, **changes)
    return plan_one(with_design("checkpoints", study, rows=list(rows)), cube())


def test_a_job_has_the_declared_mixture_seed_and_weights() -> None:
    made = plan(make_row("related"), make_row("related", 3), make_row("shuffled", 3), arms=(Arm.RELATED, Arm.SHUFFLED))
    jobs = {job.weights: job for job in made.finetunes}
    parts = tuple(MixturePart(subset=name, count=count) for name, count in BOTH.items())
    assert {weights: (job.seed, job.mixture) for weights, job in jobs.items()} == {
        "/models/related-0@0123": (0, Mixture(parts=parts, seed=0)),
        "/models/related-3@0123": (3, Mixture(parts=parts, seed=3)),
        "/models/shuffled-3@0123": (3, Mixture(parts=parts, seed=3, labels="shuffled")),
    }
    assert {(cell.arm, cell.seed, cell.finetune_job) for cell in made.cells} == {
        (Arm.RELATED, 0, jobs["/models/related-0@0123"].id),
        (Arm.RELATED, 3, jobs["/models/related-3@0123"].id),
        (Arm.SHUFFLED, 3, jobs["/models/shuffled-3@0123"].id),
    }


def test_a_control_has_each_seed_that_is_there_however_few_it_would_be_trained_with() -> None:
    seeds = tuple(range(4))
    other = {"b-y-l": 4, "c-z-m": 4}
    rows = [make_row(arm, seed, counts) for arm, counts in (("related", BOTH), ("unrelated", other)) for seed in seeds]
    made = plan(*rows, seeds=seeds, arms=(Arm.RELATED, Arm.UNRELATED))
    assert [cell.seed for cell in made.cells if cell.arm is Arm.UNRELATED] == list(seeds)


def test_the_one_source_of_an_arm_alone_is_its_variant_and_questions_are_told_apart() -> None:
    alone = {"a-y-k": 8}
    rows = [make_row("related", question=name) for name in ("first", "second")]
    made = plan(*rows, make_row("alone", 0, alone, question="second"), arms=(Arm.RELATED, Arm.ALONE))
    assert [part.id for part in made.contrasts] == ["a-x-k/first", "a-x-k/second"]
    assert [(cell.contrast, cell.variant) for cell in made.cells if cell.arm is Arm.ALONE] == [
        ("a-x-k/second", "a-y-k")
    ]


def test_a_subset_that_there_is_not_is_told() -> None:
    with pytest.raises(UserError, match=r"trained\.csv has the subset 'a-y-q'"):
        plan(make_row("related", counts={"a-y-q": 8}))
