"""A fine-tune by a trainer's command: its samples are written, it is run, and what it leaves is checked and taken."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from cg_lab.data.asking import pose_training
from cg_lab.data.image_files import write_image_files
from cg_lab.data.sources import open_source
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.questions import Question, format_answer, format_question
from cg_lab.results import Layout
from cg_lab.serialize import canonical_json, content_id
from cg_lab.training.command_process import CommandProcess, find_path, find_program
from cg_lab.training.exporters import load_exporter
from cg_lab.training.trainer_identity import check_unchanged
from cg_lab.training.trainer_task import TrainerTask, TrainingSample

if TYPE_CHECKING:
    from cg_lab.execution.bench import Conduct
    from cg_lab.models.backbone import LoadedBackbone
    from cg_lab.training.finetune import Training

OF_A_TEAM = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables by which a trainer would take itself for one process of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerRun:
    """One job of a trainer's command, and where it works."""

    job: FinetuneJob
    plan: Plan
    layout: Layout
    threads: int

    @property
    def output(self) -> Path:
        """Folder that the command leaves its weights in."""
        return (self.layout.checkpoints(self.job.id) / "output").resolve()

    @property
    def data(self) -> Path:
        """Folder of what it reads."""
        return (self.layout.checkpoints(self.job.id) / "data").resolve()

    def run(self, conduct: Conduct) -> Training:
        """Run the command to its end; what it left is in `output` then.

        Raises
        ------
        UserError
            If something that was given is wrong.
        InterruptedByUserError
            If it was asked to stop.
        CommandFailedError
            If the command fails.

        """
        from cg_lab.training.checkpoints import find_checkpoint
        from cg_lab.training.energy import name_gpu
        from cg_lab.training.finetune import Training
        from cg_lab.training.left_checkpoint import clear_output, read_state

        _check_job(self.job)
        check_unchanged(self.job.recipe)
        clear_output(self.output)
        found = find_checkpoint(self.output, conduct.event)
        if found:
            conduct.event("resumed", step=_read_step(Path(found)))
        config = self._export(Path(found) if found else None, conduct.parts)
        words = self._fill_in(config)
        conduct.event("command", words=words, version=self.job.recipe.version, files=self.job.recipe.files)
        began = time.perf_counter()
        process = CommandProcess(words, self._environment())
        process.follow(conduct.is_stopping, _watch_checkpoints(self.output, conduct.event))
        seconds = time.perf_counter() - began
        state = read_state(self.output)
        losses = [float(point["loss"]) for point in state.curve]
        for point in state.curve:
            told = {name: point[name] for name in ("step", "loss", "learning_rate") if name in point}
            conduct.event("log", **told)
        count = self.job.mixture.num_samples
        return Training(
            steps=state.steps,
            samples=None if state.epochs is None else round(state.epochs * count),
            loss_first=losses[0] if losses else None,
            loss_last=losses[-1] if losses else None,
            seconds=seconds,
            gpu=name_gpu(),
        )

    def take(self, backbone: LoadedBackbone, conduct: Conduct) -> None:
        """Check what the command left, and put it where a fine-tune's weights are.

        Raises
        ------
        UserError, UnreadableCheckpointError, NotFiniteError
            If it is not the trained model.

        """
        from cg_lab.training.left_checkpoint import check_left, find_left, take_over
        from cg_lab.training.model_card import complete_checkpoint

        base = Path(find_base(self.job))
        try:
            left = find_left(self.output)
            found = check_left(left, self.job, backbone, base)
        except Exception:  # so that no later attempt goes on from it
            refused = self.output.with_name("refused")
            shutil.rmtree(refused, ignore_errors=True)
            self.output.rename(refused)
            raise
        conduct.event("checked", **found)
        weights = self.layout.weights(self.job.id)
        take_over(left, weights, base)
        complete_checkpoint(weights, self.job, f"{self.plan.study} ({self.plan.id})")

    def _export(self, resume_from: Path | None, parts: int) -> Path:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        num_gpus, in_bfloat16 = _find_gpus()
        recipe = self.job.recipe
        assert recipe.exporter is not None
        return load_exporter(recipe.exporter).export(
            TrainerTask(
                samples=self._list_samples(),
                recipe=recipe,
                seed=self.job.seed,
                base=find_base(self.job),
                data=self.data,
                output=self.output,
                resume_from=resume_from,
                num_devices=max(1, num_gpus),
                parts=parts,
                has_gpu=num_gpus > 0,
                in_bfloat16=in_bfloat16,
            )
        )

    def _list_samples(self) -> tuple[TrainingSample, ...]:
        """Ask about the mixture's samples, in a mixed order, since not every trainer mixes them."""
        job = self.job
        catalog = self.plan.catalog_of(job.data)
        source = open_source(catalog, self.layout.data)
        subsets: dict[str, Subset] = {subset.name: subset for subset in catalog.subsets}
        exam = pose_training(source, subsets, job.mixture)
        folder = self.layout.prepared / "images" / content_id("images", 1, canonical_json(job.data))
        paths = write_image_files(source, exam.samples, folder)
        form = job.base.answer
        samples: list[TrainingSample] = []
        for sample, question in zip(exam.samples, exam.questions, strict=True):
            if not isinstance(question, Question):
                raise UserError(
                    f"finetune.by: subset '{sample.subset}' asks for boxes, which only cg_lab itself trains"
                )
            samples.append(
                TrainingSample(
                    id=sample.id,
                    subset=sample.subset,
                    image=paths[sample.id].resolve(),
                    question=format_question(question, form),
                    answer=format_answer(question, form),
                )
            )
        Random(f"order/{job.mixture.seed}/{job.seed}").shuffle(samples)
        return tuple(samples)

    def _fill_in(self, config: Path) -> list[str]:
        assert self.job.recipe.command is not None
        places = {
            "config": str(config), "data": str(self.data), "output": str(self.output), "base": find_base(self.job),
            "seed": str(self.job.seed),
        }  # fmt: skip
        words = shlex.split(self.job.recipe.command)
        for name, value in places.items():
            words = [word.replace(f"{{{name}}}", value) for word in words]
        return [find_program(words, find_path()), *words[1:]]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in OF_A_TEAM}
        cache = str(self.data / "cache")  # so that what `datasets` makes of the samples goes with the job
        given = {"OMP_NUM_THREADS": str(self.threads), "PYTHONUNBUFFERED": "1", "HF_DATASETS_CACHE": cache}
        return kept | given | {"PATH": find_path()}


