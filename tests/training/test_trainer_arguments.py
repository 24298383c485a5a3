"""What Trainer is told, and what it tells: no step is taken here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.errors import UserError
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import AnswerForm
from cg_lab.study import Backbone
from cg_lab.training.batch_split import split_batch
from cg_lab.training.checkpoints import choose_interval
from cg_lab.training.finetune import NotFiniteError, _Watcher
from cg_lab.training.memory import Fit
from cg_lab.training.sample_order import ByLength, list_in_seeded_order
from cg_lab.training.trainer_arguments import Surroundings, build_arguments

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
BACKBONE = Backbone(name="tiny_llava", path="package:tiny_llava", revision="0" * 16, answer=AnswerForm.LETTER)
FIT = Fit(parts=1, checkpointing=False, is_reduced=False, is_measured=False)


def make_job(seed: int = 0, **changes: Any) -> FinetuneJob:
    recipe = replace(read_study([]).finetune, **{"batch_size": 8, "epochs": 4, **changes})
    return FinetuneJob(data=DATA, backbone=BACKBONE, mixture=Mixture(parts=(), seed=9), recipe=recipe, seed=seed)


class Notes:
    """Remembers events, and asks for a stop when told to."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.is_stopping = False

    def note(self, event: str, **facts: Any) -> None:
        self.events.append((event, facts))


def surround(folder: Path, notes: Notes | None = None, **more: Any) -> Surroundings:
    notes = notes or Notes()
    return Surroundings(
        **{
            "folder": folder / "checkpoints",
            "weights": folder / "model",
            "save_every_s": 1e9,
            "event": notes.note,
            "is_stopping": lambda: notes.is_stopping,
            **more,
        }
    )


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_order_and_random_numbers_go_by_the_jobs_own_seed(seed: int, tmp_path: Path) -> None:
    arguments = build_arguments(make_job(seed), 48, surround(tmp_path), FIT)
    assert (arguments.seed, arguments.data_seed) == (seed, seed)


def test_trainer_is_told_what_the_recipe_says_and_keeps_its_hands_off_the_rest(tmp_path: Path) -> None:
    job = make_job(learning_rate=3e-4, warmup_share=0.25, weight_decay=0.02, max_grad_norm=0.7)
    told = build_arguments(job, 49, surround(tmp_path), FIT)
    expected = {
        "output_dir": str(tmp_path / "checkpoints"), "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1,
        "max_steps": 28, "learning_rate": 3e-4, "warmup_steps": 7, "weight_decay": 0.02, "max_grad_norm": 0.7,
        "logging_steps": 5, "logging_first_step": True, "logging_nan_inf_filter": False, "save_total_limit": 1,
        "bf16": False, "disable_tqdm": True, "report_to": [], "remove_unused_columns": False,
        "dataloader_pin_memory": False, "dataloader_num_workers": 0, "use_cpu": True,
    }  # fmt: skip
    assert {name: getattr(told, name) for name in expected} == expected
    assert (told.lr_scheduler_type.value, told.optim.value, told.save_strategy.value) == (
        "cosine", "adamw_torch_fused", "no",
    )  # fmt: skip


@pytest.mark.parametrize(("examples", "epochs", "steps"), [(1, 1, 1), (8, 1, 1), (9, 1, 2), (4, 0.1, 1), (48, 0.5, 3)])
def test_a_batch_that_is_not_full_is_a_step_and_there_is_one_at_least(
    examples: int, epochs: float, steps: int, tmp_path: Path
) -> None:
    assert build_arguments(make_job(epochs=epochs), examples, surround(tmp_path), FIT).max_steps == steps


def test_a_batch_in_parts_over_processes_stays_as_large(tmp_path: Path) -> None:
    fit = replace(FIT, parts=3)
    told = build_arguments(make_job(batch_size=16), 48, surround(tmp_path, num_processes=2), fit)
    assert (told.per_device_train_batch_size, told.gradient_accumulation_steps) == (2, 4)


def test_shares_are_equal_and_a_batch_that_can_not_be_shared_is_the_users_fault() -> None:
    assert [split_batch(12, 2, parts) for parts in (1, 2, 3, 4, 5, 6, 7)] == [1, 2, 3, 6, 6, 6, 6]
    for batch_size, num_processes in ((6, 4), (2, 4)):
        with pytest.raises(UserError) as caught:
            split_batch(batch_size, num_processes, 1)
        assert str(caught.value) == (
            f"finetune.batch_size: {batch_size} can't be split evenly over 4 processes (cluster.nodes x cluster.gpus); "
            "choose a multiple"
        )


def watch(folder: Path, **more: Any) -> tuple[Notes, _Watcher, TrainerState, TrainerControl]:
    notes = Notes()
    state = TrainerState()
    state.max_steps = 10
    return notes, _Watcher(surround(folder, notes, **more), batch_size=8), state, TrainerControl()


def test_a_stop_saves_and_ends_but_not_behind_the_last_step(tmp_path: Path) -> None:
    notes, watcher, state, control = watch(tmp_path)
    state.global_step = 4
    assert watcher.stopped is False  # a fine-tune that has no step left is not asked
    watcher.on_step_end(SimpleNamespace(), state, control)
    assert (watcher.stopped, control.should_save, control.should_training_stop) == (False, False, False)
    notes.is_stopping = True
    watcher.on_step_end(SimpleNamespace(), state, control)
    assert (watcher.stopped, control.should_save, control.should_training_stop) == (True, True, True)
    state.global_step, control = 10, TrainerControl()
    watcher.on_step_end(SimpleNamespace(), state, control)
    assert (watcher.stopped, control.should_save, control.should_training_stop) == (False, False, False)


