"""What MLflow has after mirroring, asked through MLflow's own client."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from cg_lab.locks import holding
from cg_lab.planning.plan import Arm
from cg_lab.results import Layout, write_plan
from cg_lab.tracking import TrackingError, is_synced, sync as syncing, sync_study, writing
from cg_lab.tracking.table import read_runs
from tests.tracking.conftest import build_lab


def snapshot(lab: Any) -> dict[str, Any]:
    """All that a user can see of a study: runs with their attributes and every value ever logged."""
    seen: dict[str, Any] = {}
    for key, run in lab.search().items():
        histories = {
            name: sorted((m.step, m.timestamp, m.value) for m in lab.client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        files = sorted(file.path for file in lab.client.list_artifacts(run.info.run_id))
        seen[key] = (run.info.run_name, run.info.status, run.data.tags, run.data.params, histories, files, run.info)
    return seen


def find_cell(lab: Any, arm: Arm) -> Any:
    return next(cell for cell in lab.plan.cells if cell.arm is arm)


def cell_run(lab: Any, arm: Arm) -> Any:
    return lab.search()[f"cell:{find_cell(lab, arm).key}"]


def test_a_study_gives_one_run_for_itself_each_finetune_and_each_cell(lab: Any) -> None:
    lab.finish()

    report = lab.sync()

    keys = {"study"}
    keys |= {f"finetune:{job.id}" for job in lab.plan.finetunes} | {f"cell:{cell.key}" for cell in lab.plan.cells}
    assert set(lab.search()) == keys
    assert (report.total, report.new, report.updated, report.removed) == (len(keys), len(keys), 0, 0)


def test_mirroring_again_changes_nothing(lab: Any) -> None:
    lab.finish()
    lab.sync()
    before = snapshot(lab)

    again = lab.sync()

    assert (again.new, again.updated) == (0, 0)
    assert {key: str(value) for key, value in snapshot(lab).items()} == {k: str(v) for k, v in before.items()}


def test_writing_every_run_again_adds_no_value(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.finish()
    lab.sync()
    before = snapshot(lab)
    monkeypatch.setattr("cg_lab.tracking.record.RECORD_SCHEMA", 99)

    again = lab.sync()

    assert again.updated == again.total
    for key, (_, status, _, params, histories, files, _) in snapshot(lab).items():
        assert (status, params, histories, files) == (before[key][1], before[key][3], before[key][4], before[key][5])


def test_metrics_of_cells_are_accuracy_and_gains_within_the_contrast(lab: Any) -> None:
    lab.finish()
    lab.sync()

    related = cell_run(lab, Arm.RELATED).data.metrics
    assert related["accuracy"] == 0.75
    assert related["gain_over_zero_shot"] == 0.25
    assert related["gain_over_unrelated"] == 0.2
    assert related["chance_corrected_accuracy"] == 0.5
    assert related["num_questions"] == 40
    assert "gain_over_zero_shot" not in cell_run(lab, Arm.ZERO_SHOT).data.metrics
    assert "gain_over_zero_shot" not in cell_run(lab, Arm.SOURCES).data.metrics


def test_cells_have_an_interval_and_all_that_their_evaluation_found(lab: Any) -> None:
    lab.finish()
    lab.sync()

    metrics = cell_run(lab, Arm.RELATED).data.metrics
    expected = binomtest(30, 40).proportion_ci(0.95, method="wilson")
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == (
        round(expected.low, 3),
        round(expected.high, 3),
    )
    assert (metrics["calibration_error"], metrics["recall_A"]) == (0.1, 0.75)


def test_cells_have_the_recipe_of_their_training(lab: Any) -> None:
    lab.finish()
    lab.sync()

    recipe = lab.plan.finetunes[0].recipe
    assert cell_run(lab, Arm.RELATED).data.tags["recipe.learning_rate"] == str(recipe.learning_rate)
    assert "recipe.learning_rate" not in cell_run(lab, Arm.ZERO_SHOT).data.tags


def test_boxes_have_no_interval_of_right_answers(lab: Any) -> None:
    lab.finish()
    cells = tuple(replace(cell, proof=replace(cell.proof, detectable=None)) for cell in lab.plan.cells)
    write_plan(lab.layout, replace(lab.plan, cells=cells))
    lab.sync()

    assert "accuracy_low" not in cell_run(lab, Arm.RELATED).data.metrics


def test_finetunes_tell_speed_energy_and_where_they_ran(lab: Any) -> None:
    lab.finish()
    lab.sync()

    run = lab.search()[f"finetune:{lab.plan.finetunes[0].id}"]
    assert run.data.metrics["mean_samples_per_s"] == round(480 / 3.5, 3)
    assert (run.data.metrics["seconds"], run.data.metrics["energy_joules"]) == (3.5, 700)
    assert (run.data.tags["gpu"], run.data.tags["host"]) == ("NVIDIA H100", "node-1")


def test_all_runs_of_one_catalogue_name_it(lab: Any) -> None:
    lab.sync()

    assert len({run.data.tags["catalog"] for run in lab.search().values()}) == 1


def test_cells_are_found_by_arm_and_by_an_element_of_the_target(lab: Any) -> None:
    lab.finish()
    lab.sync()

    found = lab.search("tags.arm = 'related' and tags.modality = 'CT'")

    assert set(found) == {f"cell:{find_cell(lab, Arm.RELATED).key}"}
    assert not lab.search("tags.arm = 'related' and tags.modality = 'US'")


def test_runs_name_the_subsets_that_they_were_trained_on_and_asked_about(lab: Any) -> None:
    """Once, however often they are mirrored; equal samples have equal digests."""
    lab.sync()
    lab.sync()
    runs = lab.search()
    for job in lab.plan.finetunes:
        inputs = runs[f"finetune:{job.id}"].inputs.dataset_inputs
        assert sorted(part.dataset.name for part in inputs) == sorted(part.subset for part in job.mixture.parts)
        assert {tag.value for part in inputs for tag in part.tags} == {"training"}
    cells = [cell for cell in lab.plan.cells if f"cell:{cell.key}" in runs]
    digests = {(cell.subset, runs[f"cell:{cell.key}"].inputs.dataset_inputs[0].dataset.digest) for cell in cells}
    assert len(digests) == len({cell.subset for cell in cells})


def test_all_runs_are_read_back_as_one_table(lab: Any) -> None:
    lab.finish()
    lab.sync()
    frame = read_runs(f"sqlite:///{lab.layout.database.resolve()}", lab.plan.study).set_index("run_id")
    found = lab.search()
    assert len(frame) == len(found)
    for run in found.values():
        row = frame.loc[run.info.run_id]
        assert (row["name"], row["status"]) == (run.info.run_name, run.info.status)
        assert row["start_time"].value // 1_000_000 == run.info.start_time
        for prefix, values in (("params", run.data.params), ("metrics", run.data.metrics), ("tags", run.data.tags)):
            mine = row[[name for name in frame.columns if name.startswith(f"{prefix}.")]].dropna()
            assert {name.removeprefix(f"{prefix}."): value for name, value in mine.items()} == values
    assert read_runs(f"sqlite:///{lab.layout.database.resolve()}", "no such study").empty
    with pytest.raises(TrackingError, match="can't be read"):
        read_runs(f"sqlite:///{lab.layout.root}/none/mlflow.db", "s")


def test_statuses_are_true(lab: Any) -> None:
    running, killed, failed = lab.plan.finetunes[:3]
    lab.log(running.id, ("started", {"host": "node-1"}))
    lab.log(killed.id, ("started", {"host": "node-1"}))
    lab.fail(failed.id)
    zero_shot = find_cell(lab, Arm.ZERO_SHOT)
    lab.finish_eval(next(job for job in lab.plan.evals if job.id == zero_shot.eval_job), 0.5)

    with holding(lab.layout.job(running.id) / "lock"):
        lab.sync()

    runs = lab.search()
    assert runs[f"finetune:{running.id}"].info.status == "RUNNING"
    assert runs[f"finetune:{killed.id}"].info.status == "KILLED"
    assert runs[f"finetune:{failed.id}"].info.status == "FAILED"
    assert runs[f"finetune:{failed.id}"].data.tags["failure_message"] == "the loss is nan at step 7"
    assert runs[f"cell:{zero_shot.key}"].info.status == "FINISHED"
    assert cell_run(lab, Arm.RELATED).info.status == "SCHEDULED"
    assert runs["study"].info.status == "RUNNING"


def test_a_run_that_was_seen_running_ends_as_killed_when_its_process_is_gone(lab: Any) -> None:
    job = lab.plan.finetunes[0]
    lab.log(job.id, ("started", {"host": "node-1"}))
    with holding(lab.layout.job(job.id) / "lock"):
        lab.sync()
    assert not is_synced(lab.layout, lab.plan.study)

    lab.sync()

    assert lab.search()[f"finetune:{job.id}"].info.status == "KILLED"
    assert lab.search()["study"].info.status == "KILLED"


def test_a_failure_goes_when_a_later_attempt_succeeds(lab: Any) -> None:
    job = lab.plan.finetunes[0]
    lab.fail(job.id)
    lab.sync()

    lab.finish_finetune(job, at_s=100)
    lab.sync()

    run = lab.search()[f"finetune:{job.id}"]
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
    assert "failure_message" not in run.data.tags


def test_duration_leaves_out_the_time_that_a_run_waited(lab: Any) -> None:
    job = lab.plan.finetunes[0]
    lab.sync()

    lab.finish_finetune(job)
    lab.sync()

    info = lab.search()[f"finetune:{job.id}"].info
    assert info.end_time - info.start_time == 4000


def test_a_curve_grows_in_the_same_run(lab: Any) -> None:
    job = lab.plan.finetunes[0]
    lab.log(job.id, ("started", {"host": "node-1"}))
    lab.log_steps(job.id, {10: 3.0, 20: 2.0}, at_s=1)
    lab.sync()
    run_id = lab.search()[f"finetune:{job.id}"].info.run_id

    lab.log_steps(job.id, {30: 1.0}, at_s=3)
    lab.sync()

    assert lab.read_curve(job.id) == {10: 3.0, 20: 2.0, 30: 1.0}
    assert lab.search()[f"finetune:{job.id}"].info.run_id == run_id


def test_a_curve_has_each_step_once_although_a_resumed_attempt_logged_some_again(lab: Any) -> None:
    job = lab.plan.finetunes[0]
    lab.log(job.id, ("started", {"host": "node-1"}))
    lab.log_steps(job.id, {10: 3.0, 20: 2.0, 30: 1.0}, at_s=1)
    lab.sync()
    lab.log(job.id, ("started", {"host": "node-1"}), ("resumed", {"step": 10}), at_s=60)
    lab.log_steps(job.id, {20: 2.1}, at_s=62)
    lab.sync()
    lab.log_steps(job.id, {30: 1.1, 40: 0.9}, at_s=63)
    lab.sync()

    assert lab.read_curve(job.id) == {10: 3.0, 20: 2.1, 30: 1.1, 40: 0.9}


def test_a_curve_longer_than_a_batch_is_whole(lab: Any) -> None:
    job = lab.plan.finetunes[0]
    lab.finish_finetune(job, num_logs=700)

    lab.sync()

    assert len(lab.read_curve(job.id)) == 700


def test_a_line_that_a_kill_cut_off_is_passed_over(lab: Any) -> None:
    job = lab.plan.finetunes[0]
    lab.log(job.id, ("started", {"host": "node-1"}))
    lab.log_steps(job.id, {10: 3.0}, at_s=1)
    with lab.layout.journal(job.id).open("a") as file:
        file.write('{"time": "2026-03-01T12:00:09+00:00", "event": "lo')

    lab.sync()

    assert lab.read_curve(job.id) == {10: 3.0}


def test_a_mirroring_that_was_cut_off_is_completed_by_the_next(
    lab: Any, monkeypatch: pytest.MonkeyPatch, through_client: Any
) -> None:
    through_client()
    lab.finish()
    calls = 0
    fill = writing._upload

    def cut_off(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        fill(*arguments)

    monkeypatch.setattr(writing, "_upload", cut_off)
    with pytest.raises(KeyboardInterrupt):
        lab.sync()
    assert not is_synced(lab.layout, lab.plan.study)
    monkeypatch.undo()

    report = lab.sync()

    assert (report.new, report.updated) == (report.total - 5, 1)
    cut, whole = snapshot(lab), lab.sync()
    assert (whole.new, whole.updated) == (0, 0)
    assert all(status == "FINISHED" for _, status, *_ in cut.values())
    assert all(histories for key, (_, _, _, _, histories, *_) in cut.items() if key != "study")


def test_a_deleted_database_is_built_again_within_the_same_process(tmp_path: Path, lab: Any) -> None:
    lab.finish()
    lab.sync()
    before = snapshot(lab)
    lab.layout.database.unlink()
    assert not is_synced(lab.layout, lab.plan.study)

    report = lab.sync()

    assert report.new == report.total
    after = snapshot(lab)
    assert {key: (value[0], value[1], value[3], value[4]) for key, value in after.items()} == {
        key: (value[0], value[1], value[3], value[4]) for key, value in before.items()
    }


def test_a_run_that_a_user_deleted_comes_back(lab: Any) -> None:
    lab.finish()
    lab.sync()
    lab.client.delete_run(cell_run(lab, Arm.RELATED).info.run_id)
    assert not is_synced(lab.layout, lab.plan.study)

    assert lab.sync().new == 1


def test_tags_and_notes_of_a_user_stay(lab: Any) -> None:
    lab.sync()
    run_id = cell_run(lab, Arm.RELATED).info.run_id
    lab.client.set_tag(run_id, "mlflow.note.content", "look at this one")

    lab.finish()
    lab.sync()

    run = cell_run(lab, Arm.RELATED)
    assert run.info.run_id == run_id
    assert run.data.tags["mlflow.note.content"] == "look at this one"


@pytest.mark.parametrize("kind", ["tag", "deleted tag", "metric", "curve", "param", "deleted param", "deleted metric"])
def test_values_that_a_user_changed_are_put_right(lab: Any, kind: str) -> None:
    lab.finish()
    lab.sync()
    before = {key: found.data for key, found in lab.search().items()}
    run = lab.search()[f"finetune:{lab.plan.finetunes[0].id}"] if kind == "curve" else cell_run(lab, Arm.RELATED)
    run_id, tag, param = run.info.run_id, "cg_lab.job", min(run.data.params)
    match kind:
        case "tag":
            lab.client.set_tag(run_id, tag, "spoilt")
        case "deleted tag":
            lab.client.delete_tag(run_id, tag)
        case "metric" | "curve":
            lab.client.log_metric(run_id, "loss" if kind == "curve" else "accuracy", 123.0, step=10**6)
        case _:
            table = "latest_metrics" if kind == "deleted metric" else "params"
            key = "accuracy" if kind == "deleted metric" else param
            change = f"UPDATE {table} SET value = 'spoilt'" if kind == "param" else f"DELETE FROM {table}"
            with closing(sqlite3.connect(lab.layout.database)) as connection, connection:
                connection.execute(f"{change} WHERE run_uuid = ? AND key = ?", (run_id, key))

    lab.sync()

    after = {key: found.data for key, found in lab.search().items()}
    assert after.keys() == before.keys()
    for key, data in after.items():
        assert (data.params, data.metrics) == (before[key].params, before[key].metrics)
        assert data.tags[tag] == before[key].tags[tag]
    assert lab.sync().updated == 0


def test_runs_follow_a_plan_that_changed(lab: Any, tmp_path: Path) -> None:
    lab.finish()
    lab.sync()
    kept = lab.plan.contrasts[0].id
    blind = find_cell(lab, Arm.BLIND)
    cells = tuple(cell for cell in lab.plan.cells if cell is not blind)
    smaller = type(lab.plan)(
        **{name: getattr(lab.plan, name) for name in type(lab.plan).__dataclass_fields__} | {"cells": cells}
    )
    write_plan(lab.layout, smaller)

    report = lab.sync()

    assert (report.new, report.removed) == (0, 1)
    assert f"cell:{blind.key}" not in lab.search()
    assert all(run.data.tags["contrast"] == kept for run in lab.search("tags.kind = 'cell'").values())


def test_who_waited_for_another_writer_mirrors_the_plan_as_it_is_by_then(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lab.plan
    smaller = replace(whole, cells=tuple(cell for cell in whole.cells if cell.arm is not Arm.CEILING))
    write_plan(lab.layout, smaller)
    opening = syncing.opening

    @contextmanager
    def wait(*arguments: Any) -> Iterator[Any]:
        with opening(*arguments) as store:
            write_plan(lab.layout, whole)
            yield store

    monkeypatch.setattr(syncing, "opening", wait)
    lab.sync()
    assert {f"cell:{cell.key}" for cell in whole.cells} <= set(lab.search())


def test_a_cell_whose_result_was_made_anew_shows_the_new_value_alone(lab: Any) -> None:
    lab.finish()
    lab.sync()
    related = find_cell(lab, Arm.RELATED)
    lab.finish_eval(next(job for job in lab.plan.evals if job.id == related.eval_job), 0.6, at_s=900)

    lab.sync()

    run = cell_run(lab, Arm.RELATED)
    assert [metric.value for metric in lab.client.get_metric_history(run.info.run_id, "accuracy")] == [0.6]
    assert run.data.metrics["gain_over_zero_shot"] == 0.1


def test_changed_files_of_the_study_are_uploaded_again(lab: Any, tmp_path: Path) -> None:
    lab.finish()
    report = lab.layout.study(lab.plan.study) / "report.md"
    report.write_text("first")
    lab.sync()
    report.write_text("second one")
    assert not is_synced(lab.layout, lab.plan.study)

    assert lab.sync().updated == 1

    found = lab.client.download_artifacts(lab.search()["study"].info.run_id, "report.md", str(tmp_path))
    assert Path(found).read_text() == "second one"


def test_values_that_are_too_long_for_mlflow_are_kept_whole_in_a_file(lab: Any, tmp_path: Path) -> None:
    message = "out of luck " * 1000
    lab.fail(lab.plan.finetunes[0].id, message)

    lab.sync()

    run = lab.search()[f"finetune:{lab.plan.finetunes[0].id}"]
    assert len(run.data.tags["failure_message"]) <= 5000
    assert (
        message in Path(lab.client.download_artifacts(run.info.run_id, "long_values.json", str(tmp_path))).read_text()
    )


def test_is_synced_tells_whether_anything_is_left_to_mirror(lab: Any) -> None:
    assert not is_synced(lab.layout, lab.plan.study)
    lab.sync()
    assert is_synced(lab.layout, lab.plan.study)
    assert not is_synced(lab.layout, lab.plan.study, tracking_uri="http://127.0.0.1:1")

    lab.finish_finetune(lab.plan.finetunes[0])

    assert not is_synced(lab.layout, lab.plan.study)


def test_is_synced_needs_no_mlflow(lab: Any) -> None:
    lab.sync()
    code = (
        "import sys; from pathlib import Path; from cg_lab.results import Layout\n"
        "from cg_lab.tracking import is_synced\n"
        f"assert is_synced(Layout(Path({str(lab.layout.root)!r})), {lab.plan.study!r})\n"
        "assert 'mlflow' not in sys.modules and 'sqlalchemy' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_database_is_one_error_for_people(lab: Any) -> None:
    lab.layout.database.write_bytes(b"this is no database" * 100)

    with pytest.raises(TrackingError, match="not a database"):
        lab.sync()


def test_a_broken_result_is_one_error_for_people(lab: Any) -> None:
    lab.finish()
    lab.layout.result(lab.plan.evals[0].id).write_text("{")

    with pytest.raises(TrackingError, match="not valid JSON"):
        lab.sync()


def test_a_moved_results_folder_is_explained(lab: Any, tmp_path: Path) -> None:
    lab.sync()
    lab.layout.root.rename(tmp_path / "moved")

    with pytest.raises(TrackingError, match=r"delete mlflow\.db"):
        sync_study(Layout(tmp_path / "moved"), lab.plan.study)


@pytest.mark.parametrize("name", ["100%20", "why?"])
def test_a_folder_that_mlflow_can_not_name_is_refused_at_once(lab: Any, name: str) -> None:
    moved = lab.layout.root.rename(lab.layout.root.with_name(name))

    with pytest.raises(TrackingError, match="give another folder"):
        sync_study(Layout(moved), lab.plan.study)


def test_waiting_for_another_writer_ends(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cg_lab.tracking.store.LOCK_TIMEOUT_S", 0.2)

    with holding(lab.layout.root / "mlflow.lock"), pytest.raises(TrackingError, match=f"process {os.getpid()}"):
        lab.sync()


def mirror_in_process(root: str, study: str) -> None:
    sync_study(Layout(Path(root)), study)


@pytest.mark.slow
def test_processes_that_mirror_at_once_make_the_database_and_each_run_once(lab: Any) -> None:
    lab.finish()
    lab.layout.database.unlink()
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=mirror_in_process, args=(str(lab.layout.root), lab.plan.study)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(lab.search()) == 1 + len(lab.plan.finetunes) + len(lab.plan.cells)


def test_a_mirroring_that_finds_nothing_new_is_fast(lab: Any) -> None:
    lab.finish()
    lab.sync()
    began = time.perf_counter()
    lab.sync()

    assert time.perf_counter() - began < 2


def test_another_results_folders_experiment_is_left_alone(tmp_path: Path) -> None:
    """Two people with a study of one name on one server."""
    uri = f"sqlite:///{tmp_path}/shared.db"
    mine, theirs = (build_lab(tmp_path / name, targets=("ct-brain-mass",), seeds=(0,)) for name in ("mine", "theirs"))
    for lab in (mine, theirs):
        lab.finish()
    first = sync_study(mine.layout, "small", tracking_uri=uri)
    with pytest.raises(TrackingError, match=r"another results folder, .*/mine; .*tracking\.experiment=NAME"):
        sync_study(theirs.layout, "small", tracking_uri=uri)
    again = sync_study(mine.layout, "small", tracking_uri=uri)
    assert (again.total, again.new, again.updated, again.removed) == (first.total, 0, 0, 0)
    apart = sync_study(theirs.layout, "small", tracking_uri=uri, experiment="theirs")
    assert apart.new == apart.total
    assert is_synced(theirs.layout, "small", tracking_uri=uri, experiment="theirs")
    assert not is_synced(theirs.layout, "small", tracking_uri=uri)


def test_a_results_folder_that_was_moved_keeps_its_experiment(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/shared.db"
    lab = build_lab(tmp_path / "before", targets=("ct-brain-mass",), seeds=(0,))
    lab.finish()
    sync_study(lab.layout, "small", tracking_uri=uri)
    (tmp_path / "before").rename(tmp_path / "after")
    assert sync_study(Layout(tmp_path / "after"), "small", tracking_uri=uri).removed == 0


def test_an_experiment_of_before_gets_the_views_that_it_lacks_and_keeps_those_that_were_changed(lab: Any) -> None:
    lab.sync()
    experiment = lab.client.get_experiment_by_name(lab.plan.study)
    new, changed = (f"mlflow.sharedViewState.{key}" for key in ("losses", "means"))
    lab.client.delete_experiment_tag(experiment.experiment_id, new)
    lab.client.set_experiment_tag(experiment.experiment_id, changed, "mine")
    lab.finish()
    lab.sync()
    tags = lab.client.get_experiment_by_name(lab.plan.study).tags
    assert new in tags
    assert tags[changed] == "mine"


def test_the_seeds_of_an_arm_have_one_name_and_fine_tunes_that_of_the_arms_that_train_them(lab: Any) -> None:
    lab.finish()
    lab.sync()
    assert cell_run(lab, Arm.RELATED).data.tags["seeds_of"] == "ct-brain-mass related"
    tuned = {run.data.tags["arms"] for key, run in lab.search().items() if key.startswith("finetune:")}
    assert tuned == {"unrelated", "related", "ceiling"}
