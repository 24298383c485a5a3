"""`run_finetune`: one fine-tune with transformers' Trainer, resumable and the same after any interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.models.adapters import adapting
from cg_lab.models.answer_loss import compute_answer_loss
from cg_lab.models.backbone import LoadedBackbone, restore_weights, select_trainable
from cg_lab.models.batches import Example, collate_training
from cg_lab.models.precision import ParameterCounts, Precision
from cg_lab.models.reading import reading_in_places
from cg_lab.models.tower import playing_back
from cg_lab.planning.schedule import Schedule, schedule_epochs
from cg_lab.planning.work import FinetuneJob
from cg_lab.training.checkpoints import SaveClock, find_checkpoint
from cg_lab.training.energy import measuring_energy, name_gpu
from cg_lab.training.host_adamw import HostAdamW
from cg_lab.training.memory import count_parameters, find_precision, fit_memory, trained_in_float32
from cg_lab.training.model_card import complete_checkpoint
from cg_lab.training.sample_order import ByLength, EpochSampler, list_in_seeded_order
from cg_lab.training.trainer_arguments import Surroundings, build_arguments


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a finished fine-tune did."""

    steps: int | None
    samples: int | None
    loss_first: float | None
    loss_last: float | None
    """None where a trainer that is not ours does not say it."""
    seconds: float
    gpu: str = ""
    """Name; empty where there is none."""
    energy_joules: float | None = None
    """As `cg_lab.training.energy` measures it; None if it can't, and if several processes took part."""


def run_finetune(
    job: FinetuneJob, backbone: LoadedBackbone, examples: list[Example], surroundings: Surroundings
) -> Training:
    """Fine-tune a backbone on encoded examples and save its weights.

    The loss is taken at the answers alone. How numbers are held is decided by `choose_precision`. A fine-tune goes on
    from the last whole checkpoint in its folder, with the same data order and random numbers as if it had not stopped.

    Raises
    ------
    UserError
        If there is no room for it.
    NotFiniteError
        If the loss is NaN or infinite.
    InterruptedByUserError
        If it was asked to stop; a checkpoint is left.

    """
    if job.base.adapter:
        raise UserError(
            f"model.adapter: '{job.base.adapter}' is asked, not trained any further; take arms=[zero_shot], or "
            "model.path with its weights merged"
        )
    restore_weights(backbone)
    select_trainable(backbone, job.recipe.trainable)
    set_seed(job.seed)
    watcher = _Watcher(surroundings, job.recipe.batch_size)
    collator = partial(collate_training, pad_id=backbone.processor.tokenizer.pad_token_id)
    with (
        _answering(backbone.model),
        playing_back(backbone),
        adapting(backbone, job.recipe.lora, job.recipe.trainable) as model,
        reading_in_places(backbone.model),
    ):
        counts = count_parameters(model, has_adapters=job.recipe.lora is not None)
        precision = hold_numbers(model, counts, surroundings)
        with trained_in_float32(backbone.model, precision):
            fit = fit_memory(
                model,
                # Several processes hold a part of each batch, and maybe of the weights.
                partial(_make_longest, examples, collator) if surroundings.num_processes == 1 else None,
                precision,
                batch_size=job.recipe.batch_size,
                parts=surroundings.parts,
                checkpointing=job.recipe.gradient_checkpointing == "always",
            )
            if fit.is_measured:
                surroundings.event("fitted", parts=fit.parts, gradient_checkpointing=fit.checkpointing)
            arguments = build_arguments(job, len(examples), surroundings, fit)
            trainer = _AnswerTrainer(
                model=model,
                args=arguments,
                train_dataset=_Examples(examples),
                data_collator=collator,
                callbacks=[watcher],
                optimizer_cls_and_kwargs=(HostAdamW, Trainer.get_optimizer_cls_and_kwargs(arguments)[1])
                if precision.masters == "host"
                else None,
            )
            trainer.schedule = schedule_epochs(job.recipe, len(examples))
            if job.recipe.batches == "by_length":
                trainer.lengths = [len(example.prompt) for example in examples]
            trainer.remove_callback(PrinterCallback)
            if surroundings.is_sharded and not trainer.is_fsdp_enabled:
                raise UserError("cluster.sharding: fsdp works on GPUs alone; take ddp here")
            began = time.perf_counter()
            with measuring_energy() as meter:
                trainer.train(resume_from_checkpoint=find_checkpoint(surroundings.folder, surroundings.event))
            if watcher.stopped:
                raise InterruptedByUserError("stopped after saving a checkpoint")
        trainer.save_model(str(surroundings.weights))
        if trainer.is_world_process_zero():
            complete_checkpoint(surroundings.weights, job, surroundings.plan)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Training(
        steps=trainer.state.global_step,
        samples=schedule_epochs(job.recipe, len(examples)).samples,
        loss_first=losses[0],
        loss_last=losses[-1],
        seconds=time.perf_counter() - began,
        gpu=name_gpu(),
        energy_joules=meter.joules if surroundings.num_processes == 1 else None,
    )


