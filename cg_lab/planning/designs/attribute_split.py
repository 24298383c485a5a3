"""Seen and unseen pairs with validation pairs, closed and open world (compositional zero-shot learning).

The split follows Purushwalkam et al. 2019 (arXiv 1905.05908, section 4: unseen validation and test pairs, generalized
evaluation over seen and unseen ones), the open world Mancini et al. 2021 (arXiv 2101.12609).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Literal

from pydantic import Field

from cg_lab.arms import Arm
from cg_lab.errors import UserError, suggest
from cg_lab.mat import Subset
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import Contrast, Fact, Skipped, Training
from cg_lab.planning.posing import covers, order
from cg_lab.planning.work import Protocol
from cg_lab.study import DesignSettings

Pair = tuple[str, str]
Side = Literal["seen", "validation", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(DesignSettings):
    """What is an attribute, what an object, and how many pairs stay unseen."""

    attribute: str
    """A factor."""
    object: str
    """Another factor."""
    validation_share: Annotated[float, Field(ge=0, lt=1)]
    """Of all pairs."""
    test_share: Annotated[float, Field(gt=0, lt=1)]
    worlds: Annotated[tuple[Literal["closed", "open"], ...], Field(min_length=1)]
    """Closed offers the pairs that occur, open all pairs of the occurring attributes and objects."""


def find(graph: MatGraph, targets: tuple[Subset, ...], settings: Settings) -> Iterator[Contrast | Skipped]:
    """Train to name the pair on images of seen pairs; ask about images of seen, validation and test pairs.

    A pair can be unseen only if its attribute and its object are seen in other pairs. All worlds share one fine-tune.
    Only attribute and object are asked about: what else a subset is decides nothing here.

    Examples
    --------
    >>> from cg_lab.planning.examples import make_cube
    >>> graph = make_cube("CT MRI US", "Brain Lung Liver", factors=("modality", "area"))
    >>> settings = Settings(
    ...     name="attribute_split",
    ...     kinds=("classification",),
    ...     max_samples=99,
    ...     attribute="modality",
    ...     object="area",
    ...     validation_share=0.2,
    ...     test_share=0.2,
    ...     worlds=("closed", "open"),
    ... )
    >>> counts = Counter(question.direction for question in find(graph, graph.subsets, settings))
    >>> [counts[f"{side}, open world"] for side in ("seen", "validation", "test")]
    [5, 2, 2]

    """
    places = _find_places(graph, settings)
    members: dict[Pair, list[str]] = {}
    for subset in graph.subsets:
        members.setdefault(_pair_of(subset, places), []).append(subset.name)
    sides = _split(sorted(members), settings)
    seen = tuple(sorted(name for pair, names in members.items() if sides[pair] == "seen" for name in names))
    budget = min(settings.max_samples, graph.count_train(graph.gather(seen)))
    known = tuple(sorted(" ".join(pair) for pair in members if sides[pair] == "seen"))
    training = Training(
        arm=Arm.RELATED, subsets=seen, num_samples=budget, ask="elements", places=places, candidates=known
    )
    trained = graph.gather(seen)
    candidates = {world: _list_candidates(members, world) for world in settings.worlds}
    for world in settings.worlds:
        for target in targets:
            pair = _pair_of(target, places)
            is_seen = sides[pair] == "seen"
            label = f"{target.name}/{sides[pair]}/{world}"
            twins = graph.names(graph.twins(target) & trained)
            if not budget or (twins and not is_seen):
                reason = f"{', '.join(twins)} of a seen pair counts as it" if twins else "no seen pair has a sample"
                yield Skipped(target=target.name, question=label, reason=reason)
                continue
            yield Contrast(
                id=label,
                design=settings.name,
                target=target.name,
                view=target.own,
                direction=f"{sides[pair]}, {world} world",
                trainings=(replace(training, sees_target=is_seen),),
                unrelated=graph.unrelated_pool(target).names,
                fully_covered=not is_seen and covers(graph, target.own, seen, budget, factors=places),
                protocol=Protocol(image="original", ask="elements", places=places, candidates=candidates[world]),
                facts=(
                    Fact(name="pair", value=" ".join(pair)),
                    Fact(name="candidates", value=str(len(candidates[world]))),
                ),
            )


def explain_absence(_: Settings) -> str:
    """Say what a target would have needed."""
    return "it has no pair"


def _find_places(graph: MatGraph, settings: Settings) -> tuple[int, int]:
    for key, factor in (("attribute", settings.attribute), ("object", settings.object)):
        if factor not in graph.factors:
            raise UserError(f"design.{key}: no factor '{factor}'; {suggest(factor, graph.factors)}")
    return graph.factors.index(settings.attribute), graph.factors.index(settings.object)


def _pair_of(subset: Subset, places: tuple[int, int]) -> Pair:
    return subset.own[places[0]], subset.own[places[1]]


def _split(pairs: list[Pair], settings: Settings) -> dict[Pair, Side]:
    """Move pairs out of the seen ones, in an order drawn by hash, as long as attribute and object stay seen."""
    sides: dict[Pair, Side] = dict.fromkeys(pairs, "seen")
    attributes, objects = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    left = {
        "test": round(settings.test_share * len(pairs)),
        "validation": round(settings.validation_share * len(pairs)),
    }
    by_text = {" ".join(pair): pair for pair in pairs}
    for text in order(by_text, ["pairs"]):
        pair = by_text[text]
        if attributes[pair[0]] < 2 or objects[pair[1]] < 2:
            continue
        side: Side = "test" if left["test"] else "validation"
        if not left[side]:
            break
        left[side] -= 1
        sides[pair] = side
        attributes[pair[0]] -= 1
        objects[pair[1]] -= 1
    return sides


def _list_candidates(pairs: Iterable[Pair], world: Literal["closed", "open"]) -> tuple[str, ...]:
    attributes, objects = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    texts = Counter(" ".join(pair) for pair in (pairs if world == "closed" else product(attributes, objects)))
    twice = next((text for text, count in sorted(texts.items()) if count > 1), None)
    if twice is not None:
        raise UserError(
            f"design.attribute: two pairs read '{twice}', so that an answer can't tell them apart; rename one"
        )
    return tuple(sorted(texts))
