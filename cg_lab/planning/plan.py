"""What a study will do: cells say what a number means, jobs say what to run, and equal work is one job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cg_lab.catalog import DataRef, Note
from cg_lab.mat import Element, Subset
from cg_lab.planning.arms import Arm
from cg_lab.planning.validity import Proof
from cg_lab.serialize import content_id
from cg_lab.study import Backbone, Recipe, Rule

PLAN_SCHEMA = 1
"""Of plan.json; raised when a reader of older plans would misread a new one."""
JOB_SCHEMA = 1
"""Part of every job id; raised when the same fields come to mean other work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePart:
    """A number of training samples of one subset, spread evenly over its labels."""

    subset: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What is trained on."""

    parts: tuple[MixturePart, ...]
    seed: int
    """Decides which samples of each subset are drawn."""

    @property
    def num_samples(self) -> int:
        """Samples of one epoch."""
        return sum(part.count for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneJob:
    """One distinct fine-tune."""

    data: DataRef
    backbone: Backbone
    mixture: Mixture
    recipe: Recipe
    seed: int

    @property
    def id(self) -> str:
        """Content hash of all fields."""
        return content_id("finetune", JOB_SCHEMA, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a checkpoint is scored."""

    image: Literal["original", "blank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalJob:
    """One distinct scoring of one checkpoint on one subset's test questions."""

    data: DataRef
    backbone: Backbone
    target: str
    checkpoint_of: str | None
    """Id of the fine-tune to score; None scores the untouched backbone."""
    protocol: Protocol

    @property
    def id(self) -> str:
        """Content hash of all fields."""
        return content_id("eval", JOB_SCHEMA, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One held-out question: a target and the combination that should explain it; its arms are compared."""

    id: str
    """Readable and unique in the plan: target, direction and sources."""
    design: str
    target: str
    direction: Element | None
    """The element that target and sources all share; None if the design has no direction."""
    related: tuple[str, ...]
    """Subsets of the related arm."""
    unrelated: tuple[str, ...]
    """Subsets that share no element with the target, from which the unrelated arm draws."""
    fully_covered: bool
    """Whether the related subsets show each element of the target; otherwise a gain is transfer, not recombination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one number of the study means."""

    contrast: str
    arm: Arm
    subset: str
    """Whose test questions are asked: the target's, or a source's in the `sources` arm."""
    seed: int | None
    """None for the untouched backbone."""
    trained_on: Mixture | None
    eval_job: str
    finetune_job: str | None
    proof: Proof

    @property
    def key(self) -> str:
        """Name the cell within its plan.

        The arm's subset is named only where it is not the target.
        """
        seed = "" if self.seed is None else f"/seed{self.seed}"
        source = f"/{self.subset}" if self.arm is Arm.SOURCES else ""
        return f"{self.contrast}/{self.arm}{source}{seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A target that the design could not use, and why."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a study runs and how it will be read."""

    schema: int
    study: str
    data: DataRef
    backbone: Backbone
    subsets: tuple[Subset, ...]
    contrasts: tuple[Contrast, ...]
    cells: tuple[Cell, ...]
    finetunes: tuple[FinetuneJob, ...]
    evals: tuple[EvalJob, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[Note, ...]
    rule: Rule
    num_declared_finetunes: int
    """Fine-tunes that the trained cells would take without sharing."""

    @property
    def id(self) -> str:
        """Content hash of the whole plan."""
        return content_id("plan", PLAN_SCHEMA, self)
