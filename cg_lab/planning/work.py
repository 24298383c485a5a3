"""What is run: fine-tunes and evaluations, each named by the hash of its own fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Annotated, Any, Literal, overload

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, SerializationInfo, ValidationInfo

from cg_lab.catalog import DataRef
from cg_lab.planning.members import Members, pick
from cg_lab.planning.plan_tables import Names, PlanTables
from cg_lab.planning.schedule import Schedule, has_changed, schedule_epochs
from cg_lab.recipe import Recipe
from cg_lab.serialize import content_id, omit_defaults
from cg_lab.study import AnsweredBy, AnyBackbone, Backbone, MergeMethod, Rotations

JOB_SCHEMA = 1
"""Part of every job id; raised when the same fields come to mean other work."""
POOL_VERSION = 2
"""Of the ids that a results folder holds; raised with every migration in `cg_lab.rekeying`, also with those that leave
`JOB_SCHEMA`, and so most ids, as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePart:
    """A number of training samples of one subset, spread evenly over its labels."""

    subset: str
    count: int


@cache
def give_part(subset: str, count: int) -> MixturePart:
    """Give a part; equal ones are one object, since a large study has millions."""
    return MixturePart(subset=subset, count=count)


class PartGroups(Sequence[MixturePart]):
    """Parts of a mixture in order of name, held as sets: a large study has thousands of mixtures of thousands of parts.

    Parameters
    ----------
    names
        All subsets that there are, in order.
    groups
        For each number of samples, in order, the subsets that give so many.

    Examples
    --------
    >>> [(part.subset, part.count) for part in PartGroups(("a", "b", "c"), ((1, 0b110), (2, 0b001)))]
    [('a', 2), ('b', 1), ('c', 1)]

    """

    __slots__ = ("groups", "names")

    def __init__(self, names: tuple[str, ...], groups: tuple[tuple[int, Members], ...]) -> None:
        self.names = names
        self.groups = groups

    @property
    def members(self) -> Members:
        """The subsets that give samples."""
        found = 0
        for _, members in self.groups:
            found |= members
        return found

    @property
    def num_samples(self) -> int:
        """Samples of all parts."""
        return sum(count * members.bit_count() for count, members in self.groups)

    def list_parts(self) -> tuple[MixturePart, ...]:
        """List the parts."""
        counts = {name: count for count, members in self.groups for name in pick(self.names, members)}
        return tuple(give_part(name, counts[name]) for name in pick(self.names, self.members))

    def __len__(self) -> int:
        return self.members.bit_count()

    def __iter__(self) -> Iterator[MixturePart]:
        return iter(self.list_parts())

    @overload
    def __getitem__(self, index: int) -> MixturePart: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[MixturePart, ...]: ...
    def __getitem__(self, index: int | slice) -> MixturePart | tuple[MixturePart, ...]:
        return self.list_parts()[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PartGroups) and other.names == self.names:
            return other.groups == self.groups
        return self.list_parts() == other  # which other groups compare with their own parts in turn

    def __hash__(self) -> int:
        return hash(self.list_parts())


def _group_parts(parts: Parts, info: SerializationInfo) -> Any:  # noqa: ANN401 - plain data
    """Write in plan.json, for each count in order, the set of subsets that give so many samples."""
    tables = info.context
    if not isinstance(tables, PlanTables):
        return tuple(parts)
    if isinstance(parts, PartGroups) and parts.names == tables.names:
        return [[count, tables.number_members(members)] for count, members in parts.groups]
    return [
        [count, tables.number_set(tuple([part.subset for part in parts if part.count == count]))]
        for count in sorted({part.count for part in parts})
    ]


def _ungroup_parts(raw: Any, info: ValidationInfo) -> Any:  # noqa: ANN401
    tables = info.context
    if not isinstance(tables, PlanTables) or not all(isinstance(group, list) for group in raw):
        return raw
    sets = [(count, tables.give(tables.sets, number)) for count, number in raw]
    groups = tuple((count, members) for count, members in sets if isinstance(members, int))
    if groups and len(groups) == len(sets):
        return PartGroups(tables.names, groups)
    pairs = [(subset, count) for count, number in raw for subset in tables.give_names(number)]
    return tuple(give_part(subset, count) for subset, count in sorted(pairs))


