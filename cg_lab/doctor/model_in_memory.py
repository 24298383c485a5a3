"""What a model is and how it is asked and trained, found by loading it: the only checks here that need torch."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.doctor.training_data import Lesson
from cg_lab.errors import UserError
from cg_lab.execution.local import count_slots, list_gpus
from cg_lab.questions import Question
from cg_lab.study import Backbone, LocalSettings, Study

NUM_STEPS = 4
"""Steps that are timed, but for the first, which warms up."""
FAR_OFF = 3.0
"""Times that a measured rate may differ from the declared one before plans mislead."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError, RuntimeError)
"""What transformers raises at files that do not fit together."""


class _EnoughError(Exception):
    """All steps that are timed were taken."""


def check_architecture(folder: Path, attention: str | None = None) -> CheckResult:
    """Check that transformers has the model, and tell how it attends; no weights are read."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model: Any = AutoModelForImageTextToText.from_config(config, attn_implementation=attention)
    except UNREADABLE as error:
        return _fault("architecture", _first_line(error), "take a model that transformers has as image-text-to-text")
    attention = model.config._attn_implementation
    return CheckResult(
        name="architecture",
        found=f"{type(model).__name__}, {model.num_parameters():,} parameters, attention {attention}",
    )


def check_frame(backbone: Backbone, folder: Path, question: Question) -> CheckResult:
    """Show how one question is asked, what of it is trained on, and where generation stops; no weights are read."""
    from transformers import AutoConfig, GenerationConfig

    from cg_lab.models.contract import SIDE, prove_contract
    from cg_lab.models.image_cost import measure_image
    from cg_lab.models.processors import apply_image_limits, load_processor

    try:
        processor = load_processor({"pretrained_model_name_or_path": str(folder)})
        apply_image_limits(processor, backbone)
        config = AutoConfig.from_pretrained(folder)
        has_file = (folder / "generation_config.json").exists()
        generation = GenerationConfig.from_pretrained(folder) if has_file else None
        model = SimpleNamespace(config=config, generation_config=generation)
        contract = prove_contract(processor, model, backbone, question)
        cost = measure_image(processor, backbone, SIDE)
    except UserError as error:
        return _fault("question", str(error), "")
    except UNREADABLE as error:
        return _fault("question", f"the processor can't be loaded: {_first_line(error)}", "copy it from the checkpoint")
    costs = f"{contract.num_image_tokens} tokens"
    costs += f", {cost.tell()}" if cost else "; it can't be prepared apart from its question, so that nothing is kept"
    return CheckResult(
        name="question",
        found=f"asked by the model's own template; an image of {SIDE} x {SIDE} takes {costs}",
        details=(
            *(f"| {line}" for line in contract.prompt.splitlines()),
            f"trained on   {' '.join(repr(token) for token in contract.trained_on[contract.num_lead :])}",
            f"stops at     {contract.end!r}",
        ),
    )


def check_step(study: Study, backbone: Backbone, lesson: Lesson) -> CheckResult:
    """Load the model, take a few steps of a fine-tune, and hold their rate against what the model declares."""
    import torch

    from cg_lab.models.backbone import load_backbone
    from cg_lab.models.encoding import encode_questions
    from cg_lab.training.finetune import run_finetune
    from cg_lab.training.trainer_arguments import Surroundings

    job = lesson.job
    assert job is not None
    if isinstance(study.cluster, LocalSettings):
        torch.set_num_threads(count_slots(study.cluster.slots, len(list_gpus()))[1])
    ends: list[float] = []
    events: list[str] = []

    def look() -> bool:
        ends.append(time.perf_counter())
        if len(ends) == NUM_STEPS:
            raise _EnoughError
        return False

    def note(event: str, **facts: object) -> None:
        if event in {"precision", "fitted"}:
            events.append(f"{event}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))

    with tempfile.TemporaryDirectory() as folder:
        surroundings = Surroundings(
            folder=Path(folder) / "checkpoints",
            weights=Path(folder) / "model",
            save_every_s=float("inf"),
            event=note,
            is_stopping=look,
        )
        try:
            loaded = load_backbone(backbone)
            examples = encode_questions(loaded, lesson.questions, lesson.images)
            batch = list(islice(cycle(examples), job.recipe.batch_size))
            run_finetune(
                replace(job, recipe=replace(job.recipe, epochs=NUM_STEPS, min_steps=0)), loaded, batch, surroundings
            )
        except _EnoughError:
            pass
        except UserError as error:
            return _fault("step", str(error), "")
    rate = job.recipe.batch_size * (NUM_STEPS - 1) / (ends[-1] - ends[0])
    gpus = study.model.rate_gpus
    declared = study.model.train_samples_per_s / gpus
    each = "one slot" if gpus == 1 else f"each of {gpus} GPUs"
    found = f"{rate:,.3g} samples/s in training, one process alone; declared for {each}: {declared:,.3g}"
    if not 1 / FAR_OFF < rate / declared < FAR_OFF:
        return CheckResult(
            name="step",
            status=Status.WARNING,
            found=found,
            way_out=f"plan foretells time by what is declared: model.train_samples_per_s={rate:.3g}"
            + ("" if gpus == 1 else " model.rate_gpus=1"),
            details=tuple(events),
        )
    return CheckResult(name="step", found=found, details=tuple(events))


def silence() -> None:
    """Keep transformers' own words off the page."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _fault(name: str, found: str, way_out: str) -> CheckResult:
    return CheckResult(name=name, status=Status.FAULT, found=found, way_out=way_out)
