"""What is told of a study and its fine-tunes, made from files; MLflow is not asked."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.locks import holding
from cg_lab.planning.work import Mixture, MixturePart
from cg_lab.results import Failure, Layout, write_failure
from cg_lab.serialize import content_id
from cg_lab.tracking.record import MOST_INPUTS, Record, TrainedModel, list_trained, make_input
from cg_lab.tracking.records import build_records
from tests.tracking.conftest import BEGAN, Lab, plan_small

PLAN = plan_small(("ct-brain-mass",), (0, 1))
NOON_MS = 1_772_366_400_000


@pytest.fixture
def fresh(tmp_path: Path) -> Lab:
    return Lab(layout=Layout(tmp_path), plan=PLAN)


def tell(lab: Lab) -> dict[str, Record]:
    records = build_records(lab.plan, lab.layout)
    assert len({record.key for record in records}) == len(records)
    return {record.key: record for record in records}


def cancel(lab: Lab, job_id: str) -> None:
    failure = Failure(job_id=job_id, kind="cancelled", message="", attempts=0, host="", when=BEGAN.isoformat())
    write_failure(lab.layout, failure)


def fail_rest(lab: Lab) -> None:
    for job in (*lab.plan.finetunes, *lab.plan.evals):
        if not lab.layout.result(job.id).exists():
            lab.fail(job.id)


def test_a_study_stands_as_its_jobs_do(fresh: Lab) -> None:
    def status() -> str:
        return tell(fresh)["study"].status

    first, second, *_ = (job.id for job in fresh.plan.finetunes)
    assert status() == "SCHEDULED"
    fresh.log(first, ("started", {}))
    assert status() == "KILLED"  # its process is gone, and others are not begun
    with holding(fresh.layout.lock(first)):
        assert status() == "RUNNING"
    fresh.finish_finetune(fresh.plan.finetunes[0])
    assert status() == "KILLED"
    cancel(fresh, second)
    fail_rest(fresh)
    assert status() == "FAILED"
    fresh.finish()
    assert status() == "FINISHED"


def test_a_study_that_is_driven_runs_until_all_is_done(fresh: Lab) -> None:
    with holding(fresh.layout.driver_lock("small")):
        assert tell(fresh)["study"].status == "RUNNING"
        fail_rest(fresh)
        assert (tell(fresh)["study"].status, tell(fresh)["study"].end_ms) == ("RUNNING", None)
        fresh.finish()
        assert tell(fresh)["study"].status == "FINISHED"


def test_a_study_with_a_cancelled_job_and_none_that_is_left_was_killed(fresh: Lab) -> None:
    first, *rest = (job.id for job in (*fresh.plan.finetunes, *fresh.plan.evals))
    cancel(fresh, first)
    for job_id in rest:
        fresh.fail(job_id)
    assert tell(fresh)["study"].status == "KILLED"


def test_a_study_begins_with_its_first_job_and_ends_with_its_last(fresh: Lab) -> None:
    study = tell(fresh)["study"]
    assert (study.start_ms, study.end_ms) == (None, None)
    fresh.finish()
    study = tell(fresh)["study"]
    ends = [
        10 * (len(fresh.plan.finetunes) - 1) + 4,
        10 * len(fresh.plan.finetunes) + 3 * (len(fresh.plan.evals) - 1) + 2,
    ]
    assert (study.start_ms, study.end_ms) == (NOON_MS, NOON_MS + 1000 * max(ends))


def test_a_study_tells_how_many_jobs_are_done_and_failed(fresh: Lab) -> None:
    num_jobs = len(fresh.plan.finetunes) + len(fresh.plan.evals)
    study = tell(fresh)["study"]
    assert (study.tags["jobs_done"], study.tags["jobs_failed"]) == (f"0 of {num_jobs}", "")
    fresh.finish_finetune(fresh.plan.finetunes[0])
    fresh.fail(fresh.plan.finetunes[1].id)
    study = tell(fresh)["study"]
    assert (study.tags["jobs_done"], study.tags["jobs_failed"]) == (f"1 of {num_jobs}", "1")


def test_a_study_tells_what_was_planned(fresh: Lab) -> None:
    plan = fresh.plan
    study = tell(fresh)["study"]
    assert (study.key, study.job_id, study.name) == ("study", "small", "study small")
    assert {name: study.tags[name] for name in ("kind", "study", "plan", "backbone", "data", "world", "design")} == {
        "kind": "study", "study": "small", "plan": plan.id, "backbone": "tiny_llava", "data": "phantom",
        "world": "compositional", "design": "two_source",
    }  # fmt: skip
    assert len(study.tags["catalog"]) == 16
    assert {name: value for name, value in study.params.items() if not name.startswith("rule.")} == {
        "design": "two_source", "targets": "ct-brain-mass", "seeds": "0, 1", "num_cells": str(len(plan.cells)),
        "num_finetunes": str(len(plan.finetunes)), "num_evals": str(len(plan.evals)), "backbone_revision": "0" * 16,
        "settings": "", "data.source": "phantom", "data.version": "1", "data.world": "compositional", "data.seed": "0",
        "data.image_size": "64", "data.train_per_subset": "40", "data.test_per_subset": "40",
    }  # fmt: skip
    assert study.params["rule.confidence"] == "0.95"


def test_files_of_a_study_are_shown_where_they_are(fresh: Lab) -> None:
    folder = fresh.layout.study("small")
    folder.mkdir(parents=True)
    for name in ("report.html", "plan.json", "notes.txt"):
        (folder / name).write_text("{}")
    assert tell(fresh)["study"].artifacts == (folder / "plan.json", folder / "report.html")


def test_a_study_tells_the_code_that_made_it(fresh: Lab) -> None:
    told = ("git_commit", "git_dirty", "command", "python", "version.torch")
    assert not set(told) & set(tell(fresh)["study"].tags)
    path = fresh.layout.study("small") / "provenance.json"
    path.parent.mkdir(parents=True)
    whole = {"git_commit": "abc", "git_dirty": False, "command": "run", "python": "3.12", "versions": {"torch": "2.9"}}
    for origin, expected in (
        (whole, ("abc", "false", "run", "3.12", "2.9")),
        (whole | {"git_dirty": True}, ("abc", "true", "run", "3.12", "2.9")),
        ({"git_commit": None, "git_dirty": None, "versions": None}, ("", "", "", "", None)),
    ):
        path.write_text(json.dumps(origin))
        tags = tell(fresh)["study"].tags
        assert tuple(tags.get(name) for name in told) == expected


def test_a_fine_tune_tells_what_it_is_trained_on_and_what_came_of_it(fresh: Lab) -> None:
    job = next(job for job in fresh.plan.finetunes if job.seed == 1)
    key = f"finetune:{job.id}"
    sources = ",".join(part.subset for part in job.mixture.parts)
    before = tell(fresh)[key]
    assert (before.status, before.metrics, before.weights, before.tags["gpu"]) == ("SCHEDULED", {}, None, "")
    fresh.finish_finetune(job, at_s=5)
    record = tell(fresh)[key]
    assert (record.key, record.job_id, record.name, record.status) == (key, job.id, f"tune s1 {sources}", "FINISHED")
    assert record.tags == {
        **{name: tell(fresh)["study"].tags[name] for name in ("study", "plan", "backbone", "catalog", "data", "world")},
        "kind": "finetune", "finetune_job": job.id, "sources": sources, "seed": "1", "host": "node-1",
        "gpu": "NVIDIA H100", "arms": "unrelated", "failure": "", "failure_message": "",
    }  # fmt: skip
    expected = {"backbone": "tiny_llava", "sources": sources, "labels": "true", "seed": "1", "num_samples": "32"}
    assert {name: record.params[name] for name in expected} == expected
    assert record.params["batch_size"] == "16"
    measured = {"seconds": 3.5, "last_loss": 0.667, "mean_samples_per_s": 137.143, "energy_joules": 700.0}
    assert record.metrics == measured
    assert record.weights == str(fresh.layout.weights(job.id).resolve())
    assert len(record.curve) == 9
    assert record.inputs == tuple(
        make_input(job.data, part.subset, "training", part.count) for part in job.mixture.parts
    )
    assert record.inputs[0].digest == content_id("input", 1, [job.data, job.mixture.parts[0].subset, "training"])
    assert (record.start_ms, record.end_ms) == (NOON_MS + 5000, NOON_MS + 9000)


def test_very_many_subsets_that_are_trained_on_are_one_dataset() -> None:
    parts = tuple(MixturePart(subset=f"s{number:02}", count=2) for number in range(MOST_INPUTS + 1))
    data = PLAN.finetunes[0].data
    few, many, other = (
        list_trained(data, Mixture(parts=given, seed=0)) for given in (parts[:-1], parts, (*parts, parts[0]))
    )
    assert [part.name for part in few] == [part.subset for part in parts[:-1]]
    (whole,) = many
    assert (whole.name, whole.context, whole.num_samples) == (f"{len(parts)} subsets", "training", 2 * len(parts))
    assert whole.digest != other[0].digest


def test_a_fine_tune_whose_weights_were_removed_has_an_empty_folder(fresh: Lab) -> None:
    job = fresh.plan.finetunes[0]
    fresh.finish_finetune(job)
    fresh.layout.weights(job.id).rmdir()
    assert tell(fresh)[f"finetune:{job.id}"].weights == ""


@pytest.mark.parametrize(
    ("field", "metric"),
    [("energy_joules", "energy_joules"), ("loss_last", "last_loss")],
)
def test_what_was_not_measured_is_not_told(fresh: Lab, field: str, metric: str) -> None:
    job = fresh.plan.finetunes[0]
    fresh.finish_finetune(job)
    everything = set(tell(fresh)[f"finetune:{job.id}"].metrics)
    path = fresh.layout.result(job.id)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: None}))
    assert everything - set(tell(fresh)[f"finetune:{job.id}"].metrics) == {metric}


def test_a_failure_is_told_by_its_kind_and_words(fresh: Lab) -> None:
    job_id = fresh.plan.finetunes[0].id
    fresh.fail(job_id, "the loss is nan")
    record = tell(fresh)[f"finetune:{job_id}"]
    assert (record.status, record.tags["failure"], record.tags["failure_message"]) == (
        "FAILED", "not_finite", "the loss is nan",
    )  # fmt: skip


def test_a_model_trained_on_dealt_labels_says_so_in_its_name(fresh: Lab) -> None:
    job = fresh.plan.finetunes[0]
    shuffled = replace(job, mixture=replace(job.mixture, labels="shuffled"))
    plan = replace(fresh.plan, finetunes=(shuffled,), evals=(), cells=())
    (record,) = build_records(plan, fresh.layout)[1:]
    assert record.name.endswith(f"{job.mixture.parts[-1].subset} shuffled")
    assert record.params["labels"] == "shuffled"


def test_cells_come_after_fine_tunes_and_name_the_model_that_was_asked(fresh: Lab) -> None:
    fresh.finish()
    records = build_records(fresh.plan, fresh.layout)
    kinds = [kind for kind, _ in itertools.groupby(record.tags["kind"] for record in records)]
    assert kinds == ["study", "finetune", "cell"]
    found = tell(fresh)
    for cell in fresh.plan.cells:
        record = found[f"cell:{cell.key}"]
        assert record.status == "FINISHED"
        assert (record.asked is None) == (cell.finetune_job is None)
        if cell.finetune_job is not None:
            assert isinstance(record.asked, TrainedModel)
            assert record.asked.job_id == cell.finetune_job
            number = [job.id for job in fresh.plan.finetunes].index(cell.finetune_job)
            assert record.asked.made == f"2026-03-01T12:{10 * number // 60:02d}:{10 * number % 60:02d}+00:00"
