"""What MLflow shall show of a study, as plain records made from its files; no MLflow in here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cg_lab.arms import Arm
from cg_lab.catalog import DataRef
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Cell, Plan, Setting
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.results import EvalResult, Failure, Layout, read_eval_result, read_finetune_result
from cg_lab.serialize import content_id, read_json, to_plain
from cg_lab.tracking.jobs import JobState, Point, RunStatus, digest_curve, read_job

RECORD_SCHEMA = 2
"""Raised when equal files come to give other runs, so that the next mirroring brings all of them up to date."""
MAX_NAME = 250
"""Characters of a run's name."""
DIGITS = 9
"""Of differences, so that 0.3 - 0.2 is shown as 0.1."""
STUDY_FILES = ("plan.json", "config.yaml", "provenance.json", "effects.csv", "cells.csv", "report.md", "report.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Samples that a run was trained on or asked about."""

    name: str
    """Of the subset."""
    digest: str
    """Of the data and the subset; the same samples have the same one in every study."""
    context: Literal["training", "testing"]
    num_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run as it should be."""

    key: str
    """Unique in the study; runs are found again by it."""
    job_id: str
    """The work that the run tells about; a run of other work is replaced, never written over."""
    name: str
    status: RunStatus
    tags: dict[str, str]
    """May change; an empty value means that there is no such tag."""
    params: dict[str, str]
    """Fixed for good."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Single values."""
    curve: tuple[Point, ...] = ()
    artifacts: tuple[Path, ...] = ()
    inputs: tuple[Input, ...] = ()
    """Shown as MLflow's datasets."""
    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def fingerprint(self) -> str:
        """Changes whenever something about the run does."""
        plain = [self.job_id, self.name, self.status, self.tags, self.params, self.metrics, self.start_ms, self.end_ms]
        return content_id("record", RECORD_SCHEMA, [*plain, digest_curve(self.curve), self.artifact_marks])

    @property
    def artifact_marks(self) -> dict[str, str]:
        """For each artifact's name, its size and time."""
        stats = {path.name: path.stat() for path in self.artifacts}
        return {name: f"{stat.st_size}-{stat.st_mtime_ns}" for name, stat in stats.items()}


def build_records(plan: Plan, layout: Layout) -> tuple[Record, ...]:
    """Make the records of a study: itself, each distinct fine-tune, each cell."""
    results = {job.id: read_eval_result(layout, job.id) for job in plan.evals}
    evals = {job_id: read_job(layout, job_id, result) for job_id, result in results.items()}
    tuned = {job.id: read_finetune_result(layout, job.id) for job in plan.finetunes}
    finetunes = {job_id: read_job(layout, job_id, result) for job_id, result in tuned.items()}
    shared = _describe_plan(plan)
    trained = [
        _record_finetune(job, finetunes[job.id], shared, seconds=result.seconds if (result := tuned[job.id]) else None)
        for job in plan.finetunes
    ]
    cells = _CellRecorder(plan=plan, layout=layout, shared=shared, results=results, states=evals)
    tested = [cells.record(cell) for cell in plan.cells]
    study = _record_study(plan, layout, shared, [*finetunes.values(), *evals.values()])
    return (study, *trained, *tested)


def _describe_plan(plan: Plan) -> dict[str, str]:
    sources = [catalog.data for catalog in plan.catalogs]
    worlds = [data.world for data in sources if data.source == "phantom"]
    return {
        "study": plan.study,
        "plan": plan.id,
        "backbone": ", ".join(dict.fromkeys(backbone.name for backbone in plan.backbones)),
        "data": ", ".join(dict.fromkeys(data.source for data in sources)),
        "world": ", ".join(dict.fromkeys(worlds)),
    }


def _record_study(plan: Plan, layout: Layout, shared: dict[str, str], jobs: list[JobState]) -> Record:
    folder = layout.study(plan.study)
    num_done = sum(job.status == "FINISHED" for job in jobs)
    num_failed = sum(job.status == "FAILED" for job in jobs)
    starts = [job.start_ms for job in jobs if job.start_ms is not None]
    ends = [job.end_ms for job in jobs if job.end_ms is not None]
    status = _find_study_status(jobs, is_driven=find_holder(layout.driver_lock(plan.study)) is not None)
    seeds = sorted({cell.seed for cell in plan.cells if cell.seed is not None})
    designs = ", ".join(plan.designs)
    return Record(
        key="study",
        job_id=plan.study,
        name=shorten(f"study {plan.study}"),
        status=status,
        tags={
            "kind": "study",
            **shared,
            "design": designs,
            "jobs_done": f"{num_done} of {len(jobs)}",
            "jobs_failed": str(num_failed) if num_failed else "",
            **_tell_origin(folder / "provenance.json"),
        },
        params={
            "design": designs,
            "targets": ", ".join(sorted({contrast.target for contrast in plan.contrasts})),
            "seeds": ", ".join(map(str, seeds)),
            "num_cells": str(len(plan.cells)),
            "num_finetunes": str(len(plan.finetunes)),
            "num_evals": str(len(plan.evals)),
            "backbone_revision": ", ".join(backbone.revision for backbone in plan.backbones),
            "settings": "; ".join(setting.name for setting in plan.settings),
            **{f"data.{name}": str(value) for name, value in to_plain(plan.catalogs[0].data).items()},
            **{f"rule.{name}": str(value) for name, value in to_plain(plan.rule).items()},
        },
        artifacts=tuple(path for name in STUDY_FILES if (path := folder / name).exists()),
        start_ms=min(starts, default=None),
        end_ms=max(ends, default=None) if status not in {"SCHEDULED", "RUNNING"} else None,
    )


def _tell_origin(path: Path) -> dict[str, str]:
    """Say with which code and versions a study was made."""
    if not path.exists():
        return {}
    origin = read_json(path)
    told = {
        "git_commit": origin.get("git_commit") or "",
        "git_dirty": str(bool(origin.get("git_dirty"))).lower() if origin.get("git_commit") else "",
        "command": origin.get("command") or "",
        "python": origin.get("python") or "",
    }
    return told | {f"version.{name}": str(version) for name, version in (origin.get("versions") or {}).items()}


def _find_study_status(jobs: list[JobState], *, is_driven: bool) -> RunStatus:
    states = {job.status for job in jobs}
    if states == {"FINISHED"}:
        return "FINISHED"
    if is_driven or "RUNNING" in states:
        return "RUNNING"
    if states <= {"FINISHED", "FAILED"}:
        return "FAILED"
    return "SCHEDULED" if states == {"SCHEDULED"} else "KILLED"


def _record_finetune(job: FinetuneJob, state: JobState, shared: dict[str, str], *, seconds: float | None) -> Record:
    sources = _name_sources(job.mixture)
    recipe = {name: str(value) for name, value in to_plain(job.recipe).items()}
    shuffled = " shuffled" if job.mixture.labels == "shuffled" else ""
    return Record(
        key=f"finetune:{job.id}",
        job_id=job.id,
        name=shorten(f"tune s{job.seed} {sources}{shuffled}"),
        status=state.status,
        tags={
            "kind": "finetune",
            **shared,
            "finetune_job": job.id,
            "sources": sources,
            "seed": str(job.seed),
            "host": state.host,
            **_tell_failure(state.failure),
        },
        params={
            "backbone": job.backbone.name,
            "sources": sources,
            "labels": job.mixture.labels,
            "seed": str(job.seed),
            "num_samples": str(job.mixture.num_samples),
            **recipe,
        },
        metrics={} if seconds is None else {"seconds": seconds},
        curve=state.curve,
        inputs=tuple(_make_input(job.data, part.subset, "training", part.count) for part in job.mixture.parts),
        start_ms=state.start_ms,
        end_ms=state.end_ms,
    )


class _CellRecorder:
    """Makes the records of cells, whose gains need each other's results."""

    def __init__(
        self,
        *,
        plan: Plan,
        layout: Layout,
        shared: dict[str, str],
        results: dict[str, EvalResult | None],
        states: dict[str, JobState],
    ) -> None:
        self.layout = layout
        self.shared = shared
        self.results = results
        self.states = states
        self.data = {job.id: job.data for job in plan.evals}
        self.contrasts = {contrast.id: contrast for contrast in plan.contrasts}
        self.num_contrasts = Counter(contrast.target for contrast in plan.contrasts)
        self.plan = plan
        self.accuracies = {
            (cell.contrast, cell.arm, cell.seed): result.accuracy
            for cell in plan.cells
            if cell.arm is not Arm.SOURCES and not cell.variant and (result := results[cell.eval_job])
        }

    def record(self, cell: Cell) -> Record:
        """Make one cell's record."""
        state = self.states[cell.eval_job]
        predictions = self.layout.predictions(cell.eval_job)
        facts = self._describe(cell)
        return Record(
            key=f"cell:{cell.key}",
            job_id=cell.eval_job,
            name=shorten(self._name(cell)),
            status=state.status,
            tags={
                "kind": "cell",
                **self.shared,
                **facts,
                "eval_job": cell.eval_job,
                "finetune_job": cell.finetune_job or "",
                "host": state.host,
                **_tell_failure(state.failure),
            },
            params={**facts, "backbone": self._setting(cell).backbone.name, "num_train": str(cell.proof.num_train)},
            metrics=self._measure(cell),
            artifacts=(predictions,) if state.status == "FINISHED" and predictions.exists() else (),
            inputs=(_make_input(self.data[cell.eval_job], cell.subset, "testing", cell.proof.num_test),),
            start_ms=state.start_ms,
            end_ms=state.end_ms,
        )

    def _name(self, cell: Cell) -> str:
        """Name a cell so that the first characters, which the UI's narrow column shows, tell it from others."""
        contrast = self.contrasts[cell.contrast]
        seed = "" if cell.seed is None else f" s{cell.seed}"
        variant = f" {cell.variant}" if cell.variant else ""
        subset = f" on {cell.subset}" if cell.arm is Arm.SOURCES else ""
        sources = (
            f" ({contrast.id.removeprefix(f'{contrast.target}/')})" if self.num_contrasts[contrast.target] > 1 else ""
        )
        return f"{contrast.target} {cell.arm}{variant}{seed}{subset}{sources}"

    def _setting(self, cell: Cell) -> Setting:
        return self.plan.setting_by_name[self.contrasts[cell.contrast].setting]

    def _describe(self, cell: Cell) -> dict[str, str]:
        contrast = self.contrasts[cell.contrast]
        elements = dict(zip(self.plan.find_catalog(contrast).factors, contrast.view, strict=True))
        return {
            "design": contrast.design,
            "contrast": contrast.id,
            "arm": str(cell.arm),
            "target": contrast.target,
            "subset": cell.subset,
            **elements,
            "setting": contrast.setting,
            "variant": cell.variant,
            "direction": contrast.direction or "",
            "level": "" if contrast.level is None else f"{contrast.level:g}",
            "sources": _name_sources(self.plan.find_mixture(cell)),
            "seed": "" if cell.seed is None else str(cell.seed),
            "fully_covered": str(contrast.fully_covered).lower(),
        }

    def _measure(self, cell: Cell) -> dict[str, float]:
        """Compute a cell's metrics; gains are within the contrast, and within the seed where the other arm has one."""
        result = self.results[cell.eval_job]
        if result is None:
            return {}
        accuracy, chance = result.accuracy, cell.proof.chance
        metrics = {
            "accuracy": accuracy,
            "chance": chance,
            "chance_corrected_accuracy": round((accuracy - chance) / (1 - chance), DIGITS),
            **result.metrics,
            "num_questions": float(result.num_questions),
            "seconds": result.seconds,
        }
        if cell.arm is Arm.SOURCES:
            return metrics
        for name, over, seed in (
            ("gain_over_zero_shot", Arm.ZERO_SHOT, None),
            ("gain_over_unrelated", Arm.UNRELATED, cell.seed),
        ):
            other = self.accuracies.get((cell.contrast, over, seed))
            if other is not None and cell.arm is not over:
                metrics[name] = round(accuracy - other, DIGITS)
        return metrics


def _make_input(data: DataRef, subset: str, context: Literal["training", "testing"], num_samples: int) -> Input:
    digest = content_id("input", 1, [data, subset, context])
    return Input(name=subset, digest=digest, context=context, num_samples=num_samples)


def shorten(name: str) -> str:
    """Cut a run's name to what PostgreSQL's column takes.

    >>> len(shorten("x" * 300)), shorten("tune s0 ct-lung-mass")
    (250, 'tune s0 ct-lung-mass')
    """
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 4]} ..."


def _name_sources(mixture: Mixture | None) -> str:
    return ",".join(part.subset for part in mixture.parts) if mixture else ""


def _tell_failure(failure: Failure | None) -> dict[str, str]:
    return {
        "failure": failure.kind if failure else "",
        "failure_message": failure.message if failure else "",
    }
