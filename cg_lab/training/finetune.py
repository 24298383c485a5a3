"""`run_finetune`: one fine-tune with transformers' Trainer, resumable and the same after any interruption."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from cg_lab.errors import InterruptedByUserError
from cg_lab.models.answer_loss import compute_answer_loss
from cg_lab.models.backbone import LoadedBackbone, restore_weights, select_trainable
from cg_lab.models.encoding import Example, collate_training
from cg_lab.planning.work import FinetuneJob

LOG_EVERY = 5
"""Optimizer steps between two points of the loss curve."""

Event = Callable[..., None]
"""Takes an event's name and its facts; writes a line of the job's journal."""


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a finished fine-tune did."""

    steps: int
    samples: int
    loss_first: float
    loss_last: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a fine-tune needs beside its job; none of it changes the result."""

    folder: Path
    """For checkpoints; the caller removes it once the result is safe."""
    weights: Path
    """Where the fine-tuned weights go."""
    save_every_s: float
    event: Event
    is_stopping: Callable[[], bool]
    """Asked after each step; if true, a checkpoint is saved and the fine-tune ends unfinished."""


def run_finetune(
    job: FinetuneJob, backbone: LoadedBackbone, examples: list[Example], surroundings: Surroundings
) -> Training:
    """Fine-tune a backbone on encoded examples and save its weights.

    The loss is taken at the answers alone. A fine-tune goes on from the last whole checkpoint in its folder, with the
    same data order and random numbers as if it had not stopped.

    Raises
    ------
    NotFiniteError
        If the loss is NaN or infinite.
    InterruptedByUserError
        If it was asked to stop; a checkpoint is left.

    """
    restore_weights(backbone, None)
    select_trainable(backbone, job.recipe.trainable)
    set_seed(job.seed)
    watcher = _Watcher(surroundings)
    trainer = _AnswerTrainer(
        model=backbone.model,
        args=_build_arguments(job, len(examples), surroundings.folder),
        train_dataset=_Examples(examples),
        data_collator=partial(collate_training, pad_id=backbone.processor.tokenizer.pad_token_id),
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=_find_checkpoint(surroundings))
    if watcher.stopped:
        raise InterruptedByUserError("stopped after saving a checkpoint")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    backbone.model.save_pretrained(surroundings.weights, save_original_format=False)
    return Training(
        steps=trainer.state.global_step,
        samples=round(len(examples) * job.recipe.epochs),
        loss_first=losses[0],
        loss_last=losses[-1],
        seconds=time.perf_counter() - began,
    )


class _AnswerTrainer(Trainer):
    """Trainer with the language model's head at the answers only, and checkpoints that it can read back.

    Of models whose weights have other names on the hub than in memory, Trainer saves the hub's names and then finds
    none of them when it resumes (transformers 5.23); so weights are saved under the names that they have in memory.
    """

    def compute_loss(  # type: ignore[override]
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - Trainer's signature
        **_: Any,
    ) -> Any:
        loss = compute_answer_loss(model, inputs)
        return (loss, None) if return_outputs else loss

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        model: Any = self.model
        model.save_pretrained(output_dir or self.args.output_dir, save_original_format=False)


class _Examples(Dataset[Example]):
    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


class _Watcher(TrainerCallback):
    """Writes the loss curve, saves by the clock, and stops when asked."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.stopped = False
        self.saved_at = self.logged_at = time.monotonic()
        self.logged_step = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.logged_step = state.global_step
        if state.global_step:
            self.surroundings.event("resumed", step=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.stopped = self.surroundings.is_stopping() and state.global_step < state.max_steps
        if self.stopped or time.monotonic() - self.saved_at > self.surroundings.save_every_s:
            control.should_save = True
            control.should_training_stop = control.should_training_stop or self.stopped

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.saved_at = time.monotonic()
        self.surroundings.event("saved", step=state.global_step)

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
        samples = (state.global_step - self.logged_step) * args.train_batch_size
        self.surroundings.event(
            "log",
            step=state.global_step,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            samples_per_s=round(samples / max(now - self.logged_at, 1e-9), 1),
        )
        self.logged_at, self.logged_step = now, state.global_step


def _build_arguments(job: FinetuneJob, num_examples: int, folder: Path) -> TrainingArguments:
    recipe = job.recipe
    num_steps = max(1, math.ceil(num_examples * recipe.epochs / recipe.batch_size))
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.batch_size,
        max_steps=num_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup_share * num_steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        logging_steps=LOG_EVERY,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=1,
        seed=job.seed,
        data_seed=job.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
    )


def _find_checkpoint(surroundings: Surroundings) -> str | None:
    """Find the last whole checkpoint; one that a kill cut off is removed."""
    folder = surroundings.folder
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))) is not None:
        if _is_whole(Path(found)):
            return found
        shutil.rmtree(found)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint was written to its end: Trainer writes its state last."""
    try:
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