def hold_numbers(model: Any, counts: ParameterCounts, surroundings: Surroundings) -> Precision:
    """Choose how a fine-tune's numbers are held, and write it down if any are in bfloat16.

    Raises
    ------
    UserError
        If there is no room for it.

    """
    precision = find_precision(
        model,
        counts,
        surroundings.device,
        num_processes=surroundings.num_processes,
        is_sharded=surroundings.is_sharded,
    )
    if precision.computes_in_bfloat16:
        surroundings.event("precision", loaded=precision.loaded, float32_masters=precision.masters)
    return precision


def _make_longest(examples: list[Example], collate: Any, size: int) -> dict[str, torch.Tensor]:
    return collate(sorted(examples, key=lambda example: -len(example.prompt))[:size])


@contextmanager
def _answering(model: Any) -> Iterator[None]:
    """Let a model's forward pass give the loss at the answers, also through what wraps it for several processes.

    Trainer counts the answers of a batch only for a model that is said to take their number (transformers 5.23).
    accelerate wraps that pass in autocast, and leaves a model alone that it has wrapped before (1.15): without a trace
    of it, the next fine-tune of this process is wrapped as well.
    """
    model.forward = MethodType(compute_answer_loss, model)
    model.accepts_loss_kwargs = True
    try:
        yield
    finally:
        for name in ("forward", "accepts_loss_kwargs", "_original_forward", "_is_accelerate_prepared"):
            vars(model).pop(name, None)


class _AnswerTrainer(Trainer):
    """Trainer with the language model's head at the answers only, and checkpoints that it can read back.

    Of models whose weights have other names on the hub than in memory, Trainer saves the hub's names and then finds
    none of them when it resumes (transformers 5.23); so checkpoints hold the names that weights have in memory, and
    what a fine-tune leaves those of the hub.
    """

    lengths: list[int] | None = None
    """Of the samples' prompts; then those of like length are put in one batch."""
    schedule: Schedule
    """Of the fine-tune."""

    @property
    def at_once(self) -> int:
        """Samples that go through all processes in one pass."""
        return self.args.train_batch_size * self.args.world_size

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        schedule, seed = self.schedule, self.args.seed
        sampler: Any = (
            list_in_seeded_order(schedule.num_samples, seed)
            if self.lengths is None
            else ByLength(schedule.batch_size, self.lengths, seed)
        )
        return EpochSampler(sampler, schedule, fill_to=self.at_once if self.args.world_size > 1 else 1)

    def _run_epoch(self, **options: Any) -> Any:  # type: ignore[override] - Trainer names every argument
        """Run an epoch; one that is only begun has fewer batches than Trainer counts with."""
        if options["epoch"] == self.schedule.whole_epochs:
            options["steps_in_epoch"] = math.ceil(self.schedule.rest / self.at_once)
            options["num_update_steps_per_epoch"] = math.ceil(self.schedule.rest / self.schedule.batch_size)
        return super()._run_epoch(**options)

    def compute_loss(  # type: ignore[override] - nothing asks for outputs
        self, model: Any, inputs: Any, num_items_in_batch: Any = None
    ) -> Any:
        """Give the mean over the answer tokens of the whole batch, of which this pass may hold a part."""
        if self.args.gradient_accumulation_steps * self.args.world_size == 1:
            return model(inputs)  # the pass holds the whole batch
        return model(inputs, num_items_in_batch) * self.args.world_size  # gradients are averaged over processes

    def _save(self, output_dir: str, state_dict: Any = None) -> None:  # type: ignore[override] - Trainer always says it
        model: Any = self.model
        options: dict[str, Any] = {"state_dict": state_dict}
        if isinstance(model, PreTrainedModel):  # adapters have the names that they have in memory
            options["save_original_format"] = not Path(output_dir).name.startswith(PREFIX_CHECKPOINT_DIR)
        model.save_pretrained(output_dir, **options)


class _Examples(Dataset[Example]):
    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index] if index >= 0 else replace(self.examples[0], options=((),), answer=0)


class _Watcher(TrainerCallback):
    """Writes the loss curve, saves by the clock, and stops when asked."""

    logged_step: int
    """Of the last point of the curve, or what the fine-tune goes on from."""

    def __init__(self, surroundings: Surroundings, batch_size: int) -> None:
        self.surroundings = surroundings
        self.batch_size = batch_size
        self.stopped = False
        self.logged_at = time.monotonic()
        self.clock = SaveClock(surroundings.save_every_s, self.logged_at)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.logged_step = state.global_step
        if state.global_step:
            self.surroundings.event("resumed", step=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        agree = self.surroundings.agree
        self.stopped = agree(self.surroundings.is_stopping()) and state.global_step < state.max_steps
        if agree(self.clock.is_due()) or self.stopped:
            self.clock.begin()
            control.should_save = True
            control.should_training_stop = control.should_training_stop or self.stopped

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        seconds = self.clock.end()
        self.surroundings.event("saved", step=state.global_step, seconds=round(seconds, 3))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise NotFiniteError(
                f"the loss is {logs['loss']} at step {state.global_step}; lower finetune.learning_rate"
            )
        now = time.monotonic()
        samples = (state.global_step - self.logged_step) * self.batch_size
        self.surroundings.event(
            "log",
            step=state.global_step,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            samples_per_s=round(samples / max(now - self.logged_at, 1e-9), 1),
        )
        self.logged_at, self.logged_step = now, state.global_step
