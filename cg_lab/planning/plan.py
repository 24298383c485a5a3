"""What a study will do: questions, their cells, and the distinct jobs that these need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, cast

from pydantic import JsonValue

from cg_lab.arms import MAIN_ARMS, Arm
from cg_lab.catalog import DataRef, Note
from cg_lab.mat import Subset
from cg_lab.planning.validity import Proof
from cg_lab.planning.work import ORIGINAL, EvalJob, FinetuneJob, Mixture, Protocol
from cg_lab.serialize import ID_LENGTH, dump_json
from cg_lab.study import Backbone, Recipe, Rule

PLAN_SCHEMA = 2
"""Of plan.json; raised when a reader of older plans would misread a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What one arm of a held-out question trains on, before a seed draws its samples."""

    arm: Arm
    variant: str = ""
    """Tells arms of one kind apart: the factor of `without`."""
    subsets: tuple[str, ...]
    num_samples: int
    """Of these subsets, spread evenly."""
    num_target: int = 0
    """Further samples, of the target itself."""
    labels: Literal["true", "shuffled"] = "true"
    ask: Literal["finding", "elements"] = "finding"
    places: tuple[int, ...] = ()
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that a design found out about a held-out question."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One held-out question: a target and what should explain it; its arms are compared."""

    id: str
    """Readable and unique in the plan: setting, target, direction and sources."""
    setting: str = ""
    """Name of the multirun setting; empty in a single run."""
    design: str
    target: str
    view: tuple[str, ...]
    """The element of each factor that the target stands for here."""
    direction: str | None = None
    """What target and sources share, where the design has directions."""
    level: float | None = None
    """Place on the design's curve: samples, distance, combinations shown, divergence, shots."""
    curve: str = ""
    """Which questions make one curve; empty without levels."""
    trainings: tuple[Training, ...]
    unrelated: tuple[str, ...]
    """Subsets that share no element with the target."""
    fully_covered: bool
    """Whether the related subsets show each element of the target; otherwise a gain is transfer, not recombination."""
    asks_sources: bool = False
    """Whether the related model is also asked about its own sources."""
    protocol: Protocol = ORIGINAL
    facts: tuple[Fact, ...] = ()

    @property
    def main(self) -> Training | None:
        """The training that the question is about; None if only the untouched backbone is asked."""
        return next((training for training in self.trainings if training.arm in MAIN_ARMS), None)

    @property
    def related(self) -> tuple[str, ...]:
        """Subsets of the main arm."""
        return self.main.subsets if self.main else ()

    @property
    def sees_target(self) -> bool:
        """Whether the main arm trains on target data by intent; then nothing is held out."""
        return self.main is not None and (self.target in self.main.subsets or self.main.num_target > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one number of the study means."""

    contrast: str
    arm: Arm
    variant: str = ""
    subset: str
    """Whose test questions are asked: the target's, or a source's in the `sources` arm."""
    seed: int | None
    """None for the untouched backbone."""
    eval_job: str
    finetune_job: str | None
    proof: Proof

    @property
    def key(self) -> str:
        """Name the cell within its plan.

        The arm's subset is named only where it is not the target.
        """
        seed = "" if self.seed is None else f"/seed{self.seed}"
        detail = f"/{self.subset}" if self.arm is Arm.SOURCES else f"/{self.variant}" if self.variant else ""
        return f"{self.contrast}/{self.arm}{detail}{seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A target or a held-out question that is not in the plan, and why."""

    target: str
    reason: str
    question: str = ""
    """Id of the held-out question; empty if the target was not asked about at all."""
    setting: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCatalog:
    """The subsets that a plan chose from."""

    data: DataRef
    factors: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]
    """Values of the first two factors that act as one element."""
    subsets: tuple[Subset, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What work takes with a model, as declared; for the time and disk that a plan foretells."""

    train_samples_per_s: float
    """On one slot."""
    eval_samples_per_s: float
    checkpoint_gb: float
    adapter_mb: float = 0.0
    """For each rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One configuration of a multirun, or the only one."""

    name: str
    """What tells it from the others; empty in a single run."""
    catalog: int
    """Position in the plan's catalogues."""
    backbone: Backbone
    recipe: Recipe
    design: dict[str, JsonValue]
    """The design's settings by name."""
    rates: Rates


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a study runs and how it will be read."""

    schema: int
    study: str
    rule: Rule
    criterion: str = ""
    """How verdicts are reached, in words."""
    comparisons: tuple[str, ...] = ()
    """What is compared, in words; all else is exploratory."""
    settings: tuple[Setting, ...]
    catalogs: tuple[PlannedCatalog, ...]
    contrasts: tuple[Contrast, ...]
    cells: tuple[Cell, ...]
    finetunes: tuple[FinetuneJob, ...]
    evals: tuple[EvalJob, ...]
    skipped: tuple[Skipped, ...]
    num_declared_finetunes: int
    """Fine-tunes that the trained cells would take without sharing."""

    @cached_property
    def text(self) -> str:
        """The content of plan.json: a line for each cell, job and held-out question, so that plans compare by line."""
        return "".join(self._write_lines())

    def _write_lines(self) -> Iterator[str]:
        yield "{\n"
        names = [part.name for part in fields(self)]
        for name in names:
            value: Any = getattr(self, name)
            end = "\n" if name == names[-1] else ",\n"
            if isinstance(value, tuple) and value:
                yield f' "{name}": [\n'
                lines = dump_json(cast("tuple[Any, ...]", value))
                yield ",\n".join(f"  {line}" for line in lines)
                yield "\n ]" + end
            else:
                (text,) = dump_json((cast("Any", value),))
                yield f' "{name}": {text}{end}'
        yield "}\n"

    @cached_property
    def id(self) -> str:
        """Content hash of the whole plan."""
        return sha256(self.text.encode()).hexdigest()[:ID_LENGTH]

    @cached_property
    def setting_by_name(self) -> dict[str, Setting]:
        """Settings by name."""
        return {setting.name: setting for setting in self.settings}

    @cached_property
    def contrast_by_id(self) -> dict[str, Contrast]:
        """Held-out questions by id."""
        return {contrast.id: contrast for contrast in self.contrasts}

    @cached_property
    def finetune_by_id(self) -> dict[str, FinetuneJob]:
        """Fine-tunes by id."""
        return {job.id: job for job in self.finetunes}

    @cached_property
    def _subsets(self) -> tuple[dict[str, Subset], ...]:
        return tuple({subset.name: subset for subset in catalog.subsets} for catalog in self.catalogs)

    def find_catalog(self, contrast: Contrast) -> PlannedCatalog:
        """Give the catalogue that a held-out question was planned over."""
        return self.catalogs[self.setting_by_name[contrast.setting].catalog]

    def find_subset(self, contrast: Contrast, name: str) -> Subset:
        """Give a subset of a held-out question's catalogue."""
        return self._subsets[self.setting_by_name[contrast.setting].catalog][name]

    def find_mixture(self, cell: Cell) -> Mixture | None:
        """Give what a cell's model was trained on; None for the untouched backbone."""
        return self.finetune_by_id[cell.finetune_job].mixture if cell.finetune_job else None

    def catalog_of(self, data: DataRef) -> PlannedCatalog:
        """Give the catalogue with the given data."""
        return next(catalog for catalog in self.catalogs if catalog.data == data)

    def find_rates(self, backbone: Backbone) -> Rates:
        """Give what work takes with a backbone."""
        return next(setting.rates for setting in self.settings if setting.backbone == backbone)

    @property
    def designs(self) -> tuple[str, ...]:
        """Names of the designs, in order."""
        return tuple(dict.fromkeys(str(setting.design["name"]) for setting in self.settings))

    @property
    def backbones(self) -> tuple[Backbone, ...]:
        """The distinct backbones, in order."""
        return tuple(dict.fromkeys(setting.backbone for setting in self.settings))
