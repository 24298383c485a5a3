"""What one process makes of its pack: jobs that fail, run out of memory, meet a full disk, or take it down."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.execution import worker
from cg_lab.execution.bench import Conduct, ModelBench, Surface
from cg_lab.execution.heartbeat import read_beat
from cg_lab.execution.packs import Order, Submission, path_of, read_submission, trace_of, write_submission
from cg_lab.execution.team import Team
from cg_lab.execution.worker import classify, run_pack
from cg_lab.execution.workset import Workset
from cg_lab.journal import append_event, read_events
from cg_lab.locks import holding
from cg_lab.models.backbone import UnreadableCheckpointError
from cg_lab.models.encoding import TooLongError
from cg_lab.models.identity import identify_backbone
from cg_lab.models.tower import FEATURES
from cg_lab.planning.build import Run, build_plan
from cg_lab.results import Failure, Layout, read_failure, read_finetune_result, write_failure
from cg_lab.training.finetune import NotFiniteError


def submit(lab: Any, *job_ids: str) -> Path:
    submission = Submission(
        id="00001", study=lab.plan.study, stage="finetune", results_dir=str(lab.layout.root), packs=(job_ids,),
        threads=1, after=None, task="t", is_over=False, created="t",
    )  # fmt: skip
    write_submission(lab.layout, submission)
    return path_of(lab.layout, submission)


def run(lab: Any, *job_ids: str) -> list[str]:
    """Run a pack; give what it said about each job last."""
    path = submit(lab, *job_ids)
    run_pack(path, 0, lab.bench.open)
    said = {event["job"]: event["event"] for event in read_events(trace_of(path, 0)) if "job" in event}
    return [said.get(job_id, "nothing") for job_id in job_ids]


def test_jobs_run_in_order_and_never_twice(lab: Any) -> None:
    jobs = (lab.finetune, lab.eval_of(lab.finetune))
    assert run(lab, *jobs) == ["done", "done"]
    assert run(lab, *jobs) == ["done", "done"]
    assert lab.bench.begun == list(jobs)


def test_an_unknown_exception_leaves_the_job_to_a_fresh_process_and_gives_up_after_three(lab: Any, fails: Any) -> None:
    job = lab.finetune
    lab.bench.behaviours[job] = [fails(KeyError("x")) for _ in range(3)]
    assert [run(lab, job)[0] for _ in range(3)] == ["left", "left", "failed"]
    failure = read_failure(lab.layout, job)
    assert failure
    assert (failure.kind, failure.attempts) == ("crash", 3)
    assert run(lab, job) == ["failed"]
    assert len(lab.bench.begun) == 3


def test_a_fault_of_the_user_fails_at_once_and_what_needs_it_says_why(lab: Any, fails: Any) -> None:
    job = lab.finetune
    lab.bench.behaviours[job] = [fails(UserError("no such model"))]
    follower = lab.eval_of(job)
    assert run(lab, job, follower) == ["failed", "failed"]
    failure = read_failure(lab.layout, follower)
    assert failure
    assert failure.kind == "no_weights"
    assert "no such model" in failure.message


def test_memory_is_tried_again_at_once_in_smaller_parts(lab: Any, fails: Any) -> None:
    job = lab.finetune
    lab.bench.behaviours[job] = [fails(MemoryError()), fails(MemoryError())]
    assert run(lab, job) == ["done"]
    assert lab.bench.parts == [1, 2, 4]


def test_a_full_disk_is_waited_for(lab: Any, fails: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BACKOFF_S", (0.0,))
    job = lab.finetune
    lab.bench.behaviours[job] = [fails(OSError(errno.ENOSPC, "No space left on device"))]
    assert run(lab, job) == ["done"]
    kinds = [event.get("kind") for event in read_events(lab.layout.journal(job)) if event["event"] == "failed"]
    assert kinds == ["disk"]


def test_notes_that_find_no_room_cost_no_result(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first note of an attempt is waited for; the last one may be lost, since the result is there."""
    monkeypatch.setattr(worker, "BACKOFF_S", (0.0,))
    write, left = worker.append_event, {"started": 1, "done": 1}

    def write_when_there_is_room(path: Path, event: str, **facts: Any) -> None:
        if path.name == "journal.jsonl" and left.get(event):
            left[event] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, event, **facts)

    monkeypatch.setattr(worker, "append_event", write_when_there_is_room)
    assert run(lab, lab.finetune) == ["done"]
    assert lab.bench.begun == [lab.finetune]


