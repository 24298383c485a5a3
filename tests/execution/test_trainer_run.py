"""A fine-tune by a trainer's command is a job as any other: its attempts, failures, checkpoints and result."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from cg_lab.cli.progress import _measure_speed
from cg_lab.config import read_study
from cg_lab.data.samples import draw_mixture
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.execution.bench import Conduct, ModelBench, Surface
from cg_lab.execution.packs import Order, Submission, path_of, write_submission
from cg_lab.execution.run import freeze, run_plan
from cg_lab.execution.team import SOLO, Team
from cg_lab.execution.trainer_run import OF_A_TEAM
from cg_lab.execution.worker import run_pack
from cg_lab.journal import append_event, now, read_events
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.results import Failure, Layout, read_failure, read_finetune_result, write_failure
from cg_lab.tracking.jobs import read_curve
from cg_lab.training.trainer_identity import identify_trainer

TRAINER = """
import json, os, sys, time
from pathlib import Path
from safetensors.numpy import load_file, save_file

mode, output, base, config = sys.argv[1], *map(Path, sys.argv[2:])

def save(folder, **state):
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: part * 1.01 for name, part in load_file(base / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    if state:
        (folder / "trainer_state.json").write_text(json.dumps(state))

print("I was given", config, flush=True)
match mode:
    case "fail":
        sys.exit("ValueError: the image has no pixels")
    case "memory":
        if "gradient_accumulation_steps: 1" in config.read_text():
            sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB")
        save(output)
    case "wait":
        if "resume_from_checkpoint" not in config.read_text():
            save(output / "checkpoint-2", global_step=2, max_steps=4, epoch=1.0)
            time.sleep(60)
        save(output)
        log = [{"step": 1, "loss": 4.0, "learning_rate": 1e-3}, {"step": 4, "loss": 1.0, "learning_rate": 0.0}]
        (output / "trainer_state.json").write_text(
            json.dumps({"global_step": 4, "max_steps": 4, "epoch": 2.0, "log_history": log})
        )
    case _:
        save(output)
"""


class Lab:
    """A plan of one fine-tune by a script, and its results folder."""

    def __init__(self, folder: Path, mode: str) -> None:
        script = folder / "train.py"
        script.write_text(TRAINER)
        study = read_study(
            ["targets=[ct-brain-side]", "seeds=[0]", "arms=[related]", "design.max_samples=8", "finetune.batch_size=4",
             f"results_dir={folder / 'results'}", "tracking=none"]
        )  # fmt: skip
        recipe = replace(
            study.finetune, by="command", exporter="trl", version="mine 1",
            command=f"{sys.executable} {script} {mode} {{output}} {{base}} {{config}}",
        )  # fmt: skip
        study = replace(study, finetune=identify_trainer(recipe))
        backbone = identify_backbone(study.model)
        catalog = read_catalog(study.data)
        self.plan: Plan = build_plan([Run(name="", study=study, catalog=catalog, backbone=backbone)])
        self.layout = Layout(folder / "results")
        self.order = Order(study=self.plan.study, cluster=study.cluster, tracking=study.tracking, eval_batch_size=8)
        freeze(self.plan, self.order, self.layout)
        self.job = self.plan.finetunes[0]
        self.source = open_source(catalog, self.layout.data)

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(read_events(self.layout.journal(self.job.id)))

    def open(self, team: Team = SOLO) -> ModelBench:
        return ModelBench(
            Surface(plan=self.plan, order=self.order, layout=self.layout, threads=1, team=team, jobs=(self.job,))
        )

    def run(self) -> Path:
        """Run the job as a pack's process does; gives the submission."""
        submission = Submission(
            id="00001", study=self.plan.study, stage="finetune", results_dir=str(self.layout.root),
            packs=((self.job.id,),), threads=1, after=None, task="t", is_over=False, created="t",
        )  # fmt: skip
        write_submission(self.layout, submission)
        path = path_of(self.layout, submission)
        run_pack(path, 0)
        return path


@pytest.fixture
def make_lab(tmp_path: Path) -> Callable[[str], Lab]:
    return lambda mode: Lab(tmp_path, mode)


def test_a_command_leaves_a_result_and_a_model_as_cg_labs_own_training_does(
    make_lab: Callable[[str], Lab], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab("train")
    lab.run()
    result = read_finetune_result(lab.layout, lab.job.id)
    assert result is not None
    assert (result.steps, result.samples, result.loss_last, result.samples_per_s) == (None, None, None, None)
    assert [event["event"] for event in lab.events] == ["started", "command", "checked", "done"]
    assert "I was given" in capsys.readouterr().out
    model = lab.layout.weights(lab.job.id)
    assert {"config.json", "tokenizer.json", "chat_template.jinja", "processor_config.json"} <= {
        path.name for path in model.iterdir()
    }
    assert "by mine 1" in (model / "README.md").read_text()
    assert not lab.layout.checkpoints(lab.job.id).exists()


def test_images_are_written_once_as_cg_lab_reads_them(make_lab: Callable[[str], Lab]) -> None:
    lab = make_lab("fail")
    lab.run()
    table = parquet.read_table(lab.layout.checkpoints(lab.job.id) / "data/samples/train.parquet").to_pylist()
    named = {Path(row["images"][0]["path"]) for row in table}
    files = {path.resolve(): path.stat().st_mtime_ns for path in (lab.layout.prepared / "images").rglob("*.png")}
    assert named == set(files)
    assert len(named) == lab.job.mixture.num_samples == 8
    written = sorted(np.asarray(Image.open(path)).tobytes() for path in named)
    read = lab.source.read_images(draw_mixture(lab.source, lab.job.mixture))
    assert written == sorted(np.asarray(image.convert("RGB")).tobytes() for image in read)
    lab.run()
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_command_that_fails_is_tried_again_and_told_by_its_last_words(make_lab: Callable[[str], Lab]) -> None:
    lab = make_lab("fail")
    for _ in range(3):
        lab.run()
    failure = read_failure(lab.layout, lab.job.id)
    assert failure is not None
    assert (failure.kind, failure.attempts) == ("crash", 3)
    assert failure.message.endswith("ValueError: the image has no pixels")
    assert "status 1" in failure.message


def test_after_memory_ran_out_the_same_batch_is_split(make_lab: Callable[[str], Lab]) -> None:
    lab = make_lab("memory")
    lab.run()
    assert [event.get("kind") for event in lab.events if event["event"] == "failed"] == ["out_of_memory"]
    assert lab.layout.result(lab.job.id).exists()


def test_an_interrupted_command_goes_on_from_its_checkpoint_and_its_state_is_read(
    make_lab: Callable[[str], Lab],
) -> None:
    lab, seen = make_lab("wait"), []

    def note(event: str, **facts: Any) -> None:
        seen.append((event, facts.get("step")))

    def conduct(*, stops: bool) -> Conduct:
        return Conduct(event=note, is_stopping=lambda **_: stops and ("saved", 2) in seen, parts=1)

    bench = lab.open()
    with pytest.raises(InterruptedByUserError):
        bench.run(lab.job, conduct(stops=True))
    bench.run(lab.job, conduct(stops=False))
    assert [event for event, _ in seen] == ["command", "saved", "resumed", "command", "log", "log", "checked"]
    assert ("resumed", 2) in seen
    result = read_finetune_result(lab.layout, lab.job.id)
    assert result is not None
    assert (result.steps, result.samples, result.loss_first, result.loss_last) == (4, 16, 4.0, 1.0)


def test_a_loss_without_a_speed_is_drawn_and_stops_no_progress(make_lab: Callable[[str], Lab]) -> None:
    """What is read of a trainer's state is the last line of its journal for a moment."""
    lab = make_lab("train")
    append_event(lab.layout.journal(lab.job.id), "log", step=1, loss=4.0)
    assert _measure_speed((lab.job.id,), lab.layout) == 0
    assert [(point.key, point.value) for point in read_curve(lab.events)] == [("loss", 4.0)]


def test_a_command_is_ended_when_its_job_is_cancelled(make_lab: Callable[[str], Lab]) -> None:
    lab = make_lab("wait")
    began = time.monotonic()
    write = lab.layout.job(lab.job.id)
    write.mkdir(parents=True)

    def cancel() -> None:
        while not (lab.layout.checkpoints(lab.job.id) / "output/checkpoint-2/trainer_state.json").exists():
            time.sleep(0.1)
        write_failure(
            lab.layout, Failure(job_id=lab.job.id, kind="cancelled", message="", attempts=1, host="h", when=now())
        )

    from threading import Thread

    Thread(target=cancel, daemon=True).start()
    lab.run()
    assert time.monotonic() - began < 40
    assert [event.get("kind") for event in lab.events][-1] == "cancelled"


@pytest.mark.slow
@pytest.mark.slurm
def test_a_command_runs_as_a_task_of_slurm(make_lab: Callable[[str], Lab]) -> None:
    lab = make_lab("train")
    slurm = read_study(["cluster=slurm", "cluster.slots=1", "cluster.timeout_min=10"]).cluster
    outcome = run_plan(lab.plan, replace(lab.order, cluster=slurm), lab.layout, lambda _: None)
    assert (outcome.num_done, outcome.num_failed) == (2, 0)
    assert lab.events[0]["task"].startswith("slurm ")
    assert (lab.layout.root / lab.events[0]["log"]).read_text().count("I was given") == 1


def test_one_of_several_processes_runs_no_command(make_lab: Callable[[str], Lab]) -> None:
    with pytest.raises(UserError, match=r"cluster\.processes=1"):
        make_lab("train").open(Team(rank=0, size=2)).run(
            make_lab("train").job, Conduct(event=lambda *_, **__: None, is_stopping=bool, parts=1)
        )


def test_a_command_does_not_take_itself_for_a_part_of_something(
    make_lab: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cg_lab.execution.trainer_run import TrainerRun

    for name in OF_A_TEAM:
        monkeypatch.setenv(name, "1")
    lab = make_lab("train")
    given = TrainerRun(job=lab.job, plan=lab.plan, layout=lab.layout, threads=3)._environment()
    assert not set(OF_A_TEAM) & set(given)
    assert given["OMP_NUM_THREADS"] == "3"
    assert given["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


@pytest.mark.parametrize(("name", "value"), [("max_pixels", 784), ("adapter", "a@b")])
def test_a_model_that_a_trainer_can_not_be_told_of_is_refused(
    make_lab: Callable[[str], Lab], name: str, value: Any
) -> None:
    from cg_lab.execution.trainer_run import _check_job

    lab = make_lab("train")
    with pytest.raises(UserError, match=f"model.{name}"):
        _check_job(replace(lab.job, backbone=replace(lab.job.backbone, **{name: value})))
