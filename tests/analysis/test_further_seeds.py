"""What would decide a question: seeds of the arms that carry the claim, and where these would not do, of unrelated."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.further_seeds import FurtherSeeds, SeedSplit, find_further
from cg_lab.analysis.gain_estimates import GainEstimate
from cg_lab.analysis.verdict import Decision, Unresolved, Verdict
from cg_lab.arms import Arm
from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.planning.plan import Plan
from tests.planning.cases import plan_one

SEEDS = 5
UNCERTAIN = Interval(estimate=0.2, low=-0.1, high=0.5, p_value=0.2)


@cache
def plan_study() -> Plan:
    study = read_study(["experiment=phantom_two_source"])
    return plan_one(study, read_catalog(study.data))


def split(gain: float, *, claiming: float, control: float = 0.0) -> SeedSplit:
    variance = claiming + control + 0.0001
    estimate = GainEstimate(estimate=np.array(gain), variance=np.array(variance), freedom=np.array(10.0))
    return SeedSplit(gain=estimate, claiming=claiming, control=control, control_seeds=2 if control else 0)


def find(**gains: SeedSplit) -> FurtherSeeds | None:
    plan = plan_study()
    left = tuple(Unresolved(over=name, gain=UNCERTAIN, is_resolved_alone=False) for name in gains)
    decision = Decision(verdict=Verdict.NO_EVIDENCE, reason="", p_holm=0.2, unresolved=left)
    return find_further(plan, plan.contrasts[0], decision, gains, SEEDS)


def count(*arms: Arm) -> int:
    return sum(part.arm in arms for part in plan_study().contrasts[0].trainings)


def test_more_seeds_of_the_arms_that_carry_the_claim_are_told_with_what_they_cost() -> None:
    found = find(unrelated=split(0.2, claiming=0.004, control=0.0004))
    assert found is not None
    assert found.num_seeds is not None
    assert not found.of_unrelated
    assert found.num_finetunes == (found.num_seeds - SEEDS) * count(Arm.RELATED, Arm.ALONE)
    assert "seeds resolve it" in found.tell()


def test_where_these_would_not_do_as_many_of_unrelated_training_are_counted_too() -> None:
    """Two unrelated seeds that differ much bound the error from below, however many related ones there are."""
    found = find(unrelated=split(0.2, claiming=0.002, control=0.02))
    assert found is not None
    assert found.num_seeds is not None
    assert found.of_unrelated
    grown = (found.num_seeds - SEEDS) * count(Arm.RELATED, Arm.ALONE) + found.num_seeds - 2
    assert found.num_finetunes == grown
    assert "seeds, of unrelated training too, resolve it" in found.tell()


def test_every_gain_that_is_left_must_be_resolved() -> None:
    easy, hard = split(0.2, claiming=0.002), split(0.2, claiming=0.01)
    together, alone = find(untouched=easy, unrelated=hard), find(unrelated=hard)
    assert together == alone
    assert find(untouched=easy, unrelated=split(-0.1, claiming=0.002)) == FurtherSeeds(num_seeds=None)


@pytest.mark.parametrize("of_controls", [False, True])
def test_an_error_is_that_of_the_same_variances_over_other_numbers_of_seeds(*, of_controls: bool) -> None:
    part = split(0.2, claiming=0.004, control=0.006)
    expected = 0.0001 + 0.004 * 5 / 10 + 0.006 * (2 / 10 if of_controls else 1)
    assert part.find_error(5, 10, of_controls=of_controls) == pytest.approx(math.sqrt(expected))


def test_a_control_that_has_more_seeds_keeps_them() -> None:
    part = replace(split(0.2, claiming=0.004, control=0.006), control_seeds=8)
    assert part.find_error(5, 5, of_controls=True) == part.find_error(5, 5, of_controls=False)