def test_a_process_that_died_blames_the_job_that_it_was_at(lab: Any, killed: Any) -> None:
    """The next process notes the death, and after three of them runs the others."""
    job, other = lab.finetune, lab.plan.finetunes[1].id
    lab.bench.behaviours[job] = [killed] * 3
    for _ in range(3):
        with pytest.raises(BaseException, match="killed"):
            run(lab, job, other)
    assert run(lab, job, other) == ["failed", "done"]
    failure = read_failure(lab.layout, job)
    assert failure
    assert (failure.kind, failure.attempts) == ("died", 3)


def test_a_requeued_task_was_taken_away_and_blames_nobody(
    lab: Any, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    lab.bench.behaviours[lab.finetune] = [killed] * 4
    for _ in range(4):
        with pytest.raises(BaseException, match="killed"):
            run(lab, lab.finetune)
    assert run(lab, lab.finetune) == ["done"]


def test_an_evaluation_waits_for_a_fine_tune_that_will_be_tried_again(lab: Any, fails: Any) -> None:
    job = lab.finetune
    lab.bench.behaviours[job] = [fails(KeyError("x"))]
    assert run(lab, job, lab.eval_of(job)) == ["left", "left"]
    assert run(lab, job, lab.eval_of(job)) == ["done", "done"]


def test_a_job_that_another_study_works_on_is_waited_for_and_its_result_shared(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL_S", 0.05)
    job, other = lab.finetune, lab.plan.finetunes[1].id
    ready = threading.Event()

    def work_elsewhere() -> None:
        with holding(lab.layout.lock(job)):
            ready.set()
            time.sleep(0.5)
            lab.bench.run(lab.plan.finetunes[0], Conduct(event=print, is_stopping=bool, parts=1))

    thread = threading.Thread(target=work_elsewhere)
    thread.start()
    ready.wait()
    assert run(lab, job, other) == ["done", "done"]
    thread.join()
    assert lab.bench.begun.count(job) == 1
    assert lab.bench.begun[0] == other


def test_a_request_to_end_saves_and_begins_nothing_further(lab: Any) -> None:
    def stop(conduct: Conduct) -> None:
        signal.raise_signal(signal.SIGTERM)
        assert conduct.is_stopping()
        conduct.event("saved", step=3)
        raise InterruptedByUserError

    job, other = lab.finetune, lab.plan.finetunes[1].id
    lab.bench.behaviours[job] = [stop]
    assert run(lab, job, other) == ["left", "nothing"]
    assert read_events(lab.layout.journal(job))[-1]["event"] == "interrupted"


def test_a_cancelled_job_is_not_begun_and_a_running_one_stops(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL_S", -1.0)

    def cancel(job_id: str) -> None:
        failure = Failure(job_id=job_id, kind="cancelled", message="x", attempts=0, host="", when="t")
        write_failure(lab.layout, failure)

    def meet_it(conduct: Conduct) -> None:
        cancel(job)
        assert conduct.is_stopping()
        raise InterruptedByUserError

    job, other = lab.finetune, lab.plan.finetunes[1].id
    lab.bench.behaviours[job] = [meet_it]
    cancel(other)
    assert run(lab, job, other) == ["failed", "failed"]
    assert other not in lab.bench.begun


def test_a_pack_runs_in_one_process_at_a_time(lab: Any) -> None:
    path = submit(lab, lab.finetune)
    with holding(worker.lock_of(path, 0)):
        run_pack(path, 0, lab.bench.open)
    assert lab.bench.begun == []


def test_a_cluster_warning_ends_with_what_submitit_would_have_done(lab: Any) -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: called.append(number))

    def warn(_: Conduct) -> None:
        signal.raise_signal(signal.SIGUSR2)
        assert not called
        raise InterruptedByUserError

    lab.bench.behaviours[lab.finetune] = [warn]
    try:
        assert run(lab, lab.finetune) == ["left"]
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert called == [signal.SIGUSR2]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "disk"),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), "disk"),
        (UserError("x"), "user_error"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (NotFiniteError("the loss is nan"), "not_finite"),
        (TooLongError("x"), "too_long"),
        (UnreadableCheckpointError("x"), "unreadable_weights"),
        (ZeroDivisionError(), "crash"),
    ],
)  # fmt: skip
def test_exceptions_are_classified(error: Exception, kind: str) -> None:
    assert classify(error) == kind


