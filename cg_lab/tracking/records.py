"""What MLflow shall show of a study, as plain records made from its files; no MLflow in here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cg_lab.arms import Arm
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.results import FinetuneResult, Layout, read_eval_result, read_finetune_result
from cg_lab.serialize import read_json, to_plain
from cg_lab.tracking.cells import CellRecorder
from cg_lab.tracking.jobs import JobState, RunStatus, read_job
from cg_lab.tracking.questions import count_words, record_questions
from cg_lab.tracking.record import (
    Record,
    TrainedModel,
    identify_catalogs,
    list_trained,
    name_sources,
    round_metrics,
    shorten,
    tell_failure,
    tell_recipe,
)
from cg_lab.tracking.run_names import name_finetune_run

STUDY_FILES = (
    "plan.json", "registered.json", "config.yaml", "provenance.json", "effects.csv", "cells.csv", "summary.csv",
    "curves.csv", "transfer.csv", "reliability.csv", "splits.csv", "report.md", "report.html",
)  # fmt: skip


def build_records(plan: Plan, layout: Layout) -> tuple[Record, ...]:
    """Make the records of a study: itself, each held-out question, each distinct fine-tune, each cell."""
    results = {job.id: read_eval_result(layout, job.id) for job in plan.evals}
    evals = {job_id: read_job(layout, job_id, result) for job_id, result in results.items()}
    tuned = {job.id: read_finetune_result(layout, job.id) for job in plan.finetunes}
    finetunes = {job_id: read_job(layout, job_id, result) for job_id, result in tuned.items()}
    shared, catalogs = _describe_plan(plan), identify_catalogs(plan)
    arms = _list_arms(plan)
    trained = [
        replace(
            _record_finetune(
                job, finetunes[job.id], tuned[job.id], shared | {"catalog": catalogs[job.data], "arms": arms[job.id]}
            ),
            weights=_find_weights(layout, job) if tuned[job.id] else None,
        )
        for job in plan.finetunes
    ]
    models = {job_id: TrainedModel(job_id=job_id, made=result.started) for job_id, result in tuned.items() if result}
    cells = CellRecorder(plan=plan, layout=layout, shared=shared, results=results, states=evals, models=models)
    tested = [cells.record(cell) for cell in plan.cells]
    questions = record_questions(plan, layout, shared, evals)
    study = _record_study(plan, layout, shared, [*finetunes.values(), *evals.values()], count_words(questions))
    return (study, *questions, *trained, *tested)


def _list_arms(plan: Plan) -> dict[str, str]:
    """List by fine-tune the arms that train it; those that only ask its model in another way don't count."""
    arms: dict[str, set[Arm]] = {}
    for cell in plan.cells:
        if cell.finetune_job is not None and cell.arm.traits.model == "own":
            arms.setdefault(cell.finetune_job, set()).add(cell.arm)
    return {job.id: ", ".join(arm for arm in Arm if arm in arms.get(job.id, ())) for job in plan.finetunes}


def _describe_plan(plan: Plan) -> dict[str, str]:
    sources = [catalog.data for catalog in plan.catalogs]
    worlds = [data.world for data in sources if data.source == "phantom"]
    return {
        "study": plan.study,
        "plan": plan.id,
        "backbone": ", ".join(dict.fromkeys(backbone.name for backbone in plan.backbones)),
        "catalog": ", ".join(identify_catalogs(plan).values()),
        "data": ", ".join(dict.fromkeys(data.source for data in sources)),
        "world": ", ".join(dict.fromkeys(worlds)),
    }


def _record_study(plan: Plan, layout: Layout, shared: dict[str, str], jobs: list[JobState], verdicts: str) -> Record:
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
            "verdicts": verdicts,
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


def _record_finetune(
    job: FinetuneJob, state: JobState, result: FinetuneResult | None, shared: dict[str, str]
) -> Record:
    sources = name_sources(job.mixture)
    return Record(
        key=f"finetune:{job.id}",
        job_id=job.id,
        name=name_finetune_run(job),
        status=state.status,
        tags={
            "kind": "finetune",
            **shared,
            "finetune_job": job.id,
            "sources": sources,
            "seed": str(job.seed),
            "host": state.host,
            "gpu": result.gpu if result else "",
            **tell_failure(state.failure),
        },
        params={
            "backbone": job.backbone.name,
            "sources": sources,
            "labels": job.mixture.labels,
            "seed": str(job.seed),
            "num_samples": str(job.mixture.num_samples),
            **tell_recipe(job.recipe),
        },
        metrics=_measure_training(result) if result else {},
        curve=state.curve,
        inputs=list_trained(job.data, job.mixture),
        start_ms=state.start_ms,
        end_ms=state.end_ms,
    )


def _find_weights(layout: Layout, job: FinetuneJob) -> str:
    folder = layout.weights(job.id)
    return str(folder.resolve()) if folder.is_dir() else ""


def _measure_training(result: FinetuneResult) -> dict[str, float]:
    energy = {} if result.energy_joules is None else {"energy_joules": result.energy_joules}
    speed = {} if result.samples_per_s is None else {"mean_samples_per_s": result.samples_per_s}
    loss = {} if result.loss_last is None else {"last_loss": result.loss_last}
    return round_metrics({"seconds": result.seconds, **loss, **speed, **energy})
