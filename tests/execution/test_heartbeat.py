"""Silence of processes: how long their steps explain it, and what becomes of one that hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cg_lab.execution.clusters import Key, Look, Task
from cg_lab.execution.heartbeat import Pulse, beat, find_patience, read_beat
from cg_lab.execution.local import LocalCluster
from cg_lab.execution.packs import Submission, lock_of, path_of, trace_of, write_submission
from cg_lab.execution.printed_log import read_printed, read_tail
from cg_lab.execution.states import read_standing
from cg_lab.journal import append_event, read_events, read_last_events
from cg_lab.locks import find_holder, holding
from cg_lab.results import Layout, read_failure
from cg_lab.study import DebugSettings, LocalSettings
from tests.pretend import PretendCluster

LOCAL = LocalSettings(name="local", slots=1, gpus=(), save_every_s=30, silence_min=10)


@pytest.mark.parametrize(
    ("declared_s", "gap_s", "patience_s"), [(0, 0, 600), (30, 0, 600), (100, 0, 1000), (0, 60, 1200), (100, 20, 1000)]
)
def test_patience_grows_with_what_steps_take(lab: Any, declared_s: float, gap_s: float, patience_s: float) -> None:
    order = replace(lab.order, cluster=LOCAL)
    assert find_patience(order, declared_s, gap_s) == patience_s


def test_patience_has_no_end_where_the_study_says_so(lab: Any) -> None:
    assert find_patience(replace(lab.order, cluster=replace(LOCAL, silence_min=None)), 1.0) is None
    assert find_patience(replace(lab.order, cluster=DebugSettings(name="debug", save_every_s=30)), 1.0) is None


def test_a_pulse_counts_by_the_listeners_clock_and_remembers_the_longest_gap(tmp_path: Path) -> None:
    trace, pulse = tmp_path / "trace", Pulse()
    trace.touch()
    os.utime(trace, (5, 5))  # of a machine whose clock is wrong by decades
    assert [pulse.listen(trace, now, is_running=True) for now in (0.0, 100.0)] == [0, 100]
    os.utime(trace, (6, 6))
    assert pulse.listen(trace, 150.0, is_running=True) == 0
    assert pulse.longest_gap_s == 150
    assert pulse.listen(trace, 200.0, is_running=True) == 50
    assert pulse.listen(trace, 250.0, is_running=False) == 0


def test_after_a_pause_of_the_listener_silence_counts_from_then_on(tmp_path: Path) -> None:
    pulse = Pulse()
    pulse.listen(tmp_path / "none", 0.0, is_running=True)
    assert pulse.listen(tmp_path / "none", 7200.0, is_running=True) == 0
    assert pulse.listen(tmp_path / "none", 7260.0, is_running=True) == 60


def test_a_step_is_a_sign(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.touch()
    os.utime(trace, (5, 5))
    beat(trace)
    assert read_beat(trace) > time.time() - 60
    beat(tmp_path / "none")
    assert read_beat(tmp_path / "none") == 0


@dataclass
class HangingCluster(PretendCluster):
    """Lets the first processes hang at their first job, some of them after a step every so often."""

    hangs: int = 1
    step_s: float | None = None
    hanging: dict[Key, Submission] = field(default_factory=dict)
    killed: list[Key] = field(default_factory=list)

    def look(self, submissions: Any) -> Look:
        fresh = [sent for sent in self.taken.values() if len(self.hanging) + len(self.killed) < self.hangs]
        for sent in fresh[:1]:
            del self.taken[sent.id]
            self.hanging[sent.id, 0] = sent
            append_event(trace_of(path_of(self.lab.layout, sent), 0), "started", job=sent.packs[0][0])
            append_event(self.lab.layout.journal(sent.packs[0][0]), "started", host="h", task="t")
        if self.step_s is not None and self.now % self.step_s < 1:
            for (_, number), sent in self.hanging.items():
                os.utime(trace_of(path_of(self.lab.layout, sent), number), (self.now, self.now))
        look = super().look(submissions)
        running = {key: Task(name=str(key), state="running", reason="") for key in self.hanging}
        return replace(look, tasks=look.tasks | running)

    def take_away(self, submission: Submission, number: int) -> None:
        self.killed.append((submission.id, number))
        del self.hanging[submission.id, number]


def test_a_process_that_hangs_is_taken_away_and_its_jobs_are_dealt_again(lab: Any) -> None:
    lab.order = replace(lab.order, cluster=LOCAL)
    cluster = HangingCluster(lab, slots=1)
    outcome = cluster.drive().run()
    assert outcome.num_failed == 0
    assert cluster.killed == [("00001", 0)]
    assert cluster.now > 600
    job = cluster.sent[0].packs[0][0]
    died = next(event for event in read_events(lab.layout.journal(job)) if event["event"] == "died")
    assert died["kind"] == "silent"
    assert "gave no sign for 10 minutes" in died["message"]


def test_a_job_that_always_hangs_is_given_up(lab: Any) -> None:
    lab.order = replace(lab.order, cluster=LOCAL)
    cluster = HangingCluster(lab, slots=1, hangs=3)
    cluster.drive().run()
    assert len(cluster.killed) == 3
    failure = read_failure(lab.layout, cluster.sent[0].packs[0][0])
    assert failure is not None
    assert failure.kind == "silent"


def test_a_process_that_makes_slow_steps_is_left_alone(lab: Any) -> None:
    lab.order = replace(lab.order, cluster=LOCAL)
    cluster = HangingCluster(lab, slots=1, step_s=500)
    driver = cluster.drive()
    while cluster.now < 5000:
        assert driver.step()
        cluster.now += 10
    assert cluster.killed == []


def test_a_stopped_process_of_this_machine_is_killed(lab: Any) -> None:
    cluster = LocalCluster(LOCAL, lab.layout, lab.plan.study)
    sent = Submission(
        id="00001", study=lab.plan.study, stage="finetune", results_dir=str(lab.layout.root), packs=(("a",),),
        threads=1, after=None, task="1", is_over=False, created="t",
    )  # fmt: skip
    lock = lock_of(path_of(lab.layout, sent), 0)
    code = (
        "import time; from pathlib import Path; from cg_lab.locks import holding\n"
        f"with holding(Path({str(lock)!r})):\n print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        cluster.take_away(sent, 0)
        assert process.wait(30) == -signal.SIGKILL
    assert find_holder(lock) is None


def test_status_says_which_process_is_silent_and_since_when(lab: Any) -> None:
    order, job = replace(lab.order, cluster=LOCAL), lab.finetune
    sent = Submission(
        id="00001", study=lab.plan.study, stage="finetune", results_dir=str(lab.layout.root), packs=((job,),),
        threads=1, after=None, task="1", is_over=False, created="t",
    )  # fmt: skip
    write_submission(lab.layout, sent)
    trace = trace_of(path_of(lab.layout, sent), 0)
    append_event(trace, "started", job=job)
    with holding(lock_of(path_of(lab.layout, sent), 0)):
        assert read_standing(lab.plan, order, lab.layout).silent == ()
        os.utime(trace, (1e9, 1e9))
        (silence,) = read_standing(lab.plan, order, lab.layout).silent
    assert (silence.job, silence.last_sign, silence.patience_s) == (job, "2001-09-09T01:46:40+00:00", 600)


# Logs ---------------------------------------------------------------------------------------------------------------


def test_a_log_of_gigabytes_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log.out"
    with log.open("wb") as file:
        file.write(b"t job a started\nfirst of a\nt job a done\n")
        file.seek(2_500_000_000)  # a hole: takes no disk
        file.write(b"\nt job b started\nof b\nt job b done\nt job c started\n" + b"\rstep" * 200_000)
    began = time.monotonic()
    assert read_printed(log, "b", 60) == ["t job b started", "of b", "t job b done"]
    assert len(read_printed(log, "c", 60)) == 60
    assert read_tail(log, 2) == ["step", "step"]
    assert time.monotonic() - began < 20
    assert read_printed(log, "z", 60) == []
    assert read_printed(tmp_path / "none", "a", 60) == []


def test_the_last_events_of_a_trace_are_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Layout(tmp_path).journal("a")
    for number in range(100):
        append_event(trace, "log", step=number)
    monkeypatch.setattr("cg_lab.journal.LAST_BYTES", 500)
    found = read_last_events(trace)
    assert [event["step"] for event in found] == list(range(100 - len(found), 100))
    assert 0 < len(found) < 10
