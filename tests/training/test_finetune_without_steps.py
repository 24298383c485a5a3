"""What a fine-tune does around its optimizer steps: none is taken here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel, PrinterCallback, Trainer

from cg_lab.config import read_study
from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.batches import IGNORED, Example, collate_training
from cg_lab.models.precision import Device, ParameterCounts, choose_precision
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.recipe import Lora
from cg_lab.training import finetune
from cg_lab.training.finetune import (
    Training,
    _answering,
    _AnswerTrainer,
    _Examples,
    _make_longest,
    _Watcher,
    hold_numbers,
    run_finetune,
)
from cg_lab.training.host_adamw import HostAdamW
from cg_lab.training.memory import Fit
from cg_lab.training.sample_order import ByLength, list_in_seeded_order
from cg_lab.training.trainer_arguments import Surroundings, build_arguments
from tests.training.test_finetune import examples, make_job

__all__ = ["examples"]
LORA = Lora(rank=2, alpha=4, dropout=0.0)
GPU = Device(name="stand-in", memory=9_000_000, host_memory=100_000_000, is_gpu=True, has_bfloat16=True)
SMALL = ParameterCounts(trained=100_000, frozen=200_000, has_adapters=False)


class EnoughError(Exception):
    """What a test wanted to see has happened."""


class Events(list[tuple[str, dict[str, Any]]]):
    """Remembers events, and ends the fine-tune at one of them."""

    def __init__(self, last: str = "") -> None:
        super().__init__()
        self.last = last

    def __call__(self, event: str, **facts: Any) -> None:
        self.append((event, facts))
        if event == self.last:
            raise EnoughError


def surround(folder: Path, **more: Any) -> Surroundings:
    return Surroundings(
        **{
            "folder": folder / "checkpoints",
            "weights": folder / "model",
            "save_every_s": 1e9,
            "event": Events(),
            "is_stopping": lambda: False,
            **more,
        }
    )


def of_two_lengths(examples: list[Example]) -> list[Example]:
    """Make the second one, and each second one after it, longer."""
    return [replace(one, prompt=one.prompt + [7] * (number % 2)) for number, one in enumerate(examples)]


def make_trainer(schedule: Any = None, **arguments: Any) -> _AnswerTrainer:
    """Make one that knows nothing else."""
    trainer = object.__new__(_AnswerTrainer)
    trainer.args = SimpleNamespace(  # type: ignore[assignment]
        **{"train_batch_size": 3, "world_size": 1, "gradient_accumulation_steps": 1, "seed": 5, **arguments}
    )
    if schedule is not None:
        trainer.schedule = schedule
    return trainer


def schedule(num: int, **changes: Any) -> Any:
    return schedule_epochs(replace(read_study([]).finetune, **changes), num)


def test_an_adapter_is_not_trained_any_further(backbone: LoadedBackbone, tmp_path: Path) -> None:
    job = make_job(backbone)
    job = replace(job, backbone=replace(job.base, adapter="mine"))
    with pytest.raises(UserError) as caught:
        run_finetune(job, backbone, [], surround(tmp_path))
    assert str(caught.value) == (
        "model.adapter: 'mine' is asked, not trained any further; take arms=[zero_shot], or model.path with its "
        "weights merged"
    )


def test_weights_in_parts_take_gpus(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(job: Any, num: int, around: Surroundings, fit: Fit) -> Any:
        return build_arguments(job, num, replace(around, is_sharded=False), fit)  # as accelerate does on processors

    monkeypatch.setattr(finetune, "build_arguments", build)
    around = surround(tmp_path, num_processes=2, is_sharded=True)
    with pytest.raises(UserError) as caught:
        run_finetune(make_job(backbone), backbone, examples[:8], around)
    assert str(caught.value) == "cluster.sharding: fsdp works on GPUs alone; take ddp here"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Say that memory was measured, and remember with what."""
    noted: dict[str, Any] = {}

    def fit(model: Any, make_batch: Any, precision: Any, **options: Any) -> Fit:
        noted.update(options, model=model, make_batch=make_batch, precision=precision)
        return Fit(parts=4, checkpointing=True, is_reduced=False, is_measured=True)

    monkeypatch.setattr(finetune, "fit_memory", fit)
    return noted


