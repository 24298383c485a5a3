"""Sets of sources that a mismatched arm may be trained on; written from docs/designs.md, by trying everything."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from tests.planning.brute_force.neighbourhood import Names, Neighbourhood
from tests.planning.brute_force.rule_designs import Question


def find_best(near: Neighbourhood, question: Question) -> int | None:
    """Find how many of the related sources stay at most in a set of as many; None if there is no such set."""
    found: list[int] = []
    for place in near.places:
        stays = list_stays(near, question, place)
        if stays is None:
            continue
        others = [name for name in near.filled - question.sources if _fits(near, question, place, name)]
        wanted = len(question.sources) - len(stays)
        if any(is_mismatched(near, question, place, stays | {*new}) for new in combinations(others, wanted)):
            found.append(len(stays))
    return max(found, default=None)


def list_stays(near: Neighbourhood, question: Question, place: int) -> Names | None:
    """List the related sources that stay if an element is left out; None if it can't be.

    It is not the task, and related sources with samples show it.
    """
    shown = [name for name in question.sources & near.filled if near.shows(name, place, question.view[place])]
    if place == _find_task(near) or not shown:
        return None
    return frozenset(name for name in question.sources & near.filled if _fits(near, question, place, name))


def is_mismatched(near: Neighbourhood, question: Question, place: int, names: Names) -> bool:
    """Tell whether some subsets are as many of the task as the sources and show all but one element."""
    stays = list_stays(near, question, place)
    if stays is None or not stays <= names or len(names) != len(question.sources):
        return False
    left_out = {0, 1} if place < 2 and question.view[:2] in near.tied else {place}
    return (
        all(name in near.filled and _fits(near, question, place, name) for name in names)
        and all(
            any(near.shows(name, other, question.view[other]) for name in names)
            for other in near.places
            if other not in left_out
        )
        and _can_replace(near, question, question.sources - stays, names - stays)
    )


def _find_task(near: Neighbourhood) -> int:
    return near.factors.index("task") if "task" in near.factors else len(near.factors) - 1


def _fits(near: Neighbourhood, question: Question, place: int, name: str) -> bool:
    """Tell whether a subset is of the target's task, does not show the element, and is not the target or like it."""
    task = _find_task(near)
    return (
        near.shows(name, task, question.view[task])
        and not near.shows(name, place, question.view[place])
        and name != question.target
        and not near.is_twin(question.target, name)
        and (name, question.target) not in near.copies
    )


def _can_replace(near: Neighbourhood, question: Question, old: Names, new: Names) -> bool:
    """Tell whether each subset can stand for one of its kind and give as many samples, one at least."""
    given = _spread(near, question)
    for kind in {near.subsets[name].kind for name in old | new}:
        needed = sorted(max(1, given[name]) for name in old if near.subsets[name].kind is kind)
        available = sorted(near.subsets[name].num_train for name in new if near.subsets[name].kind is kind)
        if len(needed) != len(available):
            return False
        if any(size < need for size, need in zip(available, needed, strict=True)):
            return False
    return True


def _spread(near: Neighbourhood, question: Question) -> dict[str, int]:
    """Give the most samples that each source gives, whichever comes first: a round for each of them, and so on."""
    left, given = question.arms["related", ""].num_samples, Counter[str]()
    while left > 0:
        waiting = [name for name in question.sources if given[name] < near.subsets[name].num_train]
        given.update(waiting)
        left -= len(waiting)
    return {name: given[name] for name in question.sources}
