"""Whether a plan is the one that a study and a catalogue ask for: no question missing, none made up, each proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cg_lab.arms import Arm as ArmName
from cg_lab.catalog import Overlap
from cg_lab.errors import UserError
from cg_lab.mat import Kind
from cg_lab.planning.plan import Contrast, Plan
from tests.planning.brute_force.budgets import check_budget
from tests.planning.brute_force.cell_proofs import MAIN, OPTIONAL, Books, check_cells, open_books, require
from tests.planning.brute_force.mismatches import find_best, is_mismatched, list_stays
from tests.planning.brute_force.neighbourhood import Neighbourhood
from tests.planning.brute_force.plan_symmetries import check_invariances
from tests.planning.brute_force.random_studies import Case, lift_budget, plan_cases
from tests.planning.brute_force.rule_designs import Arm, Choice, Question, list_choices
from tests.planning.brute_force.search_designs import list_drawn, read_fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one case came to."""

    design: str
    num_questions: int
    num_cells: int
    num_skipped: int
    is_refused: bool


def check_case(case: Case) -> Tally:
    """Plan a case and hold the plan, or the refusal, against what the docs say.

    Raises
    ------
    BrokenRuleError
        If they differ.

    """
    near = Neighbourhood(case.study, case.catalog)
    fault = _find_fault(case, near)
    try:
        plan = plan_cases(lift_budget(case))
    except UserError as error:
        _check_refusal(case, near, fault, error)
        return Tally(design=case.study.design.name, num_questions=0, num_cells=0, num_skipped=0, is_refused=True)
    require(fault is None, "it was planned in spite of", fault)
    books = open_books(near, case.study, case.catalog, plan)
    _check_skipped(case, near, plan)
    check_cells(books)
    _check_questions(books, _list_choices(case, near, plan))
    check_invariances(case, plan)
    if case.study.budget.is_set:
        check_budget(case, plan)
    return Tally(
        design=case.study.design.name,
        num_questions=len(plan.contrasts),
        num_cells=len(plan.cells),
        num_skipped=len(plan.skipped),
        is_refused=False,
    )


def _list_targets(case: Case, near: Neighbourhood) -> list[str]:
    """List the subsets that can be asked about, as named or all of them."""
    named = near.subsets if case.study.targets is None else case.study.targets
    return [name for name in named if near.is_askable(name)]


def _list_choices(case: Case, near: Neighbourhood, plan: Plan | None) -> list[Choice]:
    targets = _list_targets(case, near)
    found = list_choices(near, targets, case.study)
    return list_drawn(near, targets, case.study, plan) if found is None else found


def _find_fault(case: Case, near: Neighbourhood) -> str | None:
    """Find what the study asks for that can't be had, whatever the rest is."""
    design = case.study.design
    rows = getattr(design, "rows", None) or ()
    if rows and not any(near.everyone.issuperset((row.target, *row.sources)) for row in rows):
        return "rows that all name unknown subsets"
    named = [*(getattr(design, "nodes", None) or ()), *(getattr(design, "in_distribution", None) or ())]
    if design.name == "attribute_split" and _reads_twice(near, design):
        return "two pairs that read the same"
    unknown = [name for name in named if name not in near.subsets]
    return f"the unknown subset {unknown[0]}" if unknown else None


def _reads_twice(near: Neighbourhood, design: Any) -> bool:
    """Tell whether two pairs that would be offered as answers are one text."""
    places = near.factors.index(design.attribute), near.factors.index(design.object)
    pairs = {tuple(subset.own[place] for place in places) for subset in near.subsets.values()}
    if "open" in design.worlds:
        pairs = {(one[0], other[1]) for one in pairs for other in pairs}
    return len({" ".join(pair) for pair in pairs}) < len(pairs)


def _check_refusal(case: Case, near: Neighbourhood, fault: str | None, error: UserError) -> None:
    """Refuse only what can't be asked, or a combination by name that is none."""
    if fault is not None or not near.subsets:
        return
    if "is not valid" in str(error):
        require(_has_twin_rows(case, near), "a design of the package is refused:", error)
        return
    name = case.study.design.name
    if name == "coverage" or (name in {"divergence", "folds", "distance"} and case.catalog.overlaps):
        return  # which questions it would have asked is not known
    for choice in _list_choices(case, near, None):
        sure = [
            any(_is_sure_of_cells(case, near, part) and not _may_overlap(case, near, part) for part in option)
            for option in choice.options
        ]
        is_free = not (all(sure) if choice.count else any(sure))
        require(is_free or not sure, "refused:", error, "though it could ask", choice.options[:1])


