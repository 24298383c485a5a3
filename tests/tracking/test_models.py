"""Fine-tuned models, as MLflow's own client finds them."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from cg_lab.planning.plan import Arm
from cg_lab.tracking import is_synced


def cell_run(lab: Any, arm: Arm) -> Any:
    cell = next(cell for cell in lab.plan.cells if cell.arm is arm)
    run_id = lab.search()[f"cell:{cell.key}"].info.run_id
    return lab.client.get_run(run_id), cell  # a search leaves models out


def list_asked(run: Any) -> list[str]:
    return [model.model_id for model in run.inputs.model_inputs]


def test_each_finished_fine_tune_left_a_model_that_says_where_its_weights_are(lab: Any) -> None:
    done = lab.plan.finetunes[0]
    lab.finish_finetune(done)
    lab.sync()

    assert set(lab.list_models()) == {done.id}
    model, run = lab.list_models()[done.id], lab.search()[f"finetune:{done.id}"]
    assert (model.status, model.source_run_id) == ("READY", run.info.run_id)
    assert model.tags["weights"] == str(lab.layout.weights(done.id).resolve())
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]


def test_cells_name_the_model_that_answered(lab: Any) -> None:
    lab.finish()
    lab.sync()
    lab.sync()

    related, cell = cell_run(lab, Arm.RELATED)
    assert list_asked(related) == [lab.list_models()[cell.finetune_job].model_id]
    assert list_asked(cell_run(lab, Arm.ZERO_SHOT)[0]) == []


def test_mirroring_again_makes_no_other_model(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.finish()
    lab.sync()
    before = {job: str(dict(model)) for job, model in lab.list_models().items()}
    monkeypatch.setattr("cg_lab.tracking.record.RECORD_SCHEMA", 99)

    assert lab.sync().updated

    assert {job: str(dict(model)) for job, model in lab.list_models().items()} == before
    assert len(before) == len(lab.plan.finetunes)


def test_a_model_whose_weights_were_not_kept_says_so(lab: Any) -> None:
    lab.finish()
    lab.sync()
    job = lab.plan.finetunes[0].id
    lab.layout.weights(job).rmdir()
    assert not is_synced(lab.layout, lab.plan.study)

    assert lab.sync().updated == 1

    assert lab.list_models()[job].tags["weights"] == "not kept"


@pytest.mark.parametrize("step", ["create_logged_model", "finalize_logged_model", "log_outputs", "log_batch"])
def test_a_writer_that_was_killed_at_any_step_leaves_one_model(
    lab: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = lab.plan.finetunes[0]
    lab.sync()
    lab.finish_finetune(job)
    whole = getattr(MlflowClient, step)

    def do_and_die(*arguments: Any, **named: Any) -> None:
        whole(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, step, do_and_die)
    with pytest.raises(KeyboardInterrupt):
        lab.sync()
    monkeypatch.undo()

    lab.sync()

    assert lab.list_models()[job.id].status == "READY"
    assert len(lab.search()[f"finetune:{job.id}"].outputs.model_outputs) == 1


def test_a_model_that_a_server_made_twice_is_there_once(
    lab: Any, monkeypatch: pytest.MonkeyPatch, through_client: Any
) -> None:
    through_client()
    lab.finish()
    whole = MlflowClient.create_logged_model

    def make_twice(*arguments: Any, **named: Any) -> Any:
        whole(*arguments, **named)
        return whole(*arguments, **named)

    monkeypatch.setattr(MlflowClient, "create_logged_model", make_twice)
    lab.sync()

    assert len(lab.list_models()) == len(lab.plan.finetunes)
    related, cell = cell_run(lab, Arm.RELATED)
    assert list_asked(related) == [lab.list_models()[cell.finetune_job].model_id]


def test_a_model_that_was_trained_anew_is_another_one_for_its_cells_too(lab: Any) -> None:
    lab.finish()
    lab.sync()
    related, cell = cell_run(lab, Arm.RELATED)
    before = list_asked(related)
    job = next(job for job in lab.plan.finetunes if job.id == cell.finetune_job)
    lab.finish_finetune(job, at_s=900, num_logs=4)

    lab.sync()

    (after,) = list_asked(cell_run(lab, Arm.RELATED)[0])
    assert [after] != before
    assert after == lab.list_models()[job.id].model_id


def test_the_model_of_a_run_that_a_user_deleted_goes_with_it(lab: Any) -> None:
    lab.finish()
    lab.sync()
    job = lab.plan.finetunes[0].id
    before = lab.list_models()[job]
    lab.client.delete_run(before.source_run_id)

    lab.sync()

    assert lab.list_models()[job].source_run_id == lab.search()[f"finetune:{job}"].info.run_id


def test_models_of_users_are_left_alone(lab: Any) -> None:
    lab.finish()
    lab.sync()
    experiment = lab.client.get_experiment_by_name(lab.plan.study)
    mine = lab.client.create_logged_model(experiment.experiment_id, name="mine")
    lab.finish_finetune(lab.plan.finetunes[0], at_s=900, num_logs=4)

    lab.sync()

    assert lab.client.get_logged_model(mine.model_id).name == "mine"


def test_a_run_that_a_server_made_twice_is_there_once(
    lab: Any, monkeypatch: pytest.MonkeyPatch, through_client: Any
) -> None:
    through_client()
    whole = MlflowClient.create_run

    def make_twice(*arguments: Any, **named: Any) -> Any:
        whole(*arguments, **named)
        return whole(*arguments, **named)

    monkeypatch.setattr(MlflowClient, "create_run", make_twice)
    total = lab.sync().total
    monkeypatch.undo()

    assert lab.sync().removed == total
    assert len(lab.search()) == total
