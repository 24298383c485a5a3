"""One fine-tune by cg_lab and by TRL's SFTTrainer, on the same weights and samples."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from gc import freeze
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from evaluation import Task, choose_in_one_forward
from training import Case, Material, make_job
from transformers import AutoModelForImageTextToText, AutoProcessor, PrinterCallback
from transformers.utils.chat_template_utils import render_jinja_template

from cg_lab.models.backbone import LoadedBackbone, restore_weights, select_trainable, using_weights
from cg_lab.models.encoding import encode_seen
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.work import FinetuneJob
from cg_lab.questions import Question, format_answer, format_question
from cg_lab.recipe import Recipe
from cg_lab.training.finetune import run_finetune
from cg_lab.training.sample_order import list_in_seeded_order
from cg_lab.training.trainer_arguments import Surroundings

CONTENT = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
)
TRL_TEMPLATE = (
    f"{{% for message in messages %}}{{% if message['role'] == 'user' %}}<|user|>{CONTENT}{{% else %}}<|assistant|>"
    f"{{% generation %}} {CONTENT}<eos>{{% endgeneration %}}{{% endif %}}{{% endfor %}}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""The embedded model's, with the marks by which TRL finds what an assistant writes."""

Gradients = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One fine-tune."""

    seconds: float
    cpu_seconds: float
    """Of all threads; says more where other processes want the same cores."""
    loss_first: float
    gradients: Gradients
    """Of its last step, before they are clipped, by parameter; empty if they were not kept."""
    weights: dict[str, torch.Tensor]
    right: list[bool]
    """For each held-out question."""


@contextmanager
def keeping_gradients(model: Any, *, is_kept: bool) -> Iterator[Gradients]:
    """Note the gradients that a training adds up."""
    kept: Gradients = {}

    def note(name: str, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        kept[name] = parameter.grad.detach().clone()

    trained = [(name, one) for name, one in model.named_parameters() if is_kept and one.requires_grad]
    hooks = [one.register_post_accumulate_grad_hook(partial(note, name)) for name, one in trained]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def find_right(task: Task, backbone: LoadedBackbone) -> list[bool]:
    """Ask the held-out questions."""
    chosen = choose_in_one_forward(replace(task, backbone=backbone))
    return [choice == question.answer for choice, question in zip(chosen, task.questions, strict=True)]


def run_ours(
    case: Case, material: Material, task: Task, seed: int, *, keeps_gradients: bool = False, keep: Path | None = None
) -> Run:
    """Fine-tune as a worker does: images read, questions encoded, weights saved."""
    backbone = material.backbone
    job = replace(make_job(case, backbone, len(material.questions)), seed=seed)
    restore_weights(backbone)
    select_trainable(backbone, case.trainable)
    ids = tuple(str(number) for number in range(len(material.questions)))
    with (
        tempfile.TemporaryDirectory() as folder,
        keeping_gradients(backbone.model, is_kept=keeps_gradients) as gradients,
    ):
        images = PreparedImages(backbone, Path(folder), max_gb=0)
        read: Callable[[Any], Any] = lambda names: [material.images[int(name)] for name in names]  # noqa: E731
        weights = keep or Path(folder) / "model"
        surroundings = Surroundings(
            folder=Path(folder) / "checkpoints", weights=weights, save_every_s=1e9,
            event=lambda *_, **__: None, is_stopping=bool,
        )  # fmt: skip
        freeze()  # as a worker does when it has loaded a model
        began, used = time.perf_counter(), time.process_time()
        seen = images.see(Pool(key="all", ids=ids, read=read, is_kept=False), ids, with_features=False)
        assert seen is not None
        examples = encode_seen(backbone, material.questions, seen)
        training = run_finetune(job, backbone, examples, surroundings)
        assert training.loss_first is not None
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - used
        with using_weights(backbone, weights):
            return Run(
                seconds=seconds, cpu_seconds=cpu_seconds, loss_first=training.loss_first, gradients=gradients,
                weights=copy_weights(backbone.model), right=find_right(task, backbone),
            )  # fmt: skip


def copy_weights(model: Any) -> dict[str, torch.Tensor]:
    """Copy a model's weights, by name."""
    return {name: values.detach().clone() for name, values in model.named_parameters()}


def check_template(own: str) -> None:
    """See that TRL's template writes what the embedded model's own does."""
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}
    turns = [user, {"role": "assistant", "content": [{"type": "text", "text": "B"}]}]
    for messages, is_asking in ((turns, False), (turns[:1], True)):
        (written,), (marked,) = (
            render_jinja_template([messages], chat_template=one, add_generation_prompt=is_asking)[0]
            for one in (own, TRL_TEMPLATE)
        )
        assert written == marked


def make_samples(material: Material, order: Sequence[int]) -> Dataset:
    """Make the data set that TRL's pages describe: messages and images."""
    form = material.backbone.identity.answer
    rows: list[dict[str, Any]] = []
    for number in order:
        question = material.questions[number]
        assert isinstance(question, Question)
        asked, answer = format_question(question, form), format_answer(question, form)
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        rows.append({"messages": turns, "images": [material.images[number].convert("RGB")]})
    return Dataset.from_list(rows)


def make_sft_trainer(job: FinetuneJob, folder: str, model: Any, processor: Any, samples: Dataset) -> Any:
    """Say to SFTTrainer what a job's recipe says; what it does by itself to save memory, and costs time, is off."""
    trl: Any = import_module("trl")
    recipe: Recipe = job.recipe
    steps = -(-len(samples) // recipe.batch_size)
    arguments = trl.SFTConfig(
        output_dir=folder, per_device_train_batch_size=recipe.batch_size, num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate, lr_scheduler_type="cosine", weight_decay=recipe.weight_decay,
        warmup_steps=round(recipe.warmup_share * steps), max_grad_norm=recipe.max_grad_norm, optim="adamw_torch_fused",
        assistant_only_loss=True, max_length=None, gradient_checkpointing=False, bf16=False, use_cpu=True,
        train_sampling_strategy="sequential", dataloader_pin_memory=False, seed=job.seed, save_strategy="no",
        report_to=[], disable_tqdm=True, logging_steps=5, logging_first_step=True,
    )  # fmt: skip
    trainer = trl.SFTTrainer(model=model, args=arguments, train_dataset=samples, processing_class=processor)
    trainer.remove_callback(PrinterCallback)
    return trainer


def run_trl(case: Case, material: Material, task: Task, seed: int, *, keeps_gradients: bool = False) -> Run:
    """Fine-tune with SFTTrainer, from the files of the embedded model."""
    job = replace(make_job(case, material.backbone, len(material.questions)), seed=seed)
    model: Any = AutoModelForImageTextToText.from_pretrained(WEIGHTS, dtype=torch.float32)
    processor: Any = AutoProcessor.from_pretrained(WEIGHTS)
    check_template(processor.chat_template)
    processor.chat_template = TRL_TEMPLATE
    loaded = replace(material.backbone, model=model, untouched={}, hub_names={})
    select_trainable(loaded, case.trainable)
    samples = make_samples(material, list(list_in_seeded_order(len(material.questions), seed)))
    with tempfile.TemporaryDirectory() as folder, keeping_gradients(model, is_kept=keeps_gradients) as gradients:
        began, used = time.perf_counter(), time.process_time()
        trainer = make_sft_trainer(job, folder, model, processor, samples)
        trainer.train()
        trainer.save_model(f"{folder}/model")
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - used
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Run(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        loss_first=losses[0],
        gradients=gradients,
        weights=copy_weights(model),
        right=find_right(task, loaded),
    )