def _has_twin_rows(case: Case, near: Neighbourhood) -> bool:
    rows = [row for row in getattr(case.study.design, "rows", None) or () if row.target in near.subsets]
    return any(near.twins(row.target) & near.filled & {*row.sources} for row in rows)


def _wants(case: Case, arm: str) -> bool:
    return case.study.arms is None or arm in case.study.arms


def _is_sure_of_cells(case: Case, near: Neighbourhood, question: Question) -> bool:
    """Tell whether a question has an arm that the study wants, whatever the seed draws."""
    main = next(arm for (name, _), arm in question.arms.items() if name in MAIN)
    sources = [name for name in main.subsets & near.filled if near.is_askable(name)]
    is_whole = main.num_samples >= len(main.subsets & near.filled)
    own = {name for name, _ in question.arms}
    return any(_wants(case, name) for name in {*own, "zero_shot", "zero_shot_blind", "blind"}) or bool(
        _wants(case, "sources") and question.asks_sources and sources and is_whole
    )


def _may_overlap(case: Case, near: Neighbourhood, question: Question) -> bool:
    """Tell whether copies may stand in training and test of one of a question's cells."""
    trained = {name for arm in question.arms.values() for name in arm.subsets} | {question.target}
    trained |= {subset.name for subset in case.catalog.subsets if subset.kind is Kind.FILLER}
    asked = {question.target, *(question.sources if question.asks_sources else ())}
    overlaps: Sequence[Overlap] = case.catalog.overlaps or ()
    return any(part.count and part.train in trained and part.test in asked for part in overlaps)


def _check_skipped(case: Case, near: Neighbourhood, plan: Plan) -> None:
    """Every target has a question or stands among those that were skipped, with a reason."""
    asked = {contrast.target for contrast in plan.contrasts}
    told = {part.target for part in plan.skipped}
    named = (
        [name for name in near.subsets if near.is_askable(name)] if case.study.targets is None else case.study.targets
    )
    silent = {*named} - asked - told
    require(not silent, "neither asked about nor skipped:", silent)
    for part in plan.skipped:
        require(part.reason, part, "has no reason")
        require(part.question or part.target not in asked, part.target, "is asked about and skipped")
    ids = {contrast.id for contrast in plan.contrasts}
    require(not ids & {part.question for part in plan.skipped}, "a question is asked and skipped")
    for name in {*named} - {name for name in named if near.is_askable(name)}:
        require(name not in asked, name, "can't be a target and is one")


def _check_questions(books: Books, choices: list[Choice]) -> None:
    """Match the questions of a plan with those that there must be."""
    case = Case(seed=0, study=books.study, catalog=books.catalog)
    asked = {key_of(contrast): contrast for contrast in books.plan.contrasts}
    require(len(asked) == len(books.plan.contrasts), "two questions are the same")
    require(len({contrast.id for contrast in books.plan.contrasts}) == len(asked), "two questions have one id")
    expected = {part.key: part for choice in choices for option in choice.options for part in option}
    made_up = asked.keys() - expected.keys()
    require(not made_up, "these questions are made up:", made_up)
    for key, contrast in asked.items():
        _check_question(books, contrast, expected[key])
    for choice in choices:
        _check_choice(case, books, choice, asked)


def key_of(contrast: Contrast) -> tuple[object, ...]:
    """Tell a question from all others of a plan, as `Question.key`."""
    tag = contrast.id if contrast.design == "coverage" else read_fact(contrast, "compound divergence asked")
    return contrast.target, contrast.direction, contrast.level, frozenset(contrast.related), tag


def _check_choice(case: Case, books: Books, choice: Choice, asked: dict[tuple[object, ...], Contrast]) -> None:
    """As many combinations as the study wants are asked about, each at all of its levels."""
    targets = {part.target for option in choice.options for part in option}
    num_told = sum(bool(part.question) and part.target in targets for part in books.plan.skipped)
    num_asked = num_empty = num_unsure = 0
    for option in {
        tuple(part.key for part in option) or place: option for place, option in enumerate(choice.options)
    }.values():
        found = [asked[part.key] for part in option if part.key in asked]
        is_unsure = any(
            not _is_sure_of_cells(case, books.near, part) or _may_overlap(case, books.near, part) for part in option
        )
        num_asked += bool(found)
        num_empty += not option
        num_unsure += is_unsure and not found
        if found and not is_unsure:
            require(len(found) == len(option), "of a combination only these are asked:", [part.id for part in found])
        _check_curve(found)
    wanted = len(choice.options) if choice.count is None else min(choice.count, len(choice.options))
    require(num_asked <= wanted, num_asked, "combinations are asked about instead of", wanted)
    unsaid = wanted - num_asked - num_empty - min(num_unsure, num_told)
    first = next((option[0].key for option in choice.options if option and option[0].key not in asked), None)
    require(unsaid <= 0, unsaid, "questions are missing, for instance", first)


