"""The driver, on a cluster that is silent, full or loses tasks, in a time of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cg_lab.errors import UserError
from cg_lab.execution.clusters import NoAnswerError, NoRoomError
from cg_lab.execution.drive import MOST_FALSE_STARTS, Outcome
from cg_lab.execution.keeping import Keeper, reopen_lost
from cg_lab.execution.packs import Submission, find_pending, read_submissions, tabulate, write_submission
from cg_lab.journal import append_event, read_events
from cg_lab.results import read_failure


def count_jobs(lab: Any) -> int:
    return len(lab.plan.finetunes) + len(lab.plan.evals)


def test_everything_is_run_once(lab: Any, cluster: Any) -> None:
    assert cluster.drive().run() == Outcome(num_done=count_jobs(lab), num_failed=0)
    assert len(lab.bench.begun) == count_jobs(lab) == len(set(lab.bench.begun))
    assert all(sent.is_over for sent in read_submissions(lab.layout, lab.plan.study))
    lab.bench.begun.clear()
    cluster.drive().run()
    assert lab.bench.begun == []


def test_what_a_killed_process_left_is_dealt_again_and_its_job_gets_a_pack_of_its_own(
    lab: Any, cluster: Any, killed: Any
) -> None:
    job = lab.finetune
    lab.bench.behaviours[job] = [killed]
    assert cluster.drive().run().num_failed == 0
    again = [sent for sent in cluster.sent[1:] for pack in sent.packs if job in pack]
    (pack,) = (pack for pack in again[0].packs if job in pack)
    assert pack[0] == job
    assert all(other == job or lab_needs(lab)[other] == job for other in pack)
    assert [event["event"] for event in read_events(lab.layout.journal(job))] == ["started", "died", "started", "done"]


def lab_needs(lab: Any) -> dict[str, str | None]:
    return {job.id: job.checkpoint_of for job in lab.plan.evals} | {job.id: None for job in lab.plan.finetunes}


def test_a_job_that_always_kills_its_process_is_given_up_and_its_followers_say_so(
    lab: Any, cluster: Any, killed: Any
) -> None:
    job = lab.finetune
    lab.bench.behaviours[job] = [killed] * 9
    followers = [follower.id for follower in lab.plan.evals if follower.checkpoint_of == job]
    outcome = cluster.drive().run()
    assert outcome.num_failed == 1 + len(followers)
    assert lab.bench.begun.count(job) == 3
    assert read_failure(lab.layout, job).kind == "died"  # type: ignore[union-attr]
    assert all(read_failure(lab.layout, follower).kind == "no_weights" for follower in followers)  # type: ignore[union-attr]


def test_asked_anew_what_was_given_up_is_tried_again(lab: Any, cluster: Any, fails: Any) -> None:
    lab.bench.behaviours[lab.finetune] = [fails(UserError("x"))]
    assert cluster.drive().run().num_failed > 0
    assert cluster.drive().run().num_failed > 0
    driver = cluster.drive()
    driver.ask_anew()
    assert driver.run().num_failed == 0


def test_only_what_is_wanted_is_run(lab: Any, cluster: Any) -> None:
    driver = cluster.drive()
    driver = replace(driver, wanted=[lab.finetune])
    assert driver.run() == Outcome(num_done=1, num_failed=0)
    assert lab.bench.begun == [lab.finetune]


def test_silence_never_counts_as_an_end_and_is_told_after_a_while(lab: Any, cluster: Any) -> None:
    """Else what still runs would be submitted again."""
    cluster.silent = [True] * 50
    assert cluster.drive().run().num_failed == 0
    assert len(lab.bench.begun) == count_jobs(lab)
    assert len(cluster.sent) == 1


def test_a_queue_that_stays_silent_ends_the_command_but_not_the_tasks(lab: Any, cluster: Any) -> None:
    cluster.silent = [True] * 1000
    with pytest.raises(UserError, match="has not answered for"):
        cluster.drive().run()
    cluster.silent = []
    again = cluster.drive()
    again.attach()
    assert again.run().num_failed == 0
    assert len(cluster.sent) == 1


@pytest.mark.parametrize(("words", "submissions"), [("taken after all", 1), ("not taken", 1)])
def test_a_submission_without_an_answer_is_looked_for_before_it_is_made_again(
    words: str, submissions: int, lab: Any, cluster: Any
) -> None:
    cluster.trouble = [NoAnswerError(words)]
    assert cluster.drive().run().num_failed == 0
    assert len(cluster.sent) == submissions
    assert len(lab.bench.begun) == count_jobs(lab)


def test_an_intent_whose_driver_was_killed_is_adopted_by_its_name(lab: Any, cluster: Any) -> None:
    """The cluster has it, but the file does not say so yet."""
    packs = (tuple(job.id for job in (*lab.plan.finetunes, *lab.plan.evals)),)
    intent = Submission(
        id="00007", study=lab.plan.study, stage="finetune", results_dir=str(lab.layout.root), packs=packs, threads=1,
        after=None, task=None, is_over=False, created="t",
    )  # fmt: skip
    write_submission(lab.layout, intent)
    cluster.taken[intent.id] = intent
    driver = cluster.drive()
    driver.attach()
    assert driver.run().num_failed == 0
    assert cluster.sent == []
    (noted,) = read_submissions(lab.layout, lab.plan.study)
    assert noted == replace(intent, task="job-00007", is_over=True)


def test_a_cluster_without_room_is_waited_for_while_something_of_ours_runs(lab: Any, cluster: Any) -> None:
    cluster.size = 1
    cluster.trouble = [None, NoRoomError("QOSMaxSubmitJobPerUserLimit")]
    assert cluster.drive().run().num_failed == 0
    assert len(lab.bench.begun) == count_jobs(lab)


def test_a_cluster_that_takes_nothing_at_all_is_told(cluster: Any) -> None:
    cluster.trouble = [NoRoomError("QOSMaxSubmitJobPerUserLimit")] * 9
    with pytest.raises(UserError, match=r"takes not even one task: QOSMax.*set cluster\.max_tasks lower"):
        cluster.drive().run()


def test_an_array_that_is_too_large_for_a_limit_is_halved(lab: Any, cluster: Any) -> None:
    cluster.slots = 4
    cluster.trouble = [NoRoomError("QOSMaxSubmitJobPerUserLimit")]
    assert cluster.drive().run().num_failed == 0
    assert [len(sent.packs) for sent in cluster.sent] == [2, 2]


def test_arrays_that_run_side_by_side_share_the_slots(lab: Any, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each array has a throttle of its own; together they must not exceed the study's."""
    cluster.slots, cluster.size = 2, 1
    shares: list[int] = []
    submit = cluster.submit
    monkeypatch.setattr(
        cluster, "submit", lambda sent, after, parallel: shares.append(parallel) or submit(sent, after, parallel)
    )
    monkeypatch.setattr(cluster, "split", lambda seconds, num_free, num_live: (9, 1))
    driver = cluster.drive()
    driver.step()
    assert sum(shares) == 2
    assert driver.run().num_failed == 0