def test_what_fits_is_measured_with_the_longest_samples_and_told(
    backbone: LoadedBackbone, examples: list[Example], measured: dict[str, Any], tmp_path: Path
) -> None:
    events, mixed = Events(last="fitted"), of_two_lengths(examples[:4])
    with pytest.raises(EnoughError):
        run_finetune(make_job(backbone), backbone, mixed, surround(tmp_path, parts=2, event=events))
    assert events == [("fitted", {"parts": 4, "gradient_checkpointing": True})]
    assert measured["model"] is backbone.model
    assert measured["precision"].masters == "device"
    assert (measured["batch_size"], measured["parts"], measured["checkpointing"]) == (8, 2, False)
    batch = measured["make_batch"](3)
    expected = collate_training([mixed[1], mixed[3], mixed[0]], backbone.processor.tokenizer.pad_token_id)
    assert all(values.equal(expected[key]) for key, values in batch.items())


def test_several_processes_measure_nothing(
    backbone: LoadedBackbone, examples: list[Example], measured: dict[str, Any], tmp_path: Path
) -> None:
    around = surround(tmp_path, num_processes=2, event=Events(last="fitted"))
    with pytest.raises(EnoughError):
        run_finetune(make_job(backbone, gradient_checkpointing="always"), backbone, examples[:4], around)
    assert measured["make_batch"] is None
    assert measured["checkpointing"]


