"""A small study whose jobs' files are written by hand; nothing is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import LoggedModel, Run
from mlflow.tracking import MlflowClient

from cg_lab.catalog import PhantomData, build_catalog
from cg_lab.config import read_study
from cg_lab.mat import Subset
from cg_lab.planning.build import Run as PlannedRun, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.questions import AnswerForm
from cg_lab.results import EvalResult, Failure, FinetuneResult, Layout, write_failure, write_plan, write_result
from cg_lab.study import Backbone, Study
from cg_lab.tracking import SyncReport, sync, sync_study
from cg_lab.tracking.store import opening

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A results folder with one study in it."""

    layout: Layout
    plan: Plan

    def sync(self) -> SyncReport:
        """Mirror the study."""
        return sync_study(self.layout, self.plan.study)

    @property
    def client(self) -> MlflowClient:
        """For looking at what was mirrored."""
        return MlflowClient(tracking_uri=f"sqlite:///{self.layout.database.resolve()}")

    def search(self, filter_string: str = "") -> dict[str, Run]:
        """Find runs through MLflow, by their keys."""
        experiment = self.client.get_experiment_by_name(self.plan.study)
        assert experiment is not None
        runs = self.client.search_runs([experiment.experiment_id], filter_string)
        assert len({run.data.tags["cg_lab.key"] for run in runs}) == len(runs)
        return {run.data.tags["cg_lab.key"]: run for run in runs}

    def list_models(self) -> dict[str, LoggedModel]:
        """Find logged models by the fine-tune that made them; one that is there twice is a fault."""
        experiment = self.client.get_experiment_by_name(self.plan.study)
        assert experiment is not None
        models = self.client.search_logged_models([experiment.experiment_id])
        assert len({model.tags["finetune_job"] for model in models}) == len(models)
        return {model.tags["finetune_job"]: model for model in models}

    def read_curve(self, job_id: str) -> dict[int, float]:
        """Give the mirrored loss of each step; a step that is there twice is a fault."""
        run = self.search()[f"finetune:{job_id}"]
        history = self.client.get_metric_history(run.info.run_id, "loss")
        assert len({metric.step for metric in history}) == len(history)
        return {metric.step: metric.value for metric in history}

    def log(self, job_id: str, *events: tuple[str, dict[str, Any]], at_s: float = 0.0) -> None:
        """Append events, a second apart."""
        path = self.layout.journal(job_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for number, (event, facts) in enumerate(events):
                time = (BEGAN + timedelta(seconds=at_s + number)).isoformat(timespec="milliseconds")
                file.write(json.dumps({"time": time, "event": event, **facts}) + "\n")

    def log_steps(self, job_id: str, losses: dict[int, float], *, at_s: float = 0.0) -> None:
        """Append a piece of a loss curve."""
        facts = [
            {"step": step, "loss": loss, "learning_rate": 1e-3, "samples_per_s": 50.0} for step, loss in losses.items()
        ]
        self.log(job_id, *(("log", fact) for fact in facts), at_s=at_s)

    def finish_finetune(self, job: FinetuneJob, *, at_s: float = 0.0, num_logs: int = 3) -> None:
        """Leave all that a fine-tune leaves."""
        self.log(job.id, ("started", {"host": "node-1", "pid": 1}), at_s=at_s)
        self.layout.weights(job.id).mkdir(parents=True, exist_ok=True)
        losses = {10 * (number + 1): 2.0 / (number + 1) + 0.01 * job.seed for number in range(num_logs)}
        self.log_steps(job.id, losses, at_s=at_s + 1)
        write_result(
            self.layout,
            FinetuneResult(
                job=job,
                steps=10 * num_logs,
                samples=160 * num_logs,
                loss_first=2.0,
                loss_last=2.0 / num_logs,
                seconds=num_logs + 0.5,
                host="node-1",
                started=(BEGAN + timedelta(seconds=at_s)).isoformat(),
                gpu="NVIDIA H100",
                energy_joules=700.0,
            ),
        )
        self.log(job.id, ("done", {}), at_s=at_s + num_logs + 1)

    def finish_eval(self, job: EvalJob, accuracy: float, *, at_s: float = 60.0) -> None:
        """Leave all that an evaluation leaves."""
        self.log(job.id, ("started", {"host": "node-1", "pid": 1}), at_s=at_s)
        self.layout.predictions(job.id).write_bytes(b"PAR1" + job.id.encode())
        write_result(
            self.layout,
            EvalResult(
                job=job,
                num_questions=40,
                accuracy=accuracy,
                metrics={"calibration_error": 0.1, "recall_A": accuracy},
                seconds=1.5,
                host="node-1",
                started=(BEGAN + timedelta(seconds=at_s)).isoformat(),
            ),
        )
        self.log(job.id, ("done", {}), at_s=at_s + 2)

    def fail(self, job_id: str, message: str = "the loss is nan at step 7") -> None:
        """Leave what a failed attempt leaves."""
        self.log(job_id, ("started", {"host": "node-1"}), ("failed", {"kind": "not_finite", "message": message}))
        write_failure(
            self.layout,
            Failure(
                job_id=job_id,
                kind="not_finite",
                message=message,
                attempts=1,
                host="node-1",
                when=(BEGAN + timedelta(seconds=2)).isoformat(),
            ),
        )

    def finish(self) -> None:
        """Finish every job; each arm of each target has an accuracy of its own."""
        accuracies = {
            "zero_shot": 0.5, "unrelated": 0.55, "related": 0.75, "ceiling": 0.95, "blind": 0.5, "sources": 0.9,
        }  # fmt: skip
        arms = {cell.eval_job: cell for cell in self.plan.cells}
        for number, job in enumerate(self.plan.finetunes):
            self.finish_finetune(job, at_s=10.0 * number)
        after_s = 10.0 * len(self.plan.finetunes)
        for number, job in enumerate(self.plan.evals):
            cell = arms[job.id]
            accuracy = accuracies[cell.arm] + 0.0125 * (cell.seed or 0)
            self.finish_eval(job, accuracy, at_s=after_s + 3.0 * number)


def build_lab(root: Path, *, targets: tuple[str, ...], seeds: tuple[int, ...], study: str = "small") -> Lab:
    """Plan a study, and write its plan."""
    lab = Lab(layout=Layout(root), plan=plan_small(targets, seeds, study))
    write_plan(lab.layout, lab.plan)
    return lab


def plan_small(targets: tuple[str, ...], seeds: tuple[int, ...], study: str = "small") -> Plan:
    """Plan a study over eighteen subsets."""
    areas, tasks = ("Lung", "Brain", "Breast"), ("Mass", "Bleed")
    subsets = [
        Subset(
            name=f"{modality}-{area}-{task}".lower(),
            elements=((modality,), (area,), (task,)),
            labels=("absent", "present"),
            num_options=2,
            num_train=40,
            num_test=40,
        )
        for modality in ("CT", "MRI", "US")
        for area in areas
        for task in tasks
    ]
    data = PhantomData(version=1, world="compositional", seed=0, image_size=64, train_per_subset=40, test_per_subset=40)
    backbone = Backbone(name="tiny_llava", path="package:tiny_llava", revision="0" * 16, answer=AnswerForm.LETTER)
    run = PlannedRun(
        name="", study=_settings(study, targets, seeds), catalog=build_catalog(data, subsets), backbone=backbone
    )
    return build_plan([run])


def _settings(study: str, targets: tuple[str, ...], seeds: tuple[int, ...]) -> Study:
    return read_study(
        [
            f"study={study}",
            f"targets=[{','.join(targets)}]",
            f"seeds=[{','.join(map(str, seeds))}]",
            "data.modalities=[CT,MRI,US]",
            "data.areas=[Lung,Brain,Breast]",
            "data.tasks=[Mass,Bleed]",
            "design.max_samples=32",
            "arms=[zero_shot,unrelated,related,blind,sources,ceiling]",
            "finetune.epochs=2",
            "finetune.batch_size=16",
        ]
    )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and no runs, made once: it takes seconds."""
    results = Layout(tmp_path_factory.mktemp("empty"))
    with opening(results, "nothing", None) as store:
        store.client.delete_experiment(store.experiment_id)
    return results.database


@pytest.fixture
def lab(tmp_path: Path, empty_database: Path) -> Lab:
    """One target, one seed, nothing run yet: 3 fine-tunes and 7 cells."""
    made = build_lab(tmp_path / "results", targets=("ct-brain-mass",), seeds=(0,))
    shutil.copy(empty_database, made.layout.database)
    return made


@pytest.fixture
def through_client(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let new runs be written by MLflow's client from the call on, as to a server."""
    return lambda: monkeypatch.setattr(sync, "gathering", nullcontext)
