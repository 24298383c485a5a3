"""What is run: fine-tunes and evaluations, each named by the hash of its own fields."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, SerializationInfo, ValidationInfo

from cg_lab.catalog import DataRef
from cg_lab.planning.plan_tables import Names, PlanTables
from cg_lab.serialize import content_id, omit_defaults
from cg_lab.study import AnsweredBy, Backbone, Recipe, Rotations

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


def _group_parts(parts: tuple[MixturePart, ...], info: SerializationInfo) -> Any:  # noqa: ANN401 - plain data
    """Write in plan.json, for each count in order, the set of subsets that give so many samples."""
    if not isinstance(info.context, PlanTables):
        return parts
    return [
        [count, info.context.number_set(tuple([part.subset for part in parts if part.count == count]))]
        for count in sorted({part.count for part in parts})
    ]


def _ungroup_parts(raw: Any, info: ValidationInfo) -> Any:  # noqa: ANN401
    tables = info.context
    if not isinstance(tables, PlanTables) or not all(isinstance(group, list) for group in raw):
        return raw
    pairs = [(subset, count) for count, number in raw for subset in tables.give(tables.sets, number)]
    return tuple(give_part(subset, count) for subset, count in sorted(pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What is trained on."""

    parts: Annotated[tuple[MixturePart, ...], PlainSerializer(_group_parts), BeforeValidator(_ungroup_parts)]
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
        return sum([part.count for part in self.parts])

    def count(self, subset: str) -> int:
        """Count the samples of one subset."""
        return sum(part.count for part in self.parts if part.subset == subset)


@dataclass(frozen=True, kw_only=True)
class FinetuneJob:
    """One distinct fine-tune."""

    data: DataRef
    backbone: Backbone
    mixture: Mixture
    recipe: Recipe
    seed: int

    @cached_property
    def id(self) -> str:
        """Content hash of all fields that differ from their defaults, so that a new field leaves old ids alone."""
        return content_id("finetune", JOB_SCHEMA, omit_defaults(self))


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


@dataclass(frozen=True, kw_only=True)
class EvalJob:
    """One distinct scoring of one checkpoint on one subset's test questions."""

    data: DataRef
    backbone: Backbone
    target: str
    checkpoint_of: str | None
    """Id of the fine-tune to score; None scores the untouched backbone."""
    protocol: Protocol

    @cached_property
    def id(self) -> str:
        """Content hash of all fields that differ from their defaults."""
        return content_id("eval", JOB_SCHEMA, omit_defaults(self))