@pytest.mark.parametrize("lora", [None, LORA])
def test_room_is_counted_for_what_a_recipe_trains(
    backbone: LoadedBackbone, lora: Lora | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[ParameterCounts] = []

    def hold(model: Any, counts: ParameterCounts, surroundings: Surroundings) -> Any:
        counted.append(counts)
        raise EnoughError

    monkeypatch.setattr(finetune, "hold_numbers", hold)
    with pytest.raises(EnoughError):
        run_finetune(make_job(backbone, lora=lora), backbone, [], surround(tmp_path))
    assert counted[0].has_adapters is (lora is not None)
    assert counted[0].trained < counted[0].frozen or lora is None


def test_numbers_are_held_as_the_device_of_each_process_has_room() -> None:
    model, events = nn.Linear(2, 2, dtype=torch.bfloat16), Events()
    around = surround(Path(), device=GPU, num_processes=4, is_sharded=True, event=events)
    expected = choose_precision(SMALL, GPU, loaded="bfloat16", num_processes=4, is_sharded=True)
    assert hold_numbers(model, SMALL, around) == expected
    tight = replace(GPU, memory=2_000_000)
    assert (
        hold_numbers(model, SMALL, replace(around, device=tight, num_processes=1, is_sharded=False)).masters == "host"
    )
    assert events == [
        ("precision", {"loaded": "bfloat16", "float32_masters": masters}) for masters in ("device", "host")
    ]
    assert hold_numbers(model.float(), SMALL, around).loaded == "float32"
    assert len(events) == 2


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[_AnswerTrainer]:
    """Remember Trainers that were about to train."""
    made: list[_AnswerTrainer] = []

    def train(self: _AnswerTrainer, **_: Any) -> None:
        made.append(self)
        raise EnoughError

    monkeypatch.setattr(_AnswerTrainer, "train", train)
    return made


def test_trainer_gets_the_job_whole(
    backbone: LoadedBackbone, examples: list[Example], trainers: list[_AnswerTrainer], tmp_path: Path
) -> None:
    mixed = of_two_lengths(examples[:11])
    job = replace(make_job(backbone, epochs=2.5, batches="by_length"), seed=3)
    with pytest.raises(EnoughError):
        run_finetune(job, backbone, mixed, surround(tmp_path))
    (trainer,) = trainers
    assert trainer.model is backbone.model
    assert (trainer.args.output_dir, trainer.args.seed) == (str(tmp_path / "checkpoints"), 3)
    assert trainer.schedule == schedule_epochs(job.recipe, 11)
    assert trainer.lengths == [len(one.prompt) for one in mixed]
    dataset: Any = trainer.train_dataset
    assert [dataset[place] for place in range(len(dataset))] == mixed
    batch, pad_id = trainer.data_collator(mixed[:2]), backbone.processor.tokenizer.pad_token_id
    assert batch["input_ids"].equal(collate_training(mixed[:2], pad_id)["input_ids"])
    assert trainer.optimizer_cls_and_kwargs is None
    callbacks = trainer.callback_handler.callbacks
    assert [one.batch_size for one in callbacks if isinstance(one, _Watcher)] == [8]
    assert not any(isinstance(one, PrinterCallback) for one in callbacks)


def test_batches_are_random_unless_a_recipe_says_otherwise(
    backbone: LoadedBackbone, examples: list[Example], trainers: list[_AnswerTrainer], tmp_path: Path
) -> None:
    with pytest.raises(EnoughError):
        run_finetune(make_job(backbone, trainable="projector"), backbone, examples[:8], surround(tmp_path))
    assert trainers[0].lengths is None
    trained = {name for name, weight in backbone.model.named_parameters() if weight.requires_grad}
    assert trained
    assert all(name.startswith("model.multi_modal_projector") for name in trained)


def test_what_has_no_room_beside_the_weights_is_held_by_an_optimizer_on_the_host(
    backbone: LoadedBackbone,
    examples: list[Example],
    trainers: list[_AnswerTrainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetune, "hold_numbers", lambda *_: SimpleNamespace(masters="host", computes_in_bfloat16=True))
    with pytest.raises(EnoughError):
        run_finetune(make_job(backbone, learning_rate=3e-3), backbone, examples[:8], surround(tmp_path))
    chosen: Any = trainers[0].optimizer_cls_and_kwargs
    assert chosen[0] is HostAdamW
    assert chosen[1]["lr"] == 3e-3
    assert trainers[0].args.bf16


def trained(curve: list[dict[str, float]]) -> Callable[..., None]:
    def train(self: _AnswerTrainer, **_: Any) -> None:
        self.state.global_step, self.state.log_history = 7, curve

    return train


@pytest.mark.parametrize(("num_processes", "joules"), [(1, 12.5), (2, None)])
def test_a_fine_tune_tells_what_it_did(
    num_processes: int,
    joules: float | None,
    backbone: LoadedBackbone,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    curve = [{"loss": 3.0}, {"train_runtime": 1.0}, {"loss": 2.0}, {"loss": 1.0}, {"train_loss": 2.0}]
    monkeypatch.setattr(_AnswerTrainer, "train", trained(curve))
    monkeypatch.setattr(finetune, "measuring_energy", lambda: nullcontext(SimpleNamespace(joules=12.5)))
    monkeypatch.setattr(finetune, "name_gpu", lambda: "H200")
    began = time.perf_counter()
    around = surround(tmp_path, num_processes=num_processes, plan="chest (ab12)")
    done = run_finetune(make_job(backbone, epochs=3), backbone, examples[:5], around)
    assert 0 < done.seconds < time.perf_counter() - began
    assert done == Training(
        steps=7, samples=15, loss_first=3.0, loss_last=1.0, seconds=done.seconds, gpu="H200", energy_joules=joules
    )
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert "for the plan chest (ab12)." in (tmp_path / "model" / "README.md").read_text()


def test_a_stop_is_said_to_have_left_a_checkpoint(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(self: _AnswerTrainer, **_: Any) -> None:
        (watcher,) = (one for one in self.callback_handler.callbacks if isinstance(one, _Watcher))
        watcher.stopped = True

    monkeypatch.setattr(_AnswerTrainer, "train", train)
    with pytest.raises(InterruptedByUserError) as caught:
        run_finetune(make_job(backbone), backbone, examples[:5], surround(tmp_path))
    assert str(caught.value) == "stopped after saving a checkpoint"
    assert not (tmp_path / "model").exists()


def test_the_longest_samples_are_those_with_the_longest_prompts(examples: list[Example]) -> None:
    mixed = of_two_lengths(examples[:5])
    chosen: Any = _make_longest(mixed, list, 3)
    assert chosen == [mixed[1], mixed[3], mixed[0]]


def test_a_model_is_as_it_was_once_its_answers_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "compute_answer_loss", lambda model, batch, number=None: (model, batch, number))
    model = nn.Linear(2, 2)
    names = set(vars(model))
    with _answering(model):
        assert model("batch", 3) == (model, "batch", 3)  # type: ignore[comparison-overlap]
    assert set(vars(model)) == names
    with _answering(model):
        model._original_forward = model.forward  # type: ignore[assignment] - as accelerate does
        model._is_accelerate_prepared = True  # type: ignore[assignment]
    assert set(vars(model)) == names
    assert model(torch.ones(1, 2)).shape == (1, 2)


def test_a_pass_that_holds_the_whole_batch_takes_the_mean_over_its_own_answers() -> None:
    passes: list[tuple[Any, ...]] = []

    def model(*given: Any) -> torch.Tensor:
        passes.append(given)
        return torch.tensor(2.0)

    for parts, processes, loss in ((1, 1, 2.0), (2, 1, 2.0), (1, 2, 4.0), (2, 3, 6.0), (2, 2, 4.0)):
        trainer = make_trainer(gradient_accumulation_steps=parts, world_size=processes)
        assert float(trainer.compute_loss(model, "batch", num_items_in_batch=9)) == loss
    assert passes == [("batch",), *[("batch", 9)] * 4]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_samples_come_in_the_order_of_the_seed_and_fill_the_pass_of_several_processes(processes: int) -> None:
    plan = schedule(10, batch_size=6, epochs=1.5)
    trainer = make_trainer(plan, train_batch_size=3, world_size=processes, seed=5)
    filled = {1: 0, 2: 2, 3: 8}[processes]
    assert list(trainer._get_train_sampler()) == [*list_in_seeded_order(10, 5), *[-1] * filled]
    trainer.lengths = [3, 1, 2, 3, 1, 2, 3, 1, 2, 9]
    assert list(trainer._get_train_sampler()) == [*ByLength(6, trainer.lengths, 5), *[-1] * filled]
    sampler = trainer._get_train_sampler()
    sampler.set_epoch(1)
    assert [place for place in sampler if place >= 0] == list(order_at(1, trainer.lengths))[:5]


def order_at(epoch: int, lengths: list[int]) -> Iterator[int]:
    sampler = ByLength(6, lengths, 5)
    sampler.set_epoch(epoch)
    return iter(sampler)


def test_only_the_epoch_that_is_begun_and_not_ended_has_fewer_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "_run_epoch", lambda self, **options: options)
    trainer = make_trainer(schedule(20, batch_size=6, epochs=1.65), train_batch_size=3, world_size=2)  # 13 are left
    whole = {"epoch": 0, "steps_in_epoch": 4, "num_update_steps_per_epoch": 4, "start_time": 1.0}
    assert trainer._run_epoch(**whole) == whole
    begun = {**whole, "epoch": 1}
    assert trainer._run_epoch(**begun) == {**begun, "steps_in_epoch": 3, "num_update_steps_per_epoch": 3}
    trainer.args.world_size = 1
    assert trainer._run_epoch(**begun) == {**begun, "steps_in_epoch": 5, "num_update_steps_per_epoch": 3}


class Saver(PreTrainedModel):
    """Remembers how it was saved."""

    def __init__(self) -> None:
        self.saved: list[Any] = []

    def save_pretrained(self, *given: Any, **options: Any) -> None:  # type: ignore[override]
        self.saved.append((*given, options))


def test_checkpoints_have_the_names_of_memory_and_what_is_left_those_of_the_hub() -> None:
    trainer, weights = make_trainer(), {"weight": torch.ones(1)}
    trainer.model = saver = Saver()
    for folder in ("work/checkpoint-3", "work/model"):
        trainer._save(folder, state_dict=weights)
    assert saver.saved == [
        (folder, {"state_dict": weights, "save_original_format": is_final})
        for folder, is_final in (("work/checkpoint-3", False), ("work/model", True))
    ]
    saved: list[Any] = []
    trainer.model = SimpleNamespace(  # type: ignore[assignment] - adapters
        save_pretrained=lambda *given, **options: saved.append((*given, options))
    )
    trainer._save("work/model", state_dict=weights)
    assert saved == [("work/model", {"state_dict": weights})]


def test_the_sample_that_fills_up_has_no_answer(examples: list[Example]) -> None:
    samples = _Examples(examples[:1])
    assert len(samples) == 1
    assert samples[0] is examples[0]
    assert (collate_training([samples[-1]], 0)["labels"] == IGNORED).all()
