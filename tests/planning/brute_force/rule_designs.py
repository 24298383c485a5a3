"""Held-out questions that a design must ask, by trying everything; written from docs/designs.md and the docstrings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

from cg_lab.mat import Kind
from cg_lab.study import Study
from tests.planning.brute_force.neighbourhood import Names, Neighbourhood


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What an arm is trained on."""

    subsets: Names
    num_samples: int
    num_target: int = 0
    labels: str = "true"
    sees_target: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A held-out question."""

    target: str
    sources: Names
    view: tuple[str, ...]
    direction: str | None = None
    level: float | None = None
    arms: dict[tuple[str, str], Arm] = field(default_factory=dict[tuple[str, str], Arm])
    """By name and variant."""
    is_covered: bool
    shots: int = 0
    is_apart: bool = False
    """Whether there are arms that take the combination apart."""
    asks_sources: bool = False
    tag: str = ""
    """Tells questions apart that differ in nothing else."""

    @property
    def key(self) -> tuple[object, ...]:
        """Tell it from all others of a plan."""
        return self.target, self.direction, self.level, self.sources, self.tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Combinations of which a design asks some, or all; each with its questions, one a level."""

    count: int | None
    """How many are asked about; None for all."""
    options: tuple[tuple[Question, ...], ...]


def pose(
    near: Neighbourhood,
    target: str,
    sources: Iterable[str],
    most: int,
    *,
    view: tuple[str, ...] | None = None,
    more: dict[tuple[str, str], Names] | None = None,
    has_unrelated: bool = True,
    is_named: bool = False,
    **fields: Any,
) -> Question | None:
    """Give every arm as many samples as the poorest has; None if that is none.

    Of few sources that are asked about by name, each that has so many is trained on alone too.
    """
    names, unrelated, subset = frozenset(sources), near.unrelated(target), near.subsets[target]
    pools = {("related", ""): names, **(more or {})}
    if has_unrelated and near.count_train(unrelated):
        pools["unrelated", ""] = unrelated
    budget = min(most, *(near.count_train(pool) for pool in pools.values()))
    if not budget:
        return None
    arms = {key: Arm(subsets=pool, num_samples=budget) for key, pool in pools.items()}
    if all(near.subsets[name].kind is Kind.CLASSIFICATION for name in names):
        arms["shuffled", ""] = Arm(subsets=names, num_samples=budget, labels="shuffled")
    if subset.num_train:
        arms["ceiling", ""] = Arm(subsets=frozenset({target}), num_samples=min(budget, subset.num_train))
    shown = view or subset.own
    is_apart = is_named and 2 <= len(names) <= len(near.factors)
    if is_apart:
        rich = (name for name in names if near.subsets[name].num_train >= budget)
        alone = {("alone", name): Arm(subsets=frozenset({name}), num_samples=budget) for name in rich}
        arms |= alone
        if budget >= len(names):
            arms["composed", ""] = Arm(subsets=names, num_samples=budget)
            if len(alone) == len(names):
                arms["composed_alone", ""] = Arm(subsets=names, num_samples=budget * len(names))
    return Question(
        target=target,
        sources=names,
        is_apart=is_apart,
        view=shown,
        arms=arms,
        is_covered=near.is_sure_to_show(shown, names, budget),
        **fields,
    )


def list_choices(near: Neighbourhood, targets: Sequence[str], study: Study) -> list[Choice] | None:
    """List what a design must ask about some targets; None where its choice is drawn or searched for."""
    lister = LISTERS.get(study.design.name)
    return None if lister is None else [part for part in lister(near, targets, study.design) if part.options]


def _offer(questions: Iterable[Question | None]) -> Choice:
    """Ask each of some questions."""
    return Choice(count=None, options=tuple((question,) for question in questions if question is not None))


def _use_samples(near: Neighbourhood, names: Iterable[str]) -> list[str]:
    """Give those that have training samples, or all where none has any."""
    found = list(names)
    return [name for name in found if name in near.filled] or found


