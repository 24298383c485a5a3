"""`run_fused`: several fine-tunes with adapters, side by side; each ends as if it had been alone, but for rounding."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cg_lab.errors import InterruptedByUserError
from cg_lab.models.backbone import LoadedBackbone, restore_weights, select_trainable
from cg_lab.models.batches import Example, collate_training
from cg_lab.models.fused import FusedAdapters, attached, build_fused
from cg_lab.models.precision import ParameterCounts
from cg_lab.models.reading import reading_in_places
from cg_lab.models.tower import playing_back
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.planning.work import FinetuneJob
from cg_lab.serialize import read_json, write_json
from cg_lab.training.checkpoints import SaveClock, find_checkpoint
from cg_lab.training.energy import measuring_energy, name_gpu
from cg_lab.training.finetune import NotFiniteError, Training, hold_numbers
from cg_lab.training.memory import Fit
from cg_lab.training.model_card import complete_checkpoint
from cg_lab.training.sample_order import list_in_seeded_order
from cg_lab.training.trainer_arguments import LOG_EVERY, Surroundings, build_arguments

CURVES = "curves.json"
"""Each fine-tune's loss curve so far, beside the checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedTraining:
    """What one of several fine-tunes did."""

    training: Training
    curve: tuple[dict[str, float], ...]
    """The facts of its `log` events."""


def run_fused(
    jobs: Sequence[FinetuneJob],
    backbone: LoadedBackbone,
    examples: Sequence[list[Example]],
    weights: Sequence[Path],
    surroundings: Surroundings,
) -> list[FusedTraining]:
    """Fine-tune several adapters in one forward pass for each step.

    Parameters
    ----------
    jobs
        Of one recipe, with as many samples each.
    backbone
        Stays as it is.
    examples
        Of each job.
    weights
        Where each job's adapters go.
    surroundings
        Of all together; its `weights` is not used.

    Raises
    ------
    NotFiniteError
        If one of the losses is NaN or infinite.
    InterruptedByUserError
        If they were asked to stop; a checkpoint is left.

    """
    recipe, count = jobs[0].recipe, len(examples[0])
    assert all(job.recipe == recipe and len(part) == count for job, part in zip(jobs, examples, strict=True))
    restore_weights(backbone)
    select_trainable(backbone, recipe.trainable)
    fused = build_fused(backbone, recipe, [job.seed for job in jobs])
    watcher = _Watcher(surroundings, len(jobs), recipe.batch_size)
    trained = sum(parameter.numel() for parameter in fused.parameters())
    counts = ParameterCounts(trained=trained, frozen=backbone.model.num_parameters(), has_adapters=True)
    precision = hold_numbers(backbone.model, counts, surroundings)
    fit = Fit(parts=1, checkpointing=False, is_reduced=precision.computes_in_bfloat16, is_measured=False)
    backbone.model.train()
    with playing_back(backbone), attached(fused), reading_in_places(backbone.model):
        trainer = _FusedTrainer(
            model=_FusedModel(fused, watcher),
            args=build_arguments(jobs[0], count, surroundings, fit),
            train_dataset=_SideBySide(jobs, examples),
            data_collator=_Collator(backbone.processor.tokenizer.pad_token_id),
            callbacks=[watcher],
        )
        trainer.remove_callback(PrinterCallback)
        began = time.perf_counter()
        with measuring_energy() as meter:
            trainer.train(resume_from_checkpoint=find_checkpoint(surroundings.folder, surroundings.event))
        if watcher.stopped:
            raise InterruptedByUserError("stopped after saving a checkpoint")
    seconds = (time.perf_counter() - began) / len(jobs)
    for place, folder in enumerate(weights):
        fused.save(place, str(folder))
        complete_checkpoint(folder, jobs[place], surroundings.plan)
    return [
        FusedTraining(
            training=Training(
                steps=trainer.state.global_step,
                samples=schedule_epochs(recipe, count).samples,
                loss_first=curve[0]["loss"],
                loss_last=curve[-1]["loss"],
                seconds=seconds,
                gpu=name_gpu(),
                energy_joules=None if meter.joules is None else meter.joules / len(jobs),
            ),
            curve=tuple(curve),
        )
        for curve in watcher.curves
    ]