def find_base(job: FinetuneJob) -> str:
    """Give the folder of a job's untouched model, whose commit is then certain.

    Raises
    ------
    UserError
        If it is not on this machine.

    """
    from cg_lab.models.identity import find_local_folder
    from cg_lab.training.model_card import find_snapshot

    found = find_local_folder(job.base.path) or find_snapshot(job.base)
    if found is None:
        raise UserError(
            f"model.path: '{job.base.path}' is not on this machine; hf download {job.base.path} --revision "
            f"{job.base.revision}"
        )
    return str(found.absolute())


def _check_job(job: FinetuneJob) -> None:
    """Refuse what a trainer of one's own can't be told.

    Raises
    ------
    UserError
        With what it is, and a way out.

    """
    model = job.base
    if model.adapter:
        raise UserError("model.adapter: is asked, not trained any further; take arms=[zero_shot]")
    for name in ("min_pixels", "max_pixels", "max_tiles"):
        if getattr(model, name) is not None:
            raise UserError(
                f"model.{name}: a trainer reads images by the model's own processor; take it out, or set it in a "
                "folder of the model that model.path names"
            )


def _find_gpus() -> tuple[int, bool]:
    """Count the GPUs that a command sees, and tell whether they compute in bfloat16."""
    import torch

    from cg_lab.models.devices import find_device

    if not torch.cuda.is_available():
        return 0, False
    return torch.cuda.device_count(), find_device(torch.device("cuda")).loaded == "bfloat16"


def _watch_checkpoints(output: Path, event: Callable[..., None]) -> Callable[[], bool]:
    """Give what looks for new whole checkpoints, and notes them."""
    known = {path.name for path in output.glob("checkpoint-*")}

    def look() -> bool:
        new = [path for path in output.glob("checkpoint-*/trainer_state.json") if path.parent.name not in known]
        for path in new:
            known.add(path.parent.name)
            event("saved", step=_read_step(path.parent))
        return bool(new)

    return look


def _read_step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def tell_refusal(num_processes: int) -> str:
    """Say why several processes can't run one command."""
    return (
        f"finetune.by: a command starts its own processes, and this task has {num_processes}; give cluster.nodes=1 and "
        "cluster.processes=1, the GPUs of a node are seen all the same"
    )
