"""What MLflow shall show of a study, as plain records made from its files; no MLflow in here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from cg_lab.journal import read_events
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Arm, Cell, FinetuneJob, Mixture, Plan
from cg_lab.results import Layout, read_eval_result, read_failure, read_finetune_result
from cg_lab.serialize import content_id, to_plain

RunStatus = Literal["SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"]
STUDY_FILES = ("plan.json", "config.yaml", "provenance.json", "effects.csv", "cells.csv", "report.md", "report.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a curve."""

    key: str
    value: float
    step: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run as it should be."""

    key: str
    """Unique in the study; runs are found again by it."""
    name: str
    status: RunStatus
    tags: dict[str, str]
    params: dict[str, str]
    metrics: tuple[Point, ...]
    artifacts: tuple[Path, ...] = ()
    start_ms: int = 0
    end_ms: int | None = None

    @property
    def fingerprint(self) -> str:
        """Changes whenever something about the run does."""
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.artifacts]
        plain = [self.name, self.status, self.tags, self.params, to_plain(self.metrics), self.end_ms, files]
        return content_id("record", 1, plain)


def build_records(plan: Plan, layout: Layout) -> list[Record]:
    """Make the records of a study: itself, each distinct fine-tune, each cell."""
    return [
        _record_study(plan, layout),
        *(_record_finetune(job, plan, layout) for job in plan.finetunes),
        *_record_cells(plan, layout),
    ]


def _record_study(plan: Plan, layout: Layout) -> Record:
    jobs = (*plan.finetunes, *plan.evals)
    done = sum(layout.result(job.id).exists() for job in jobs)
    failed = sum(read_failure(layout, job.id) is not None for job in jobs)
    seeds = sorted({cell.seed for cell in plan.cells if cell.seed is not None})
    status: RunStatus = "FINISHED" if done == len(jobs) else "FAILED" if done + failed == len(jobs) else "RUNNING"
    folder = layout.study(plan.study)
    return Record(
        key="study",
        name=f"study {plan.study}",
        status=status,
        tags={"kind": "study", **_describe_plan(plan), "seeds": " ".join(map(str, seeds))},
        params={"targets": ", ".join(sorted({contrast.target for contrast in plan.contrasts}))},
        metrics=_points({"jobs": len(jobs), "jobs_done": done, "jobs_failed": failed}),
        artifacts=tuple(path for name in STUDY_FILES if (path := folder / name).exists()),
    )


def _describe_plan(plan: Plan) -> dict[str, str]:
    data = plan.data
    return {
        "study": plan.study,
        "plan": plan.id,
        "backbone": plan.backbone.name,
        "data": data.source,
        "world": data.world if data.source == "phantom" else "",
    }


def _record_finetune(job: FinetuneJob, plan: Plan, layout: Layout) -> Record:
    events = read_events(layout.journal(job.id))
    result = read_finetune_result(layout, job.id)
    metrics = _read_curves(events)
    if result is not None:
        metrics += _points({"seconds": result.seconds, "loss_last": result.loss_last})
    sources = _name_sources(job.mixture)
    return Record(
        key=f"finetune:{job.id}",
        name=f"fine-tune {job.id[:8]} seed {job.seed}",
        status=_find_status(layout, job.id, events),
        tags={
            "kind": "finetune",
            **_describe_plan(plan),
            "finetune_job": job.id,
            "sources": sources,
            "seed": str(job.seed),
            "host": result.host if result else "",
            **_tell_failure(layout, job.id),
        },
        params={
            **{name: str(value) for name, value in to_plain(job.recipe).items()},
            "num_samples": str(job.mixture.num_samples),
            "seed": str(job.seed),
        },
        metrics=metrics,
        start_ms=_to_ms(events[0]["time"]) if events else 0,
        end_ms=_to_ms(events[-1]["time"]) if events and result else None,
    )


def _record_cells(plan: Plan, layout: Layout) -> list[Record]:
    contrasts = {contrast.id: contrast for contrast in plan.contrasts}
    subsets = {subset.name: subset for subset in plan.subsets}
    results = {job.id: read_eval_result(layout, job.id) for job in plan.evals}
    accuracies = {
        (cell.contrast, cell.arm, cell.seed): result.accuracy
        for cell in plan.cells
        if cell.arm is not Arm.SOURCES and (result := results[cell.eval_job])
    }
    records: list[Record] = []
    for cell in plan.cells:
        contrast, result = contrasts[cell.contrast], results[cell.eval_job]
        triplet = subsets[cell.subset].triplet
        facts = {
            "design": contrast.design,
            "contrast": contrast.id,
            "arm": str(cell.arm),
            "target": contrast.target,
            "subset": cell.subset,
            "modality": triplet.modality,
            "area": triplet.area,
            "task": triplet.task,
            "direction": str(contrast.direction or ""),
            "sources": _name_sources(cell.trained_on),
            "seed": "" if cell.seed is None else str(cell.seed),
        }
        events = read_events(layout.journal(cell.eval_job))
        metrics: dict[str, float] = {}
        if result is not None:
            metrics = _measure(cell, result.accuracy, accuracies)
            metrics |= {"num_questions": result.num_questions, "seconds": result.seconds}
        predictions = layout.predictions(cell.eval_job)
        records.append(
            Record(
                key=f"cell:{cell.key}",
                name=_name_cell(cell, contrast.target),
                status=_find_status(layout, cell.eval_job, events),
                tags={
                    "kind": "cell",
                    **_describe_plan(plan),
                    **facts,
                    "fully_covered": str(contrast.fully_covered).lower(),
                    "eval_job": cell.eval_job,
                    "finetune_job": cell.finetune_job or "",
                    **_tell_failure(layout, cell.eval_job),
                },
                params={name: facts[name] for name in ("arm", "target", "subset", "direction", "sources", "seed")}
                | {"num_train": str(cell.proof.num_train)},
                metrics=_points(metrics),
                artifacts=(predictions,) if predictions.exists() else (),
                start_ms=_to_ms(events[0]["time"]) if events else 0,
                end_ms=_to_ms(events[-1]["time"]) if events and result else None,
            )
        )
    return records


def _name_cell(cell: Cell, target: str) -> str:
    seed = "" if cell.seed is None else f" seed {cell.seed}"
    subset = f" on {cell.subset}" if cell.arm is Arm.SOURCES else ""
    return f"{target} {cell.arm}{subset}{seed}"


def _measure(cell: Cell, accuracy: float, accuracies: dict[tuple[str, Arm, int | None], float]) -> dict[str, float]:
    """Compute a cell's metrics; gains are against the same contrast, and the same seed where the other arm has one."""
    chance = cell.proof.chance
    metrics = {"accuracy": accuracy, "chance": chance, "chance_corrected": (accuracy - chance) / (1 - chance)}
    if cell.arm is Arm.SOURCES:
        return metrics
    for name, key in (
        ("gain_over_zero_shot", (cell.contrast, Arm.ZERO_SHOT, None)),
        ("gain_over_unrelated", (cell.contrast, Arm.UNRELATED, cell.seed)),
    ):
        if key in accuracies and key[1] is not cell.arm:
            metrics[name] = accuracy - accuracies[key]
    return metrics


