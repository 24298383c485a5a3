"""What a plan asks and which jobs it names, read without building the plan: a thousand plans in a second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import GenericAlias
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from cg_lab.errors import UserError
from cg_lab.results import Layout, read_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutline:
    """The jobs of a cell."""

    eval_job: str
    finetune_job: str | None = None
    merged_jobs: tuple[str, ...] = ()

    @property
    def finetunes(self) -> tuple[str, ...]:
        """Fine-tunes whose weights it asks."""
        return self.merged_jobs if self.finetune_job is None else (self.finetune_job,)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOutline:
    """What a held-out question is about."""

    design: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutline:
    """What a plan asks, and by which jobs."""

    cells: tuple[CellOutline, ...]
    questions: tuple[QuestionOutline, ...]

    @property
    def jobs(self) -> frozenset[str]:
        """Ids of all jobs."""
        evals = {cell.eval_job for cell in self.cells}
        return frozenset(evals | {tune for cell in self.cells for tune in cell.finetunes})

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each evaluation of fine-tuned weights, their fine-tunes."""
        return {cell.eval_job: cell.finetunes for cell in self.cells if cell.finetunes}


def read_outline(path: Path) -> PlanOutline:
    """Read what a plan.json names: its lists of cells and questions, which `write_lines` sets apart, and no more.

    Raises
    ------
    UserError
        If it is no plan that this version reads.

    """
    payload = path.read_bytes()
    try:
        return PlanOutline(
            cells=_open_list(CellOutline).validate_json(_cut_list(payload, b"cells")),
            questions=_open_list(QuestionOutline).validate_json(_cut_list(payload, b"contrasts")),
        )
    except (ValueError, ValidationError):  # of another hand; the whole tells what is wrong with it
        plan = read_plan(path)
        return PlanOutline(
            cells=tuple(
                CellOutline(eval_job=cell.eval_job, finetune_job=cell.finetune_job, merged_jobs=cell.merged_jobs)
                for cell in plan.cells
            ),
            questions=tuple(QuestionOutline(design=part.design, target=part.target) for part in plan.contrasts),
        )


def list_plan_files(layout: Layout) -> Iterator[Path]:
    """List every file that holds a plan: of each study the plan, its draft, those it replaced, the submitted one."""
    for name in layout.list_studies():
        folder = layout.study(name)
        candidates = [layout.plan(name), layout.draft(name), layout.submitted_plan(name), *folder.glob("plan.*.json")]
        yield from (path for path in dict.fromkeys(candidates) if path.exists())


def read_outlines(layout: Layout) -> Iterator[tuple[str, PlanOutline]]:
    """Read the outlines of all files that hold a plan, each with its study.

    Raises
    ------
    UserError
        If a plan can't be read: then nobody knows what it names.

    """
    for path in list_plan_files(layout):
        study = path.relative_to(layout.root / "studies").parts[0]
        try:
            yield study, read_outline(path)
        except UserError as error:
            raise UserError(f"{error}\nwithout it nobody knows which results {study} needs; nothing was done") from None


def list_named(layout: Layout) -> dict[str, tuple[str, ...]]:
    """List the jobs that any plan names, each with the studies that do; raises as `read_outlines`."""
    named: dict[str, dict[str, None]] = {}
    for study, outline in read_outlines(layout):
        for job_id in outline.jobs:
            named.setdefault(job_id, {})[study] = None
    return {job_id: tuple(studies) for job_id, studies in named.items()}


@cache
def _open_list(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(cast("Any", GenericAlias(tuple, (kind, ...))))


def _cut_list(payload: bytes, name: bytes) -> bytes:
    """Cut a list out of a plan.json, where each of its entries has a line."""
    start = payload.index(b'\n "' + name + b'": [\n')
    start = payload.index(b"[", start)
    return payload[start : payload.index(b"\n ]", start) + 3]
