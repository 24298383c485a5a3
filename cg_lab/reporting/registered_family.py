"""The family that a study's questions are judged in, read from its registration and from earlier studies' plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from cg_lab.analysis.effects import StudyEffects, compute_effects
from cg_lab.analysis.family import RegisteredFamily
from cg_lab.analysis.verdict import Decision
from cg_lab.errors import UserError
from cg_lab.planning.plan import Plan
from cg_lab.registration import Registration, read_registered
from cg_lab.reporting.read import Readings, read_scores
from cg_lab.results import Layout, read_plan


def judge_study(layout: Layout, plan: Plan, readings: Readings, registration: Registration | None) -> StudyEffects:
    """Compute the effects of a study within the family that was registered.

    A study that was planned when an earlier, larger one had left its results asks nothing new of them: where both have
    a question, the decision that it has among all questions of the larger one stands.

    Parameters
    ----------
    layout, plan, readings
        The study and its answers.
    registration
        None if nothing was registered.

    """
    if registration is None:
        return compute_effects(plan, readings.scores, readings.reasons)
    earlier = find_earlier(layout, plan, registration)
    decided: dict[str, Decision] = {}
    if earlier is not None:
        earlier, known = earlier
        before = read_scores(earlier, layout)
        judged = compute_effects(earlier, before.scores, before.reasons, describe(known))
        same = set(_list_same(plan, earlier))
        decided = {part.contrast.id: part.decision for part in judged.contrasts if part.contrast.id in same}
    family = describe(registration, earlier.study if earlier else "", decided)
    return compute_effects(plan, readings.scores, readings.reasons, family)


def describe(
    registration: Registration, earlier: str = "", decided: Mapping[str, Decision] | None = None
) -> RegisteredFamily:
    """Say what was registered in the terms of the analysis."""
    return RegisteredFamily(
        contrasts=registration.contrasts,
        seeds=registration.seeds,
        rule=registration.rule,
        criterion=registration.criterion,
        decided=decided or {},
        earlier=earlier,
    )


def find_earlier(layout: Layout, plan: Plan, registration: Registration) -> tuple[Plan, Registration] | None:
    """Find the largest study that was frozen before and asks more questions of the same answers."""
    if not registration.num_known:
        return None
    others = _read_others(layout, plan.study, registration.frozen)
    earlier = [(other, known) for other, known in others if _list_same(plan, other)]
    return max(earlier, key=lambda pair: (len(pair[0].contrasts), pair[0].study), default=None)


def _read_others(layout: Layout, study: str, before: str) -> Iterator[tuple[Plan, Registration]]:
    """Read the plans of other studies that were frozen before; one that can't be read costs this study nothing.

    A study that was removed counts on: who has seen its results may pick among its questions.
    """
    for path in sorted([*layout.root.glob("studies/*/plan.json"), *layout.removed.glob("*/plan.json")]):
        if path.parent == layout.study(study):
            continue
        with suppress(UserError):
            known = read_registered(path.parent)
            if known is not None and known.frozen < before:
                yield read_plan(path), known


def _list_same(plan: Plan, earlier: Plan) -> list[str]:
    """List the questions whose main arm has the same answers in an earlier study that asks more questions."""
    if len(earlier.contrasts) <= len(plan.contrasts):
        return []
    jobs = [_list_jobs(part) for part in (plan, earlier)]
    return [name for name, own in jobs[0].items() if own and own <= jobs[1].get(name, frozenset())]


def _list_jobs(plan: Plan) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {contrast.id: set() for contrast in plan.contrasts}
    for cell in plan.cells:
        if cell.arm.traits.is_main:
            found[cell.contrast].add(cell.eval_job)
    return {name: frozenset(jobs) for name, jobs in found.items()}