def test_arrays_are_split_and_evaluations_follow_their_fine_tunes_number_by_number(lab: Any, cluster: Any) -> None:
    cluster.is_separate = True
    cluster.size = 1
    assert cluster.drive().run().num_failed == 0
    assert all(len(sent.packs) == 1 for sent in cluster.sent)
    needs = lab_needs(lab)
    sent = {submission.id: submission for submission in cluster.sent}
    followers = [submission for submission in cluster.sent if submission.after]
    assert followers
    for submission in followers:
        first = sent[submission.after or ""]
        for pack, before in zip(submission.packs, first.packs, strict=True):
            assert {needs[job_id] for job_id in pack} <= set(before)


def test_evaluations_that_find_no_room_wait_and_their_fine_tunes_are_submitted_once(lab: Any, cluster: Any) -> None:
    cluster.is_separate = True
    cluster.trouble = [None, NoRoomError("QOSMaxSubmitJobPerUserLimit")]
    assert cluster.drive().run().num_failed == 0
    submitted = [job_id for sent in cluster.sent for pack in sent.packs for job_id in pack]
    assert len(submitted) == len(set(submitted)) == count_jobs(lab)


def test_tasks_that_can_never_run_are_dropped_and_their_jobs_dealt_anew(lab: Any, cluster: Any) -> None:
    cluster.is_separate = True
    cluster.hopeless = {("00002", 0)}
    assert cluster.drive().run().num_failed == 0
    assert cluster.dropped
    dropped = cluster.sent[1].packs[0][0]
    assert read_events(lab.layout.journal(dropped))[0]["event"] == "released"