class _FusedModel(nn.Module):
    """What Trainer trains: the adapters alone, so that checkpoints hold nothing else."""

    def __init__(self, fused: FusedAdapters, watcher: _Watcher) -> None:
        super().__init__()
        self.trained = nn.ParameterList(fused.parameters())
        self.compute_losses = fused.compute_losses
        self.watcher = watcher

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Give the sum of the losses, whose gradients do not meet."""
        losses_K = self.compute_losses(batch)
        self.watcher.take(losses_K.detach())
        return losses_K.sum()


class _FusedTrainer(Trainer):
    """Trainer whose batches hold as many samples of each fine-tune, and which clips each one's gradients apart."""

    def compute_loss(  # type: ignore[override]
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - Trainer's signature
        num_items_in_batch: Any = None,
    ) -> Any:
        loss = model(inputs)
        return (loss, None) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        places: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(places)

    def _clip_grad_norm(self, model: Any) -> torch.Tensor:
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norms_K = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors_K = (self.args.max_grad_norm / (norms_K + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors_K.reshape(-1, *[1] * (gradient.ndim - 1)))
        return norms_K.max()


class _SideBySide(Dataset[list[Example]]):
    """For each place in the order, the sample that each fine-tune would see there alone, over all epochs."""

    def __init__(self, jobs: Sequence[FinetuneJob], examples: Sequence[list[Example]]) -> None:
        self.examples = examples
        schedule = schedule_epochs(jobs[0].recipe, len(examples[0]))
        num_epochs = schedule.whole_epochs + (schedule.rest > 0)
        self.orders = [_list_order(part, job.seed, num_epochs) for job, part in zip(jobs, examples, strict=True)]

    def __len__(self) -> int:
        return len(self.orders[0])

    def __getitem__(self, index: int) -> list[Example]:
        return [part[order[index]] for part, order in zip(self.examples, self.orders, strict=True)]


def _list_order(examples: list[Example], seed: int, num_epochs: int) -> list[int]:
    """List places as Trainer's sampler does for one fine-tune with this seed."""
    order: list[int] = []
    for epoch in range(num_epochs):
        sampler = list_in_seeded_order(len(examples), seed)
        sampler.set_epoch(epoch)
        order += list(sampler)
    return order


class _Collator:
    """Puts the samples of each fine-tune one after the other."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: list[list[Example]]) -> dict[str, torch.Tensor]:
        return collate_training([example for column in zip(*rows, strict=True) for example in column], self.pad_id)


class _Watcher(TrainerCallback):
    """Keeps each fine-tune's loss curve, saves by the clock, and stops when asked."""

    def __init__(self, surroundings: Surroundings, count: int, batch_size: int) -> None:
        self.surroundings = surroundings
        self.batch_size = batch_size
        self.curves: list[list[dict[str, float]]] = [[] for _ in range(count)]
        self.stopped = False
        self.logged_at = time.monotonic()
        self.clock = SaveClock(surroundings.save_every_s, self.logged_at)
        self.logged_step = 0
        self._losses: list[torch.Tensor] = []

    def take(self, losses_K: torch.Tensor) -> None:
        """Take a step's losses."""
        self._losses.append(losses_K)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.logged_step = state.global_step
        if state.global_step:
            before = read_json(self.surroundings.folder / CURVES)
            self.curves = [[point for point in curve if point["step"] <= state.global_step] for curve in before]
            self.surroundings.event("resumed", step=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.stopped = self.surroundings.is_stopping() and state.global_step < state.max_steps
        if self.stopped or self.clock.is_due():
            self.clock.begin()
            control.should_save = True
            control.should_training_stop = control.should_training_stop or self.stopped
        if state.global_step == 1 or state.global_step % LOG_EVERY == 0:
            self._log(state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        write_json(self.surroundings.folder / CURVES, self.curves)
        seconds = self.clock.end()
        self.surroundings.event("saved", step=state.global_step, seconds=round(seconds, 3))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._losses and not self.curves[0]:
            self._log(state.global_step)

    def _log(self, step: int) -> None:
        means_K = torch.stack(self._losses).mean(dim=0).tolist()
        self._losses.clear()
        now = time.monotonic()
        speed = round((step - self.logged_step) * self.batch_size / max(now - self.logged_at, 1e-9), 1)
        for curve, loss in zip(self.curves, means_K, strict=True):
            if not math.isfinite(loss):
                raise NotFiniteError(f"the loss is {loss} at step {step}; lower finetune.learning_rate")
            curve.append({"step": step, "loss": loss, "samples_per_s": speed})
        self.logged_at, self.logged_step = now, step