def _name_sources(mixture: Mixture | None) -> str:
    return ", ".join(part.subset for part in mixture.parts) if mixture else ""


def _points(values: dict[str, float]) -> tuple[Point, ...]:
    return tuple(Point(key=key, value=float(value), step=0, time_ms=0) for key, value in values.items())


def _read_curves(events: list[dict[str, Any]]) -> tuple[Point, ...]:
    """Read the loss curve; a step that was run again after an interruption counts once, as it was last."""
    logged = {event["step"]: event for event in events if event["event"] == "log"}
    return tuple(
        Point(key=key, value=float(event[key]), step=step, time_ms=_to_ms(event["time"]))
        for step, event in sorted(logged.items())
        for key in ("loss", "learning_rate", "samples_per_s")
        if key in event
    )


def _find_status(layout: Layout, job_id: str, events: list[dict[str, Any]]) -> RunStatus:
    if layout.result(job_id).exists():
        return "FINISHED"
    if read_failure(layout, job_id) is not None:
        return "FAILED"
    if not events:
        return "SCHEDULED"
    if events[-1]["event"] == "interrupted" or find_holder(layout.job(job_id) / "lock") is None:
        return "KILLED"
    return "RUNNING"


def _tell_failure(layout: Layout, job_id: str) -> dict[str, str]:
    failure = read_failure(layout, job_id)
    return {} if failure is None else {"failure": failure.kind, "failure_message": failure.message}


def _to_ms(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
