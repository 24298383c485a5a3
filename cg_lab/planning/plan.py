"""What a study will do: questions, their cells, and the distinct jobs that these need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal, cast

from pydantic import Field, JsonValue

from cg_lab.arms import MAIN_ARMS, Arm
from cg_lab.catalog import DataRef, Note
from cg_lab.mat import Subset
from cg_lab.planning.plan_tables import BY_NUMBER, Names, PlanTables, StoredSet
from cg_lab.planning.proof import Proof
from cg_lab.planning.work import (
    ORIGINAL,
    EvalJob,
    FinetuneJob,
    GivenCheckpoint,
    Mixture,
    Protocol,
    unite_mixtures,
)
from cg_lab.recipe import Recipe
from cg_lab.serialize import ID_LENGTH, dump_json, parse
from cg_lab.study import AnyBackbone, Rule

PLAN_SCHEMA = 3
"""Of plan.json; raised when a reader of older plans would misread a new one."""
OLDEST_PLAN_SCHEMA = 2
"""That can still be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What one arm of a held-out question trains on, before a seed draws its samples."""

    arm: Arm
    variant: str = ""
    """Tells arms of one kind apart: the factor of `without` and `mismatched`, the source of `alone`."""
    subsets: Names
    num_samples: int
    """Of these subsets, spread evenly."""
    num_target: int = 0
    """Further samples, of the target itself."""
    sees_target: bool = False
    """Declares that the target is among the subsets by intent; a plan whose mixtures show it undeclared is refused."""
    labels: Literal["true", "shuffled"] = "true"
    ask: Literal["finding", "elements"] = "finding"
    places: tuple[int, ...] = ()
    candidates: Names = ()
    given: Annotated[tuple[GivenCheckpoint, ...], Field(exclude_if=lambda given: not given)] = ()
    """Checkpoints that were trained elsewhere, in order of their seeds; empty where they are trained."""

    @property
    def declares_target(self) -> bool:
        """Whether target data may be trained on."""
        return self.sees_target or self.num_target > 0 or self.arm.traits.shows == "target"


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
    """Of the planned arms; the main one is always among them, since the question is about it."""
    unrelated: Names
    """Subsets that share no element with the target."""
    fully_covered: bool
    """Whether the related subsets show each element that is asked for; otherwise a gain is transfer, not
    recombination."""
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
        """Whether target data are trained on, or shown as examples, by intent; then nothing is held out."""
        return self.protocol.shots > 0 or (self.main is not None and self.main.declares_target)


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
    merged_jobs: Annotated[tuple[str, ...], Field(exclude_if=lambda given: not given)] = ()
    """Fine-tunes whose adapters are asked as one; there is no other fine-tune then."""
    proof: Annotated[Proof, *BY_NUMBER]

    @property
    def finetunes(self) -> tuple[str, ...]:
        """Ids of the fine-tunes whose weights it asks; none for the untouched backbone."""
        return self.merged_jobs if self.finetune_job is None else (self.finetune_job,)

    @property
    def key(self) -> str:
        """Name the cell within its plan.

        The arm's subset is named only where it is not the target.
        """
        seed = "" if self.seed is None else f"/seed{self.seed}"
        detail = f"/{self.variant}" if self.variant else ""
        if not self.arm.traits.asks_target:
            detail += f"/{self.subset}"
        return f"{self.contrast}/{self.arm}{detail}{seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A target, a held-out question or a whole design that is not in the plan, and why."""

    target: str
    """Empty if a design could ask nothing at all."""
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
    eval_samples_per_s: float
    checkpoint_gb: float
    adapter_mb: float = 0.0
    """For each rank."""
    rate_gpus: Annotated[int, Field(exclude_if=lambda given: given == 1)] = 1
    """GPUs that reach the rates together; 1 also for a slot without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDeviation:
    """How much equally trained models differed in earlier studies with the same backbone, recipe and samples."""

    setting: str
    deviation: float
    """Standard deviation of accuracy over seeds, beyond what single answers explain."""
    freedom: int
    """Seeds that it was found from, less one for each held-out question."""
    studies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One configuration of a multirun, or the only one."""

    name: str
    """What tells it from the others; empty in a single run."""
    catalog: int
    """Position in the plan's catalogues."""
    backbone: AnyBackbone
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
    seed_deviations: tuple[SeedDeviation, ...] = ()
    """By setting, how much seeds differed in earlier studies; empty where none tells."""
    catalogs: tuple[PlannedCatalog, ...]
    contrasts: tuple[Contrast, ...]
    cells: tuple[Cell, ...]
    finetunes: tuple[FinetuneJob, ...]
    evals: tuple[EvalJob, ...]
    skipped: tuple[Skipped, ...]
    num_declared_finetunes: int
    """Fine-tunes that the cells would take if no two held-out questions, and no two arms of one, shared any."""

    def write_lines(self) -> Iterator[str]:
        """Write plan.json: a line for each cell, job, held-out question, proof and set, so that plans compare by line.

        Proofs are written once, after the cells, and sets of names once, at the end; both are referred to by number.
        """
        digest = sha256()
        for line in self._write_lines():
            digest.update(line.encode())
            yield line
        self.__dict__["id"] = digest.hexdigest()[:ID_LENGTH]  # a large plan takes seconds to write

    def _write_lines(self) -> Iterator[str]:
        tables = PlanTables(names=self._list_names())
        yield "{\n"
        for part in fields(self):
            value: Any = getattr(self, part.name)
            if isinstance(value, tuple) and value:
                yield from _write_list(part.name, dump_json(cast("tuple[Any, ...]", value), context=tables))
                if part.name == "cells":
                    yield from _write_list("proofs", tables.write_proofs())
            else:
                (text,) = dump_json((cast("Any", value),), context=tables)
                yield f' "{part.name}": {text},\n'
        yield from _write_list("sets", tables.write_sets())
        (text,) = dump_json((tables.names,))
        yield f' "names": {text}\n}}\n'

    @property
    def text(self) -> str:
        """The content of plan.json."""
        return "".join(self.write_lines())

    @cached_property
    def id(self) -> str:
        """Content hash of the whole plan."""
        return hash_plan(line.encode() for line in self._write_lines())

    def _list_names(self) -> tuple[str, ...]:
        return tuple(sorted({subset.name for catalog in self.catalogs for subset in catalog.subsets}))

    @cached_property
    def setting_by_name(self) -> dict[str, Setting]:
        """Settings by name."""
        return {setting.name: setting for setting in self.settings}

    @cached_property
    def deviation_by_setting(self) -> dict[str, SeedDeviation]:
        """What earlier studies say of seeds, by setting."""
        return {part.setting: part for part in self.seed_deviations}

    @cached_property
    def contrast_by_id(self) -> dict[str, Contrast]:
        """Held-out questions by id."""
        return {contrast.id: contrast for contrast in self.contrasts}

    @cached_property
    def num_held_out(self) -> int:
        """Questions whose models see nothing of the target."""
        return sum(not contrast.sees_target for contrast in self.contrasts)

    @cached_property
    def whole_sources(self) -> dict[str, tuple[str, ...]]:
        """By id of the question, sources that alone show all that it asks: there nothing is left to recombine."""
        return {
            cell.contrast: cell.proof.whole_in
            for cell in self.cells
            if cell.proof.whole_in and (cell.arm.traits.is_main or cell.arm.traits.model == "main")
        }

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
        """Give what a cell's model was trained on, of merged adapters together; None for the untouched backbone."""
        mixtures = [self.finetune_by_id[tune].mixture for tune in cell.finetunes]
        return unite_mixtures(mixtures) if mixtures else None

    def catalog_of(self, data: DataRef) -> PlannedCatalog:
        """Give the catalogue with the given data."""
        return next(catalog for catalog in self.catalogs if catalog.data == data)

    def find_rates(self, backbone: AnyBackbone) -> Rates:
        """Give what work takes with a backbone."""
        return next(setting.rates for setting in self.settings if setting.backbone == backbone)

    @property
    def designs(self) -> tuple[str, ...]:
        """Names of the designs, in order."""
        return tuple(dict.fromkeys(str(setting.design["name"]) for setting in self.settings))

    @property
    def backbones(self) -> tuple[AnyBackbone, ...]:
        """The distinct backbones, in order."""
        return tuple(dict.fromkeys(setting.backbone for setting in self.settings))