def test_a_stop_in_any_process_stops_all(tmp_path: Path) -> None:
    _, watcher, state, control = watch(tmp_path, agree=lambda _: True)
    watcher.on_step_end(SimpleNamespace(), state, control)
    assert (watcher.stopped, control.should_save) == (True, True)


def test_a_checkpoint_is_saved_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("cg_lab.training.finetune.time.monotonic", lambda: clock[0])
    notes, watcher, state, control = watch(tmp_path, save_every_s=30.0)
    control.should_training_stop = True  # at the last step
    for seconds, saves in ((30.0, False), (30.5, True)):
        clock[0] = 100.0 + seconds
        watcher.on_step_end(SimpleNamespace(), state, control)
        assert (control.should_save, control.should_training_stop) == (saves, True)
    state.global_step = 3
    clock[0] += 3.0006  # what it takes
    watcher.on_save(SimpleNamespace(), state, control)
    assert notes.events == [("saved", {"step": 3, "seconds": 3.001})]
    saved_at = clock[0]
    for seconds, saves in ((31.0, False), (720.0, False), (720.6, True)):  # as its cost allows
        control.should_save, clock[0] = False, saved_at + seconds
        watcher.on_step_end(SimpleNamespace(), state, control)
        assert control.should_save == saves


def test_a_checkpoint_that_costs_little_is_saved_no_more_often_than_was_asked_and_one_that_costs_much_each_hour() -> (
    None
):
    assert choose_interval(0.0, 30.0) == 30.0
    assert choose_interval(1e4, 30.0) == 3600.0
    assert choose_interval(1e4, 7200.0) == 7200.0
    cost, between = 3.0, 86_400.0
    best = min(range(1, 3600), key=lambda every: cost / every + every / (2 * between))
    assert choose_interval(cost, 30.0) == pytest.approx(best, abs=1)


def test_the_loss_curve_tells_step_rate_and_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("cg_lab.training.finetune.time.monotonic", lambda: clock[0])
    notes, watcher, state, control = watch(tmp_path)
    watcher.on_train_begin(SimpleNamespace(), state, control)
    for step, seconds in ((1, 7.0), (5, 13.0), (9, 13.0)):
        state.global_step, clock[0] = step, 100.0 + seconds
        watcher.on_log(SimpleNamespace(), state, control, {"loss": 1.5, "learning_rate": 1e-3})
    for other in (None, {}, {"train_runtime": 3.0}):
        watcher.on_log(SimpleNamespace(), state, control, other)
    assert notes.events == [
        ("log", {"step": step, "loss": 1.5, "learning_rate": 1e-3, "samples_per_s": speed})
        for step, speed in ((1, 1.1), (5, 5.3), (9, 32e9))
    ]


def test_a_fine_tune_that_goes_on_says_from_where_and_counts_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cg_lab.training.finetune.time.monotonic", iter([0.0, 4.0]).__next__)
    notes, watcher, state, control = watch(tmp_path)
    state.global_step = 6
    watcher.on_train_begin(SimpleNamespace(), state, control)
    state.global_step = 8
    watcher.on_log(SimpleNamespace(), state, control, {"loss": 1.5, "learning_rate": 1e-3})
    assert notes.events[0] == ("resumed", {"step": 6})
    assert notes.events[1][1]["samples_per_s"] == 4.0


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_a_fine_tune(loss: float, tmp_path: Path) -> None:
    _, watcher, state, control = watch(tmp_path)
    state.global_step = 7
    with pytest.raises(NotFiniteError) as caught:
        watcher.on_log(SimpleNamespace(), state, control, {"loss": loss, "learning_rate": 1e-3})
    assert str(caught.value) == f"the loss is {loss} at step 7; lower finetune.learning_rate"


def test_batches_by_length_are_ordered_by_seed_and_epoch_alone() -> None:
    lengths = [number % 7 for number in range(40)]

    def order(seed: int, epoch: int) -> list[int]:
        sampler = ByLength(4, lengths, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(0, 0)) == list(range(40))
    assert list(ByLength(4, lengths, 5)) == order(5, 0) == order(4, 1)
    assert order(0, 0) != order(1, 0) != order(0, 2)
    batches = [[lengths[place] for place in order(0, 0)[start : start + 4]] for start in range(0, 40, 4)]
    assert sum(max(batch) - min(batch) for batch in batches) <= 30  # 46 in any order


def test_random_batches_are_ordered_by_their_seed() -> None:
    first, again, other = (list(list_in_seeded_order(20, seed)) for seed in (0, 0, 1))
    assert sorted(first) == list(range(20))
    assert first == again != other


def test_a_model_in_half_precision_is_trained_in_bfloat16(tmp_path: Path) -> None:
    fit = replace(FIT, is_reduced=True, checkpointing=True)
    told = build_arguments(make_job(), 48, surround(tmp_path), fit)
    assert told.bf16
    assert told.gradient_checkpointing or told.activation_checkpointing
    assert torch.cuda.is_available() or told.use_cpu