def _check_curve(contrasts: list[Contrast]) -> None:
    if len(contrasts) > 1:
        require(len({part.curve for part in contrasts}) == 1 and contrasts[0].curve, "levels are not on one curve")
        require(len({part.level for part in contrasts}) == len(contrasts), "two questions have one level")


def _check_question(books: Books, contrast: Contrast, question: Question) -> None:
    """Compare a question with what it must be, arm by arm."""
    near, arms = books.near, books.study.arms or tuple(arm for arm in ArmName if arm not in OPTIONAL)
    trainings = {
        (str(part.arm), part.variant): Arm(
            subsets=frozenset(part.subsets),
            num_samples=part.num_samples,
            num_target=part.num_target,
            labels=part.labels,
            sees_target=part.sees_target,
        )
        for part in contrast.trainings
    }
    require(len(trainings) == len(contrast.trainings), contrast.id, "has an arm twice")
    wanted = {key: arm for key, arm in question.arms.items() if key[0] in arms or key[0] in MAIN}
    mismatched = {key: trainings.pop(key) for key in [*trainings] if key[0] == "mismatched"}
    _check_mismatched(books, contrast, question, mismatched)
    _check_unrelated_merge(books, contrast, question, trainings.pop(("composed_unrelated", ""), None))
    for key in trainings.keys() | wanted.keys():
        require(trainings.get(key) == wanted.get(key), contrast.id, key, trainings.get(key), "is not", wanted.get(key))
    require(contrast.view == question.view, contrast.id, "stands for", contrast.view, "and not", question.view)
    require(contrast.fully_covered is question.is_covered, contrast.id, "is covered:", question.is_covered)
    require(contrast.protocol.shots == question.shots, contrast.id, "has", contrast.protocol.shots, "examples")
    require({*contrast.unrelated} == near.unrelated(contrast.target), contrast.id, "names others as unrelated")
    require(contrast.asks_sources == (question.asks_sources and "sources" in arms), contrast.id, "asks its sources")
    for part in contrast.trainings:
        require(list(part.subsets) == sorted({*part.subsets}), contrast.id, part.arm, "names subsets in disorder")


def _check_unrelated_merge(books: Books, contrast: Contrast, question: Question, found: Arm | None) -> None:
    """As many unrelated subsets as sources, that can give as much each; there wherever there are such."""
    near, related = books.near, next(arm for key, arm in question.arms.items() if key[0] in MAIN)
    count, budget = len(question.sources), related.num_samples
    able = {name for name in near.unrelated(question.target) if near.subsets[name].num_train * count >= budget}
    is_wanted = books.study.arms is not None and "composed_unrelated" in books.study.arms
    may_be = is_wanted and question.is_apart and ("composed", "") in question.arms and len(able) >= count
    require((found is not None) is may_be, contrast.id, "has an unrelated merge", found, "where it may have:", may_be)
    if found is not None:
        require(found.subsets <= able and len(found.subsets) == count, contrast.id, "merges", found.subsets)
        require(replace(found, subsets=related.subsets) == related, contrast.id, "merges otherwise:", found)


def _check_mismatched(books: Books, contrast: Contrast, question: Question, found: dict[tuple[str, str], Arm]) -> None:
    """A mismatched arm is one of those that there may be, and is there if one may be."""
    require(len(found) <= 1, contrast.id, "has several mismatched arms")
    related = next(arm for key, arm in question.arms.items() if key[0] in MAIN)
    may_be = question.is_apart and (books.study.arms is None or "mismatched" in books.study.arms)
    best = find_best(books.near, question) if may_be else None
    require(bool(found) is (best is not None), contrast.id, "has the mismatched arm", found, "where it is", best)
    for (_, factor), arm in found.items():
        place = books.near.factors.index(factor)
        require(replace(arm, subsets=related.subsets) == related, contrast.id, "trains otherwise:", arm)
        stays = list_stays(books.near, question, place)
        require(stays is not None and len(stays) == best, contrast.id, factor, "does not leave", best, "sources")
        is_one = is_mismatched(books.near, question, place, arm.subsets)
        require(is_one, contrast.id, "is not mismatched in", factor, "by", arm.subsets)
