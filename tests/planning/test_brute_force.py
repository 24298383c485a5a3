"""Plans of random studies are those that the brute force gives, and it finds a planner out that is wrong.

`python -m tests.planning.brute_force 10000` does the same for as many as one likes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cg_lab.planning import ablations, pairs, posing
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.mixture import Spreader
from cg_lab.planning.proof import Prover
from tests.planning.brute_force.__main__ import try_case
from tests.planning.brute_force.plan_rules import Tally
from tests.planning.brute_force.random_studies import DESIGNS, drop, make_case

ROUNDS = 8


@pytest.mark.parametrize("design", DESIGNS)
def test_plans_of_random_studies_are_those_of_the_brute_force(design: str) -> None:
    cases = [make_case(DESIGNS.index(design) + len(DESIGNS) * number) for number in range(ROUNDS)]
    assert {case.study.design.name for case in cases} == {design}
    found = {case.seed: try_case(case) for case in cases}
    assert {seed: fault for seed, fault in found.items() if not isinstance(fault, Tally)} == {}


Function = Callable[..., Any]


def forget_one(find: Function) -> Function:
    return lambda *given: dict(list(find(*given).items())[1:])


def give_one_less(build: Function) -> Function:
    return lambda spreader, names, count, *rest, **more: build(spreader, names, count - 1, *rest, **more)


def share_all_proofs(prove: Function) -> Function:
    return lambda prover, split: next(iter(prover._known.values()), None) or prove(prover, split)


def leave_out_the_last(find: Function) -> Function:
    return lambda graph, target: find(graph, target) & (find(graph, target) - 1)


WRONG: dict[str, tuple[Any, str, Callable[[Function], Function]]] = {
    "twins are trained on": (MatGraph, "twins", lambda _: lambda *_: 0),
    "an unrelated subset is left out": (MatGraph, "unrelated", leave_out_the_last),
    "a source stands for what it shows": (MatGraph, "differing", lambda _: lambda graph, *_: graph.everything),
    "everything is covered": (posing, "covers", lambda _: lambda *_, **__: True),
    "a pair of sources is forgotten": (pairs, "find_pairs", forget_one),
    "a mixture has a sample too few": (Spreader, "build_mixture", give_one_less),
    "no mismatched set is found": (ablations, "find_mismatched", lambda _: lambda *_: None),
    "a source is replaced by one with too few samples": (MatGraph, "having", lambda _: lambda graph, _: graph.filled),
    "every split has one proof": (Prover, "prove", share_all_proofs),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_planner_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what, spoil = WRONG[name]
    monkeypatch.setattr(where, what, spoil(getattr(where, what)))
    assert any(not isinstance(try_case(make_case(seed)), Tally) for seed in range(100))


def test_a_case_is_made_smaller_by_what_its_study_does_not_name() -> None:
    case = make_case(2)
    smaller = [drop(case, name) for name in case.catalog.names]
    assert any(smaller)
    assert {len(part.catalog.subsets) for part in smaller if part} == {len(case.catalog.subsets) - 1}
