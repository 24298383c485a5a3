"""Designs that draw or search for what they ask: what they chose, held against what they may choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from math import isclose
from typing import Any

from cg_lab.planning.plan import Contrast, Plan
from cg_lab.study import Study
from tests.planning.brute_force.cell_proofs import require
from tests.planning.brute_force.neighbourhood import Names, Neighbourhood
from tests.planning.brute_force.rule_designs import Arm, Choice, Question, pose

Finder = Callable[[Neighbourhood, Sequence[str], Any, Plan | None], Iterator[Question | None]]


def list_drawn(near: Neighbourhood, targets: Sequence[str], study: Study, plan: Plan | None) -> list[Choice]:
    """Read off a plan what its design chose, and list what it then has to ask; without a plan, what can't be left out.

    Raises
    ------
    BrokenRuleError
        If the choice is not one that the design may make.

    """
    found = [part for part in FINDERS[study.design.name](near, targets, study.design, plan) if part is not None]
    return [Choice(count=None, options=((question,),)) for question in found]


def read_fact(contrast: Contrast, name: str) -> str:
    """Read a fact that a design found out; empty if it did not."""
    return next((fact.value for fact in contrast.facts if fact.name == name), "")


def _list_shells(near: Neighbourhood, nodes: Names, targets: Sequence[str]) -> dict[int, list[str]]:
    """Sort targets by the elements in which they differ from the nearest node; nodes and their twins are none."""
    shells: dict[int, list[str]] = {}
    for target in targets:
        if target not in nodes and not near.twins(target) & nodes:
            distance = len(near.places) - max(len(near.shared(target, node)) for node in nodes)
            if distance:
                shells.setdefault(distance, []).append(target)
    return shells


def _find_distances(near: Neighbourhood, targets: Sequence[str], settings: Any, plan: Plan | None) -> Any:
    contrasts = plan.contrasts if plan else ()
    chosen = {frozenset(contrast.related) for contrast in contrasts}
    if settings.nodes is not None:
        nodes = near.filled & {*settings.nodes}
        sets = [nodes] if nodes else []
        require(chosen <= {*sets}, "other nodes are trained on than those named:", chosen)
    else:
        sets = [
            frozenset(nodes)
            for nodes in combinations(sorted(near.filled), settings.num_nodes)
            if len(_list_shells(near, frozenset(nodes), targets)) == len(near.places)
        ]
        require(chosen <= {*sets}, "these nodes leave a shell empty:", [sorted(part) for part in chosen - {*sets}])
        if plan is not None:
            expected = min(settings.num_sets, len(sets))
            sets = sorted(chosen, key=sorted)
            require(len(sets) == expected, len(sets), "sets of nodes were drawn, where there are", expected)
    left_out = plan is not None and any(part.question for part in plan.skipped)
    for nodes in sets:
        if min(settings.max_samples, near.count_train(nodes)) < len(nodes):
            continue
        for distance, members in _list_shells(near, nodes, targets).items():
            asked = [part.target for part in contrasts if {*part.related} == nodes and part.level == distance]
            if settings.nodes is None or plan is not None:
                count = min(len(members), settings.per_shell)
                is_whole = plan is None or len({*asked}) == count or (left_out and len({*asked}) < count)
                require(is_whole, nodes, "at distance", distance, "asks", asked)
            for target in asked if plan is not None else members:
                question = pose(
                    near, target, nodes, settings.max_samples, direction=f"distance {distance}", level=distance
                )
                yield question if question and len(nodes) <= question.arms["related", ""].num_samples else None


def _find_splits(near: Neighbourhood, targets: Sequence[str], settings: Any, plan: Plan | None) -> Any:
    """Hold a split against Keysers et al.: twins on one side, and the divergence that it is said to have."""
    testable = [name for name in near.subsets if near.is_askable(name)]
    apart = len({near.twin_group(name) for name in testable}) > 1
    if plan is None and apart and {*targets} == {*testable} and near.filled == near.everyone:
        yield _pose_trained(near, targets[0], settings.max_samples)
    for asked in sorted({*settings.divergences}):
        contrasts = [
            part
            for part in (plan.contrasts if plan else ())
            if read_fact(part, "compound divergence asked") == f"{asked:g}"
        ]
        if plan is not None and not apart:
            require(not contrasts, "a split of subsets that count as each other")
        require(len({frozenset(part.related) for part in contrasts}) <= 1, "two splits for one divergence")
        for part in contrasts[:1]:
            training = frozenset(part.related)
            test = near.everyone - training
            require(not any(near.twins(name) & training for name in test), "twins stand on both sides:", test)
            level, measured = part.level or 0.0, _measure_divergence(near, training, test)
            require(isclose(level, measured, abs_tol=1e-4), part.id, "has the divergence", measured, "and not", level)
            require(isclose(float((part.direction or "").split()[-1]), level, abs_tol=0.006), part.id, part.direction)
            for target in sorted(test & {*targets}):
                question = pose(near, target, training, settings.max_samples)
                yield question and replace(question, level=level, direction=part.direction, tag=f"{asked:g}")


def _pose_trained(near: Neighbourhood, target: str, num_samples: int) -> Question:
    """Stand for some question of a design that should not have been refused."""
    arms = {("related", ""): Arm(subsets=near.everyone, num_samples=num_samples)}
    return Question(target=target, sources=near.everyone, view=(), arms=arms, is_covered=False)


def _measure_divergence(near: Neighbourhood, training: Names, test: Names) -> float:
    """Compute 1 - sum over p^0.1 q^0.9 of the pairs of own elements on both sides."""
    counts = [
        Counter(
            (pair, tuple(near.subsets[name].own[place] for place in pair))
            for name in side
            for pair in combinations(near.places, 2)
        )
        for side in (training, test)
    ]
    overlap = sum(
        (counts[0][pair] / counts[0].total()) ** 0.1 * (count / counts[1].total()) ** 0.9
        for pair, count in counts[1].items()
    )
    return max(0.0, 1 - overlap)


def _find_unseen_pairs(near: Neighbourhood, targets: Sequence[str], settings: Any, plan: Plan | None) -> Any:
    places = near.factors.index(settings.attribute), near.factors.index(settings.object)
    pair_of = {name: tuple(subset.own[place] for place in places) for name, subset in near.subsets.items()}
    pairs = {*pair_of.values()}
    contrasts = plan.contrasts if plan else ()
    if plan is None or not contrasts:
        for target in targets if near.filled == near.everyone else ():
            yield None if near.twins(target) else _pose_trained(near, target, settings.max_samples)
        return
    (trained,) = {frozenset(part.related) for part in contrasts}
    seen = {pair_of[name] for name in trained}
    require(trained == {name for name, pair in pair_of.items() if pair in seen}, "a seen pair is not trained on whole")
    budget = min(settings.max_samples, near.count_train(trained))
    left_out = any(part.question for part in plan.skipped)
    sides = dict.fromkeys(seen, "seen")
    for part in contrasts:
        side = (part.direction or "").split(",")[0]
        require(sides.setdefault(pair_of[part.target], side) == side, pair_of[part.target], "is on two sides")
    _check_sides(pairs, seen, sides, settings)
    for world in settings.worlds:
        texts = pairs if world == "closed" else {(one[0], other[1]) for one in pairs for other in pairs}
        for target in targets:
            is_seen = pair_of[target] in seen
            if near.twins(target) & trained and not is_seen:
                continue
            if pair_of[target] not in sides:
                require(left_out, target, "is in an unseen pair and not asked about")
                continue
            question = Question(
                target=target,
                sources=trained,
                view=near.subsets[target].own,
                direction=f"{sides[pair_of[target]]}, {world} world",
                arms={("related", ""): Arm(subsets=trained, num_samples=budget, sees_target=is_seen)},
                is_covered=not is_seen
                and near.is_sure_to_show(near.subsets[target].own, trained, budget, places=places),
            )
            yield question
            for part in contrasts:
                if part.target == target and part.direction == question.direction:
                    found = (part.protocol.ask, part.protocol.places, part.protocol.candidates)
                    expected = ("elements", places, tuple(sorted(" ".join(pair) for pair in texts)))
                    require(found == expected, part.id, "offers", found, "where there are", expected)


def _check_sides(pairs: set[Any], seen: set[Any], sides: dict[Any, str], settings: Any) -> None:
    """Attribute and object of an unseen pair are seen, and no further pair could have been kept unseen."""
    unseen = pairs - seen
    quota = {
        "test": round(settings.test_share * len(pairs)),
        "validation": round(settings.validation_share * len(pairs)),
    }
    for place in (0, 1):
        known = {pair[place] for pair in seen}
        require(all(pair[place] in known for pair in unseen), "an unseen pair has an unseen part:", unseen)
    counts = Counter(sides.values())
    require(all(counts[side] <= most for side, most in quota.items()), "too many pairs are unseen:", counts)
    require(len(unseen) <= sum(quota.values()), "too many pairs are unseen:", unseen)
    for pair in seen if len(unseen) < sum(quota.values()) else ():
        alone = any(sum(other[place] == pair[place] for other in seen) == 1 for place in (0, 1))
        require(alone, pair, "could have been kept unseen too")


def _find_folds(near: Neighbourhood, targets: Sequence[str], settings: Any, plan: Plan | None) -> Any:
    """Hold each subset out once whose elements are shown by others than those that count as it."""
    groups = {near.twin_group(name) for name in near.subsets}
    coverable = {name for group in groups if _shows_own(near, near.everyone - group, group) for name in group}
    if plan is None:
        asked = coverable.intersection(targets) if settings.folds is None else ()
        yield from (_pose_trained(near, target, settings.max_samples) for target in sorted(asked))
        return
    rests: dict[str, Names] = {}
    for part in plan.contrasts:
        rest = rests.setdefault(part.direction or "", frozenset(part.related))
        require(rest == {*part.related}, part.id, "trains on others than its fold's rest")
    folds = {direction: near.everyone - rest for direction, rest in rests.items()}
    require(sum(map(len, folds.values())) == len(frozenset().union(*folds.values())), "a subset is in two folds")
    number = max(int(direction.split()[-1]) for direction in folds)
    require(settings.folds in {None, number}, number, "folds were made")
    most = min(settings.max_samples, *map(near.count_train, rests.values()))
    for direction, fold in folds.items():
        require(fold <= coverable, fold - coverable, "are held out and nowhere else shown")
        require(
            all(near.twin_group(name) <= fold for name in fold), "subsets that count as each other are in two folds"
        )
        require(_shows_own(near, rests[direction], fold), direction, "leaves an element to nobody")
        pools = {name: near.count_train(near.unrelated(name)) for name in fold if near.is_askable(name)}
        planned = next(part.main.num_samples for part in plan.contrasts if part.direction == direction and part.main)
        budget = _choose_budget(pools.values(), most) if len(folds) == number else planned
        for target in sorted(fold.intersection(targets)):
            has_pool = pools[target] >= budget
            yield pose(near, target, rests[direction], budget, has_unrelated=has_pool, direction=direction)
    if not any(part.question for part in plan.skipped):
        missing = coverable.intersection(targets) - frozenset().union(*folds.values())
        require(not missing, missing, "could be held out and are in no fold")


def _shows_own(near: Neighbourhood, training: Names, held_out: Names) -> bool:
    return all(near.is_sure_to_show(near.subsets[name].own, training, len(training)) for name in held_out)


def _choose_budget(pools: Iterable[int], most: int) -> int:
    """Take the smallest pool that is at least half of the middle one, the upper of two."""
    sizes = sorted(min(size, most) for size in pools if size)
    return min((size for size in sizes if 2 * size >= sizes[len(sizes) // 2]), default=most)


def _find_grids(near: Neighbourhood, targets: Sequence[str], settings: Any, plan: Plan | None) -> Any:
    """Take the rows and columns that a design chose as given: who shows each how often, at which levels."""
    places = near.factors.index(settings.factors[0]), near.factors.index(settings.factors[1])
    curves: dict[str, list[Contrast]] = {}
    has_skipped = plan is not None and any(part.question for part in plan.skipped)
    for contrast in plan.contrasts if plan else ():
        curves.setdefault(contrast.curve, []).append(contrast)
    for contrasts in curves.values():
        size, left_out = int(read_fact(contrasts[0], "values")), read_fact(contrasts[0], "levels left out")
        levels = {part.level for part in contrasts} | {int(text.split()[0]) for text in left_out.split("; ") if text}
        is_told = levels == {level for level in settings.shown if level < size} or has_skipped
        require(is_told, contrasts[0].id, "has the levels", levels)
        require(len({part.main and part.main.num_samples for part in contrasts}) == 1, "levels have several budgets")
        for part in contrasts:
            assert part.main is not None
            level, view, sources = int(part.level or 0), part.view, frozenset(part.related)
            require(part.target in targets and view in near.views(part.target), part.id, "stands for", view)
            require(
                len(sources) == size * level <= part.main.num_samples <= settings.max_samples, part.id, "has", sources
            )
            fixed = [place for place in near.places if place not in places]
            require(
                all(near.shows(name, place, view[place]) for name in sources for place in fixed), part.id, "is no grid"
            )
            require(
                _shows_each(near, places, sources, part.target, (size, level)), part.id, "does not show each as often"
            )
            question = pose(near, part.target, sources, part.main.num_samples, view=view, level=level)
            yield question and replace(question, direction=part.direction, tag=part.id)


def _shows_each(
    near: Neighbourhood, places: tuple[int, int], sources: Names, target: str, shape: tuple[int, int]
) -> bool:
    """Tell whether some n values of both factors are shown k times each, one by every subset and by the target."""
    size, level = shape
    for place in places:
        known = {value for name in {*sources, target} for value in near.values[name][place]}
        if not any(
            all(len(near.values[name][place].intersection(values)) == 1 for name in {*sources, target})
            and all(sum(near.shows(name, place, value) for name in sources) == level for value in values)
            for values in combinations(sorted(known), size)
        ):
            return False
    return True


FINDERS: dict[str, Finder] = {
    "distance": _find_distances,
    "divergence": _find_splits,
    "attribute_split": _find_unseen_pairs,
    "coverage": _find_grids,
    "folds": _find_folds,
}