Parts = InstanceOf[PartGroups] | tuple[MixturePart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What is trained on."""

    parts: Annotated[Parts, PlainSerializer(_group_parts), BeforeValidator(_ungroup_parts)]
    """In order of name."""
    seed: int
    """Decides which samples of each subset are drawn."""
    labels: Literal["true", "shuffled"] = "true"
    """Shuffled: the drawn samples of each subset swap their labels at random."""
    ask: Literal["finding", "elements"] = "finding"
    """The subset's own question, or which combination of elements the image shows."""
    places: tuple[int, ...] = ()
    """Positions of the factors that are asked for."""
    candidates: Names = ()
    """Combinations to choose from when elements are asked for, words joined by a space."""

    @property
    def num_samples(self) -> int:
        """Samples of one epoch."""
        if isinstance(self.parts, tuple):
            return sum([part.count for part in self.parts])
        return self.parts.num_samples

    def count(self, subset: str) -> int:
        """Count the samples of one subset."""
        return sum(part.count for part in self.parts if part.subset == subset)


SERVED = "served:"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCheckpoint:
    """Weights that were trained elsewhere."""

    seed: int
    weights: str
    """`FOLDER@HASH`, or `SERVED` and the name that a server gives to adapters of its model."""
    parts: tuple[MixturePart, ...]
    """What they were trained on, as it is declared; in order of name."""

    @property
    def num_samples(self) -> int:
        """Samples of all parts."""
        return sum(part.count for part in self.parts)


def unite_mixtures(mixtures: Sequence[Mixture]) -> Mixture:
    """Give what several models of one seed were trained on together.

    >>> parts = [Mixture(parts=(give_part(name, 2),), seed=0) for name in ("b", "a")]
    >>> [(part.subset, part.count) for part in unite_mixtures(parts).parts]
    [('a', 2), ('b', 2)]
    """
    if len(mixtures) == 1:
        return mixtures[0]
    counts = Counter[str]()
    for mixture in mixtures:
        for part in mixture.parts:
            counts[part.subset] += part.count
    return replace(mixtures[0], parts=tuple(give_part(name, counts[name]) for name in sorted(counts)))


@dataclass(frozen=True, kw_only=True)
class FinetuneJob:
    """One distinct fine-tune."""

    data: DataRef
    backbone: AnyBackbone
    mixture: Mixture
    recipe: Recipe
    seed: int
    weights: Annotated[str, Field(exclude_if=lambda given: not given)] = ""
    """Of a checkpoint that was trained elsewhere, as of `GivenCheckpoint`; empty where they are trained."""

    @cached_property
    def id(self) -> str:
        """Content hash of all fields that differ from their defaults, so that a new field leaves old ids alone."""
        return content_id("finetune", JOB_SCHEMA, omit_defaults(self) | mark_changes(self))

    @property
    def base(self) -> Backbone:
        """The untouched model, whose weights are here; there is none of a served one."""
        assert isinstance(self.backbone, Backbone)
        return self.backbone

    @property
    def schedule(self) -> Schedule:
        """Steps and samples over all epochs."""
        return schedule_epochs(self.recipe, self.mixture.num_samples)


ENDLESS = "llava-hf/llava-1.5-"
"""Models whose answers were trained without an end once, since their chat template writes none."""


def mark_changes(job: FinetuneJob) -> dict[str, str]:
    """Mark a fine-tune whose fields have come to mean other work, so that it gets another id; all others keep theirs.

    Epochs that ended before their last samples are whole now, and every answer has an end.
    """
    is_endless = isinstance(job.backbone, Backbone) and job.backbone.path.startswith(ENDLESS)
    ended = {"answers": "ended"} if is_endless else {}
    return ended | ({"epochs": "whole"} if has_changed(job.recipe, job.mixture.num_samples) else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a checkpoint is scored."""

    image: Literal["original", "blank"]
    shots: int = 0
    """Example images for each label in the prompt."""
    ask: Literal["finding", "elements"] = "finding"
    """The subset's own question, or which combination of elements the image shows."""
    places: tuple[int, ...] = ()
    """Positions of the factors that are asked for."""
    candidates: Names = ()
    """Combinations offered when elements are asked for."""
    by: AnsweredBy = "likelihood"
    rotations: Rotations = "one"


ORIGINAL = Protocol(image="original")
"""The subset's own questions about its images as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterMerge:
    """The adapters of several fine-tunes as one, made in memory when it is asked."""

    of: tuple[str, ...]
    """Ids of the fine-tunes."""
    weights: tuple[float, ...]
    """Of each."""
    method: MergeMethod
    density: float | None = None
    """Part of each adapter's values that is kept, where the method prunes."""
    seed: int = 0
    """Of the methods that prune at random."""


@dataclass(frozen=True, kw_only=True)
class EvalJob:
    """One distinct scoring of one checkpoint on one subset's test questions."""

    data: DataRef
    backbone: AnyBackbone
    target: str
    checkpoint_of: str | None
    """Id of the fine-tune to score; None scores the untouched backbone, or merged adapters."""
    protocol: Protocol
    merge: Annotated[AdapterMerge | None, Field(exclude_if=lambda given: given is None)] = None
    """Adapters to score as one."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the fine-tunes whose weights are scored; none for the untouched backbone."""
        if self.merge is not None:
            return self.merge.of
        return () if self.checkpoint_of is None else (self.checkpoint_of,)

    @cached_property
    def id(self) -> str:
        """Content hash of all fields that differ from their defaults."""
        return content_id("eval", JOB_SCHEMA, omit_defaults(self))