def test_a_torn_line_in_a_journal_is_no_attempt(lab: Any) -> None:
    journal = lab.layout.journal(lab.finetune)
    append_event(journal, "started", host="h", task="t")
    with journal.open("a") as file:
        file.write('{"time": "t", "event": "don')
    assert run(lab, lab.finetune) == ["done"]


def make_adapter_lab(folder: Path) -> tuple[Surface, Layout]:
    """Plan two small fine-tunes with adapters."""
    study = read_study(
        ["targets=[ct-brain-side]", "seeds=[0,1]", "arms=[zero_shot,related]", "design.max_samples=64", "finetune=lora",
         "finetune.lora.dropout=0", "finetune.epochs=4", "data.train_per_subset=32", "data.test_per_subset=8"]
    )  # fmt: skip
    backbone = identify_backbone(study.model)
    plan = build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])
    layout = Layout(folder)
    order = Order(study=plan.study, cluster=study.cluster, tracking=study.tracking, eval_batch_size=8)
    jobs = (*plan.finetunes, *plan.evals)
    team = Team(rank=0, size=1)
    return Surface(plan=plan, order=order, layout=layout, threads=1, team=team, jobs=jobs), layout


@pytest.mark.slow
def test_adapters_of_a_pack_go_side_by_side_and_are_handed_in_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real bench; a CPU would train one after another, so that the rule is told otherwise.

    Their tower stays as it was, so that they are asked behind its outputs.
    """
    surface, layout = make_adapter_lab(tmp_path)
    plan = surface.plan
    monkeypatch.setattr("cg_lab.models.fused.count_side_by_side", lambda *_: 2)
    ask = Workset.ask
    behind_tower: list[tuple[bool, bool]] = []

    def look(self: Workset, job: Any, **options: Any) -> Any:
        asked = ask(self, job, **options)
        behind_tower.append((job.checkpoint_of is not None, FEATURES in asked[0].turns[0].image))
        return asked

    monkeypatch.setattr(Workset, "ask", look)
    bench = ModelBench(surface)
    events: dict[str, list[str]] = {job.id: [] for job in surface.jobs}
    for job in surface.jobs:
        conduct = Conduct(event=lambda name, **_: events[job.id].append(name), is_stopping=bool, parts=1)  # noqa: B023
        bench.run(job, conduct)
    first, second = plan.finetunes
    assert events[first.id][0] == "fused"
    assert "log" in events[first.id]
    assert set(events[second.id]) == {"log"}
    for job in plan.finetunes:
        assert (layout.weights(job.id) / "adapter_model.safetensors").exists()
        result = read_finetune_result(layout, job.id)
        assert result is not None
        assert result.loss_last < result.loss_first
    assert all(layout.predictions(job.id).exists() for job in plan.evals)
    assert set(behind_tower) == {(True, True), (False, False)}


@pytest.mark.slow
def test_one_of_several_adapters_that_diverges_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They then go one by one, so that the failure is that of the one that fails."""
    surface, layout = make_adapter_lab(tmp_path)
    first, second = surface.plan.finetunes
    monkeypatch.setattr("cg_lab.models.fused.count_side_by_side", lambda *_: 2)
    encode = Workset.encode_training

    def poison(self: Workset, job: Any) -> Any:
        nan = float("nan") if job.id == second.id else 1.0
        return [
            replace(one, image={key: values * nan for key, values in one.image.items()}) for one in encode(self, job)
        ]

    monkeypatch.setattr(Workset, "encode_training", poison)
    bench = ModelBench(surface)
    events: list[str] = []
    conduct = Conduct(event=lambda name, **_: events.append(name), is_stopping=bool, parts=1)
    bench.run(first, conduct)
    assert events[:2] == ["fused", "apart"]
    assert read_finetune_result(layout, first.id) is not None
    with pytest.raises(NotFiniteError):
        bench.run(second, conduct)


def test_a_look_that_is_no_sign_of_life_sets_no_trace(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL_S", -1)
    heard: list[bool] = []

    def behave(conduct: Conduct) -> None:
        trace = trace_of(path_of(lab.layout, submission), 0)
        for gives_sign in (False, True):
            os.utime(trace, (0, 0))
            conduct.is_stopping(gives_sign=gives_sign)
            heard.append(read_beat(trace) > 0)

    submission = replace(read_submission(submit(lab, lab.finetune)), id="00001")
    lab.bench.behaviours[lab.finetune] = [behave]
    run(lab, lab.finetune)
    assert heard == [False, True]