def count_declared(cells: Iterable[Cell]) -> int:
    """Count the fine-tunes that cells would take if no two held-out questions, and no two arms of one, shared any."""
    return sum({_name_training(cell): len(cell.finetunes) for cell in cells if cell.finetunes}.values())


def _name_training(cell: Cell) -> tuple[object, ...]:
    """Tell the training that a cell needs from all others; the main one's model is asked by several cells."""
    is_main = cell.arm.traits.is_main or cell.arm.traits.model == "main"
    return cell.contrast, None if is_main else cell.arm, cell.variant, cell.seed


def hash_plan(parts: Iterable[bytes]) -> str:
    """Hash the content of a plan.json to the id of its plan."""
    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:ID_LENGTH]


def parse_plan(raw: Any, *, where: str) -> Plan:  # noqa: ANN401 - the door
    """Build a plan from the content of plan.json; plans of schema 2 are brought to today's.

    Raises
    ------
    UserError
        If it is no plan; all faults at once.

    """
    plain = dict(cast("dict[str, Any]", raw)) if isinstance(raw, dict) else {}
    tables = PlanTables(names=parse(tuple[str, ...], plain.pop("names", []), where=f"{where}, names"))
    for part in parse(tuple[StoredSet, ...], plain.pop("sets", []), where=f"{where}, sets"):
        tables.read_set(part)
    tables.proofs += parse(tuple[Proof, ...], plain.pop("proofs", []), where=f"{where}, proofs", context=tables)
    plan = parse(Plan, plain, where=where, context=tables)
    return _declare_targets(plan) if plan.schema == OLDEST_PLAN_SCHEMA else plan


def _declare_targets(plan: Plan) -> Plan:
    """Bring a plan of schema 2 to today's: there an arm was taken to see the target by intent wherever it did."""
    contrasts = tuple(
        replace(
            contrast,
            trainings=tuple(
                replace(training, sees_target=not training.declares_target and contrast.target in training.subsets)
                for training in contrast.trainings
            ),
        )
        for contrast in plan.contrasts
    )
    return replace(plan, schema=PLAN_SCHEMA, contrasts=contrasts)


def _write_list(name: str, lines: list[str]) -> Iterator[str]:
    yield f' "{name}": [\n'
    yield from (f"  {line}{',' if number < len(lines) else ''}\n" for number, line in enumerate(lines, start=1))
    yield " ],\n"
