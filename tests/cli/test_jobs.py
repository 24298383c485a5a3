"""`status`, `explain`, `logs`, `cancel` and `retry`: what they say and do about jobs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.cli import main
from cg_lab.cli.jobs import select_retries
from cg_lab.errors import UserError
from cg_lab.execution.selection import Selection, State, find_job, name_cell, select_jobs
from cg_lab.execution.states import read_standing
from cg_lab.journal import append_event, read_events
from cg_lab.locks import holding
from cg_lab.results import read_failure
from cg_lab.tracking.records import build_records


def run(lab: Any, capsys: pytest.CaptureFixture[str], verb: str, *arguments: str, status: int = 0) -> str:
    done = main([verb, *arguments, f"results_dir={lab.layout.root}", f"study={lab.plan.study}"])
    printed = capsys.readouterr()
    assert done == status, printed.err
    return printed.out + printed.err


@pytest.fixture
def half_done(lab: Any, cluster: Any, fails: Any) -> Any:
    """Everything is done but the ceiling, whose fine-tune is given up with its evaluation."""
    (ceiling,) = (cell.finetune_job for cell in lab.plan.cells if cell.arm is Arm.CEILING)
    lab.bench.behaviours[ceiling] = [fails(UserError("the label is longer than the context"))]
    cluster.drive().run()
    return lab


def test_status_counts_by_stage_and_tells_what_failed(half_done: Any, capsys: Any) -> None:
    said = run(half_done, capsys, "status", status=1).splitlines()
    assert said[0].split() == [half_done.plan.study, "done", "failed", "running", "waiting", "open"]
    assert said[1].split() == ["fine-tunes", "2", "1", "-", "-", "-"]
    assert "the label is longer than the context" in "".join(said)


def test_status_by_cell_and_by_selection(half_done: Any, capsys: Any) -> None:
    said = run(half_done, capsys, "status", "--cells", "--arm", "ceiling,related", "--state", "failed", status=1)
    assert "ct-brain-side/ceiling/seed0" in said
    assert "related" not in said
    assert "known: " in run(half_done, capsys, "status", "--arm", "cieling", status=2)


def test_what_is_being_worked_on_shows_as_running(lab: Any, capsys: Any) -> None:
    job = lab.finetune
    append_event(lab.layout.journal(job), "started", host="h", task="t")
    with holding(lab.layout.lock(job)):
        assert read_standing(lab.plan, lab.order, lab.layout).states[job] is State.RUNNING
    assert read_standing(lab.plan, lab.order, lab.layout).states[job] is State.OPEN


def test_status_says_when_nobody_drives_what_is_left(lab: Any, cluster: Any, capsys: Any) -> None:
    again = f"nobody drives it; 7 jobs wait for: python -m cg_lab sweep study={lab.plan.study}"
    assert again in run(lab, capsys, "status")
    with holding(lab.layout.driver_lock(lab.plan.study)):
        assert "nobody" not in run(lab, capsys, "status")
    cluster.drive().run()
    assert "nobody" not in run(lab, capsys, "status")


def test_explain_tells_attempts_and_what_comes_next(half_done: Any, capsys: Any) -> None:
    said = run(half_done, capsys, "explain", "ct-brain-side/ceiling/seed0")
    assert "no_weights: its fine-tune" in said
    assert "failed (user_error" in said
    assert "python -m cg_lab retry --job" in said


def test_explain_still_tells_of_targets(lab: Any, capsys: Any) -> None:
    assert "held out in" in run(lab, capsys, "explain", "ct-brain-side")


def test_a_job_goes_by_the_name_of_its_run_in_mlflow(half_done: Any, capsys: Any) -> None:
    plan = half_done.plan
    names = {record.name: record for record in build_records(plan, half_done.layout)}
    for name, record in names.items():
        if record.key.startswith(("cell:", "finetune:")):
            assert find_job(plan, name) == record.job_id
    assert "tune s0 " in next(name for name in names if name.startswith("tune"))
    assert "done" in run(half_done, capsys, "explain", "ct-brain-side related s0")
    assert "started" in run(half_done, capsys, "logs", "ct-brain-side related s0")


def test_a_job_goes_by_the_first_characters_of_its_id_or_by_its_cell(lab: Any) -> None:
    job = lab.plan.finetunes[0].id
    assert find_job(lab.plan, job[:10]) == job
    cell = lab.plan.cells[-1]
    assert find_job(lab.plan, name_cell(lab.plan, cell)) == cell.eval_job
    with pytest.raises(UserError, match="begins the ids of"):
        find_job(lab.plan, "")
    with pytest.raises(UserError, match="status --cells"):
        find_job(lab.plan, "nothing")


def test_logs_print_the_journal_and_what_the_process_printed(lab: Any, capsys: Any) -> None:
    job = lab.finetune
    log = lab.layout.root / "log.out"
    log.write_text(f"other\nt job {job} started\nhello from the process\nt job {job} done\nt job x started\nlater\n")
    append_event(lab.layout.journal(job), "started", host="h", task="local 1", log="log.out")
    append_event(lab.layout.journal(job), "log", step=5, loss=0.5)
    append_event(lab.layout.journal(job), "done")
    said = run(lab, capsys, "logs", job[:8])
    assert "step=5  loss=0.5" in said
    assert "hello from the process" in said
    assert "other" not in said
    assert "later" not in said


def test_a_job_that_was_not_begun_has_no_log_yet(lab: Any, capsys: Any) -> None:
    assert "was not begun yet" in run(lab, capsys, "logs", lab.finetune, status=2)


def test_cancel_gives_up_what_is_meant_and_what_needs_it(lab: Any, cluster: Any, capsys: Any) -> None:
    said = run(lab, capsys, "cancel", "--arm", "related")
    (related,) = ({cell.finetune_job, cell.eval_job} for cell in lab.plan.cells if cell.arm is Arm.RELATED)
    assert "2 jobs cancelled" in said
    assert all(read_failure(lab.layout, job).kind == "cancelled" for job in related)  # type: ignore[union-attr]
    cluster.drive().run()
    assert not related & set(lab.bench.begun)
    assert len(lab.bench.begun) == len(lab.plan.finetunes) + len(lab.plan.evals) - 2


def test_retry_means_what_failed_with_what_it_needs(half_done: Any) -> None:
    (ceiling,) = (cell for cell in half_done.plan.cells if cell.arm is Arm.CEILING)
    expected = (ceiling.finetune_job, ceiling.eval_job)
    assert select_retries(half_done.plan, half_done.layout, Selection()) == expected
    assert select_retries(half_done.plan, half_done.layout, Selection(jobs=(ceiling.eval_job,))) == expected
    with pytest.raises(UserError, match="no job without a result is meant"):
        select_retries(half_done.plan, half_done.layout, Selection(arms=("related",)))


def test_selections_combine(lab: Any) -> None:
    states = read_standing(lab.plan, None, lab.layout).states
    everything = {job.id for job in (*lab.plan.finetunes, *lab.plan.evals)}
    assert set(select_jobs(lab.plan, states, Selection())) == everything
    assert select_jobs(lab.plan, states, Selection(targets=("other",))) == ()
    assert select_jobs(lab.plan, states, Selection(states=("done",))) == ()
    assert len(select_jobs(lab.plan, states, Selection(arms=("related",), designs=("two_source",)))) == 2


TINY = (
    "targets=[ct-brain-side]", "seeds=[0]", "data.train_per_subset=64", "data.test_per_subset=24",
    "design.max_samples=64", "finetune.batch_size=16", "rule.resamples=200", "tracking=none", "study=tiny",
    "arms=[zero_shot,related,unrelated,ceiling]",
)  # fmt: skip


def sweep(results: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "cg_lab", "sweep", *TINY, f"results_dir={results}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_one_job_now_then_the_rest_under_a_debugger(tmp_path: Path) -> None:
    """`sweep --job` runs it with the fine-tune that it needs; `cluster=debug` in the command's own process."""
    said = sweep(tmp_path, "--job", "ct-brain-side/related/seed0")
    assert "0/2 jobs done" in said
    assert "attempt 1" in said
    assert len(list(tmp_path.glob("jobs/*/result.json"))) == 2
    assert "7 jobs done, 0 failed" in sweep(tmp_path, "cluster=debug")
    journals = [read_events(path) for path in tmp_path.glob("jobs/*/journal.jsonl")]
    tasks = {event["task"].split()[0] for events in journals for event in events if event["event"] == "started"}
    assert tasks == {"local", "debug"}


@pytest.mark.slow
def test_a_detached_sweep_on_this_machine_ends_with_a_report_by_itself(tmp_path: Path) -> None:
    assert "drives it" in sweep(tmp_path, "--detach")
    deadline = time.monotonic() + 120
    while not (tmp_path / "studies" / "tiny" / ".reported.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (tmp_path / "studies" / "tiny" / "report.html").exists()