def _deal(places: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Deal factors to two sources in every way, one or more to each."""
    for sides in product((0, 1), repeat=len(places)):
        dealt = [[place for place, side in zip(places, sides, strict=True) if side == number] for number in (0, 1)]
        if all(dealt):
            yield dealt[0], dealt[1]


def find_pairs(near: Neighbourhood, target: str, direction: str) -> dict[Names, tuple[str, ...]]:
    """Find every pair of sources with what the target stands for: the first view that allows the pair.

    The element `direction` is shared by all three, and of each other one source shows it and the other shows another.
    """
    allowed = [name for name in near.subsets if name != target and not near.is_twin(target, name)]
    found: dict[Names, tuple[str, ...]] = {}
    for view in near.views(target):

        def fits(name: str, shown: Iterable[int], hidden: Iterable[int], view: tuple[str, ...] = view) -> bool:
            return all(near.shows(name, place, view[place]) for place in shown) and all(
                near.can_hide(name, place, view[place]) for place in hidden
            )

        pools: list[tuple[list[str], list[str]]] = []
        if direction == "pair":
            rest = list(near.places)[2:]
            if view[:2] in near.tied and rest:
                others = [
                    name
                    for name in allowed
                    if any(near.shows(name, 0, first) and near.shows(name, 1, second) for first, second in near.tied)
                ]
                pools.append(
                    (
                        [name for name in allowed if fits(name, (0, 1), rest)],
                        [name for name in others if fits(name, rest, (0, 1))],
                    )
                )
        else:
            fixed = near.factors.index(direction)
            for first, second in _deal([place for place in near.places if place != fixed]):
                pools.append(
                    (
                        [name for name in allowed if fits(name, [fixed, *first], second)],
                        [name for name in allowed if fits(name, [fixed, *second], first)],
                    )
                )
        for pair in pools:
            for one, other in product(*(_use_samples(near, pool) for pool in pair)):
                if one != other and near.filled & {one, other}:
                    found.setdefault(frozenset({one, other}), view)
    return found


def _list_options(
    near: Neighbourhood, target: str, direction: str, settings: Any, make: Callable[..., Iterable[Question | None]]
) -> tuple[tuple[Question, ...], ...]:
    """List the source pairs of a target in a direction, each with the questions that are made of it."""
    if not near.count_train(near.unrelated(target)):
        return ()
    if direction == "all_related":
        related = near.related(target)
        pairs = {related: near.subsets[target].own} if near.filled & related else {}
    else:
        pairs = find_pairs(near, target, direction)
    if settings.name == "cross_kind":
        both = {Kind.CLASSIFICATION, Kind.DETECTION}
        pairs = {pair: view for pair, view in pairs.items() if {near.subsets[name].kind for name in pair} == both}
    options: list[tuple[Question, ...]] = []
    for pair, view in pairs.items():
        questions = [part for part in make(near, target, pair, view, direction, settings) if part is not None]
        options.append(tuple(questions))
    return tuple(options)


def _ask_once(near: Neighbourhood, target: str, pair: Names, view: Any, direction: str, settings: Any) -> Any:
    yield _pose_named(near, target, pair, settings.max_samples, view, direction, asks_sources=True)


def _pose_named(
    near: Neighbourhood, target: str, pair: Names, most: int, view: Any, direction: str | None, **fields: Any
) -> Question | None:
    is_named = direction != "all_related"
    return pose(near, target, pair, most, view=view, direction=direction, is_named=is_named, **fields)


def _ask_at_sizes(near: Neighbourhood, target: str, pair: Names, view: Any, direction: str, settings: Any) -> Any:
    for size in sorted({*settings.sizes}):
        question = _pose_named(near, target, pair, min(size, settings.max_samples), view, direction, level=size)
        if question is not None and question.arms["related", ""].num_samples == size:
            yield question


def _ask_with_target(near: Neighbourhood, target: str, pair: Names, view: Any, direction: str, settings: Any) -> Any:
    for amount in sorted({*settings.target_samples}):
        question = _pose_named(near, target, pair, settings.max_samples, view, direction, level=amount)
        if question is not None and amount <= near.subsets[target].num_train:
            arms = {
                key: replace(arm, num_target=amount)
                for key, arm in question.arms.items()
                if key[0] in {"related", "unrelated", "alone"}
            }
            if amount:
                arms["ceiling", ""] = Arm(subsets=frozenset({target}), num_samples=amount)
            yield replace(question, arms=arms)


def _ask_with_examples(near: Neighbourhood, target: str, pair: Names, view: Any, direction: Any, settings: Any) -> Any:
    subset = near.subsets[target]
    for shots in sorted({*settings.shots}):
        if shots * max(1, len(subset.labels)) <= subset.num_train:
            question = _pose_named(near, target, pair, settings.max_samples, view, direction)
            yield question and replace(question, level=shots, shots=shots)


def _ask_boxes(near: Neighbourhood, target: str, pair: Names, view: Any, direction: Any, settings: Any) -> Any:
    question = _pose_named(near, target, pair, settings.max_samples, view, direction, asks_sources=True)
    subset = near.subsets[target]
    if question is None or subset.kind is not Kind.DETECTION:
        yield question
        return
    amount = min(settings.target_samples, subset.num_train)
    arms = {
        key: arm if key[0] == "ceiling" else replace(arm, num_target=amount)
        for key, arm in question.arms.items()
        if key[0] not in {"shuffled", "composed", "composed_alone"} or not amount
    }
    yield replace(question, arms=arms)


MAKERS: dict[str, Callable[..., Any]] = {
    "two_source": _ask_once, "three_source": _ask_once, "backbones": _ask_once, "size_curve": _ask_at_sizes,
    "target_curve": _ask_with_target, "few_shot": _ask_with_examples, "cross_kind": _ask_boxes,
}  # fmt: skip


def _list_pair_questions(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    make = MAKERS[settings.name]
    if getattr(settings, "rows", None) is not None:
        yield from _list_rows(near, targets, settings, make)
        return
    for target in targets:
        for direction in dict.fromkeys(settings.directions):
            options = _list_options(near, target, direction, settings, make)
            yield Choice(count=settings.combinations, options=options)


def _list_rows(near: Neighbourhood, targets: Sequence[str], settings: Any, make: Callable[..., Any]) -> Any:
    """Take the combinations that a study names, whatever they share."""
    for row in settings.rows:
        if row.target in targets and near.everyone.issuperset(row.sources):
            sources = frozenset(row.sources)
            view = choose_view(near, row.target, sources, row.direction)
            made = [part for part in make(near, row.target, sources, view, row.direction, settings) if part is not None]
            if settings.name == "few_shot":
                made = [replace(part, asks_sources=False) for part in made]
            yield Choice(count=None, options=(tuple(made),))


def choose_view(near: Neighbourhood, target: str, sources: Names, direction: str | None) -> tuple[str, ...]:
    """Let a target stand for what it does in the pairs of a direction, else for what its sources show between them.

    First for what none of them shows alone.
    """
    found = find_pairs(near, target, direction) if direction in {*near.factors, "pair"} else {}
    if sources in found:
        return found[sources]
    shown = [view for view in near.views(target) if near.is_sure_to_show(view, sources, len(sources))]
    apart = [
        view
        for view in shown
        if not any(all(near.shows(name, place, view[place]) for place in near.places) for name in sources & near.filled)
    ]
    return next(iter([*apart, *shown, near.subsets[target].own]))


def _list_drawn_rows(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    """Draw a few combinations of each direction, over all targets together."""
    for direction in dict.fromkeys(settings.directions):
        if settings.rows is None:
            options = [
                option for target in targets for option in _list_options(near, target, direction, settings, _ask_once)
            ]
        else:
            rows = [row for row in settings.rows if row.direction == direction]
            found = [
                part for row in rows for part in _list_rows(near, targets, replace(settings, rows=(row,)), _ask_once)
            ]
            options = [*(part.options[0] for part in found), *([()] * (len(rows) - len(found)))]
        yield Choice(count=settings.per_direction, options=tuple(options))


def _list_source_sets(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    """Find one source an element, which shows that element and stands for other ones of all other factors."""
    if settings.rows is not None:
        yield from _list_rows(near, targets, settings, _ask_once)
        return
    for target in targets:
        if not near.count_train(near.unrelated(target)):
            continue
        found: dict[Names, tuple[str, ...]] = {}
        for view in near.views(target):
            pools = [
                _use_samples(
                    near,
                    (
                        name
                        for name in near.subsets
                        if name != target and not near.is_twin(target, name) and near.shows(name, shown, view[shown])
                        if all(near.can_hide(name, place, view[place]) for place in near.places if place != shown)
                    ),
                )
                for shown in near.places
            ]
            for pick in product(*pools):
                if len({*pick}) == len(pick) and near.filled & {*pick}:
                    found.setdefault(frozenset(pick), view)
        questions = (
            _pose_named(near, target, pick, settings.max_samples, view, None, asks_sources=True)
            for pick, view in found.items()
        )
        yield replace(_offer(questions), count=settings.combinations)


def _list_all_related(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    for target in targets:
        related, unrelated = near.related(target), near.unrelated(target)
        if related and near.count_train(unrelated):
            more = {("all_data", ""): related | unrelated}
            asks = settings.asks_sources
            yield _offer([pose(near, target, related, settings.max_samples, more=more, asks_sources=asks)])


def _list_disruptions(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    for target in targets:
        related, unrelated = near.related(target), near.unrelated(target)
        if not related or not near.count_train(unrelated):
            continue
        more: dict[tuple[str, str], Names] = {("all_data", ""): related | unrelated}
        for place in near.places:
            own = near.subsets[target].own[place]
            rest = frozenset(
                name
                for name in related
                if not (
                    near.shows(name, place, own) if settings.leave_out == "own" else place in near.shared(target, name)
                )
            )
            if near.count_train(rest):
                more["without", near.factors[place]] = rest
        yield _offer([pose(near, target, related, settings.max_samples, more=more)])


def _list_crossmed(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    for target in targets:
        related = near.related(target)
        several = frozenset(name for name in related if len(near.shared(target, name)) >= 2)
        single = related - several
        if near.count_train(near.unrelated(target)):
            yield _offer([pose(near, target, several, settings.max_samples, more={("partial", ""): single})])


def _list_multi_task(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    """Train on the in-distribution subsets together; a target outside of them is held out, with its twins."""
    marked = [name for name, subset in near.subsets.items() if subset.split == "in_distribution"]
    others = [name for name in near.subsets if name not in targets]
    named = settings.in_distribution
    inside = frozenset(named if named is not None else marked or others or near.subsets)
    tested = {target for target in targets if target not in inside}
    if settings.tests_in_distribution:
        tested |= {*targets} | {name for name in inside if near.is_askable(name)}
    for target in sorted(tested):
        is_inside = target in inside
        visible = inside - near.twins(target) - {target}
        together = inside if is_inside else visible
        size = min(settings.max_samples, near.count_train(together))
        arms = {("multi_task", ""): Arm(subsets=together, num_samples=size, sees_target=is_inside)}
        own = near.subsets[target].num_train
        if own:
            arms["ceiling", ""] = Arm(subsets=frozenset({target}), num_samples=min(settings.max_samples, own))
        view = near.subsets[target].own
        question = Question(
            target=target,
            sources=together,
            view=view,
            direction=f"{'in' if is_inside else 'out of'} distribution",
            arms=arms,
            is_covered=near.is_sure_to_show(view, together, size, of=visible),
        )
        yield _offer([question] if size else [])


def _list_mixtures(near: Neighbourhood, targets: Sequence[str], settings: Any) -> Iterator[Choice]:
    """Train on every few subsets, and on those that are named; ask about each target that they show nothing of."""
    mixtures = {frozenset(names) for names in settings.mixtures}
    for size in settings.sizes:
        mixtures |= {frozenset(names) for names in combinations(sorted(near.filled), size)}
    for names in mixtures:
        size = min(settings.max_samples, near.count_train(names))
        held_out = [target for target in targets if not names & (near.twins(target) | {target})]
        yield _offer(
            Question(
                target=target,
                sources=names,
                view=near.subsets[target].own,
                arms={("related", ""): Arm(subsets=names, num_samples=size)},
                is_covered=near.is_sure_to_show(near.subsets[target].own, names, size),
            )
            for target in held_out
            if size >= len(names)
        )


LISTERS: dict[str, Callable[..., Iterator[Choice]]] = {
    **dict.fromkeys(("two_source", "size_curve", "target_curve", "few_shot", "cross_kind"), _list_pair_questions),
    "backbones": _list_drawn_rows,
    "three_source": _list_source_sets,
    "all_related": _list_all_related,
    "disrupt": _list_disruptions,
    "crossmed": _list_crossmed,
    "multi_task": _list_multi_task,
    "transfer": _list_mixtures,
}