def test_processes_that_end_before_they_begin_are_given_up_with_what_they_said(lab: Any, cluster: Any) -> None:
    cluster.slots = 1
    cluster.lost = {(f"{number:05}", 0) for number in range(99)}
    logs = lab.layout.packs(lab.plan.study) / "logs"
    logs.mkdir(parents=True)
    for number in range(5):
        (logs / f"job-{number:05}_0_log.err").write_text("module: command not found\n")
    outcome = cluster.drive().run()
    assert outcome.num_failed == count_jobs(lab)
    assert len(cluster.sent) == MOST_FALSE_STARTS
    failure = read_failure(lab.layout, lab.finetune)
    assert failure
    assert "module: command not found" in failure.message


def test_what_failed_before_it_was_asked_for_anew_is_no_failure_of_a_pack_that_still_runs(
    lab: Any, cluster: Any
) -> None:
    """Its trace still has the old line."""
    driver = cluster.drive()
    driver.step()
    (sent,) = read_submissions(lab.layout, lab.plan.study)
    trace = lab.layout.packs(lab.plan.study) / "00001.0.jsonl"
    append_event(trace, "failed", job=sent.packs[0][0])
    assert driver.run().num_failed == 0


@pytest.mark.parametrize(
    ("keep", "stay"), [("full", {"whole", "adapters"}), ("adapter", {"adapters"}), ("nothing", set())]
)
def test_weights_stay_as_long_as_an_evaluation_needs_them_and_then_as_asked_for(
    keep: Any, stay: set[str], lab: Any, cluster: Any
) -> None:
    """A fine-tune leaves its weights; the last evaluation takes away what shall not stay."""
    whole, adapters = (job.id for job in lab.plan.finetunes[:2])
    lab.layout.weights(adapters).mkdir(parents=True)
    (lab.layout.weights(adapters) / "adapter_config.json").write_text("{}")
    names = {whole: "whole", adapters: "adapters"}
    needed: list[bool] = []
    evals = [job.id for job in lab.plan.evals if job.checkpoint_of in names]
    for job in lab.plan.evals:
        if job.checkpoint_of in names:
            folder = lab.layout.weights(job.checkpoint_of)
            lab.bench.behaviours[job.id] = [lambda _, folder=folder: needed.append(folder.is_dir())]
    lab.order = replace(lab.order, keep=keep)
    cluster.drive().run()
    assert needed == [True] * len(evals)
    assert {names[job_id] for job_id in names if lab.layout.weights(job_id).is_dir()} == stay
    assert not list(lab.layout.jobs.glob("*/.model.removed"))


def test_an_evaluation_that_two_packs_tell_of_counts_once(lab: Any) -> None:
    """The weights stay for the other one."""
    lab.layout.weights("tune").mkdir(parents=True)
    keeper = Keeper(lab.layout, "nothing", {"a": ("tune",), "b": ("tune",), "c": ("tune",)}, done={"tune", "c"})
    for told in ("a", "a", "c"):
        keeper.note(told)
        assert lab.layout.weights("tune").is_dir()
    keeper.note("b")
    assert not lab.layout.weights("tune").exists()


def test_a_fine_tune_whose_weights_are_gone_runs_again_only_if_an_evaluation_needs_it(lab: Any, cluster: Any) -> None:
    lab.order = replace(lab.order, keep="nothing")
    cluster.drive().run()
    first, second = (job.id for job in lab.plan.finetunes[:2])
    assert not find_pending(lab.plan, lab.layout).num_jobs
    lab.layout.result(lab.eval_of(first)).unlink()
    assert [job.id for job in find_pending(lab.plan, lab.layout).finetunes] == [first]
    reopen_lost(lab.layout, tabulate(lab.plan).needs)
    assert not lab.layout.result(first).exists()
    assert lab.layout.result(second).exists()
    cluster.drive().run()
    assert lab.bench.begun.count(first) == 2
    assert lab.bench.begun.count(second) == 1
