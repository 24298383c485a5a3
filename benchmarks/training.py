"""What fine-tuning costs: cg_lab against a plain Trainer with its default collator, on the same samples in turn.

The plain loop is what a user writes first: a dataset that runs the processor for each sample and pads it to the longest
one, Trainer's default collator, the loss over the whole turn through the whole model. Both start from the same weights;
preparing samples counts on both sides. On a CPU the embedded model learns from phantoms, once as one job with all
threads and once as `cluster=local` runs a study: a job on each core. On a GPU random weights of true shape learn from
noise, in bfloat16. Prints samples a second, the work that they need (two operations for each multiplication, three
passes of what is trained) and its share of what the chip reached on a large matrix product.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from gc import freeze
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from shapes import SHAPES, as_transformers_has_it, describe_machine, make_backbone, make_images, make_questions
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import PrinterCallback, Trainer, TrainingArguments

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.data.asking import pose_training
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.models.adapters import adapting
from cg_lab.models.answer_loss import compute_answer_loss
from cg_lab.models.backbone import LoadedBackbone, load_backbone, restore_weights, select_trainable
from cg_lab.models.batches import Example, collate_training, move_batch
from cg_lab.models.encoding import encode_questions, encode_seen
from cg_lab.models.identity import identify_backbone
from cg_lab.models.linear import OneDnnLinear
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.reading import reading_in_places
from cg_lab.planning.plan import PlannedCatalog
from cg_lab.planning.work import FinetuneJob, Mixture, MixturePart
from cg_lab.questions import AnyQuestion, Question, format_answer, format_question
from cg_lab.recipe import Lora, TrainablePart
from cg_lab.study import ModelSettings
from cg_lab.training.finetune import run_finetune
from cg_lab.training.fused import run_fused
from cg_lab.training.trainer_arguments import Surroundings

CPU_MODEL = "tiny_llava"
NUM_FUSED = 8
DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
ADAPTERS = Lora(rank=16, alpha=32, dropout=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way of fine-tuning."""

    model: str
    trainable: TrainablePart
    lora: Lora | None = None
    has_features: bool = False
    """Whether the frozen tower's outputs are there already, as for every job of a study but the first."""
    batch_size: int = 32
    num_samples: int = 512

    @property
    def title(self) -> str:
        """Name it in a table."""
        how = "LoRA" if self.lora else "all weights" if self.trainable == "all" else "frozen tower"
        return f"{self.model}, {how}{', outputs of the tower kept' if self.has_features else ''}"


CPU_CASES = (
    Case(model=CPU_MODEL, trainable="all", num_samples=1024),
    Case(model=CPU_MODEL, trainable="language_model_and_projector", num_samples=1024),
    Case(model=CPU_MODEL, trainable="language_model_and_projector", has_features=True, num_samples=1024),
)
GPU_CASES = (
    Case(model="llava_v1_5_7b", trainable="language_model_and_projector", lora=ADAPTERS, num_samples=256),
    Case(model="llava_v1_5_7b", trainable="language_model_and_projector", num_samples=256),
    Case(model="qwen2_5_vl_7b", trainable="language_model_and_projector", lora=ADAPTERS),
    Case(
        model="smolvlm_256m", trainable="language_model_and_projector", lora=ADAPTERS, batch_size=64, num_samples=4096,
    ),
    Case(
        model="smolvlm_256m", trainable="language_model_and_projector", lora=ADAPTERS, has_features=True, batch_size=64,
        num_samples=4096,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is learnt."""

    backbone: LoadedBackbone
    questions: Sequence[AnyQuestion]
    images: Sequence[Image.Image]


def make_material(case: Case, *, tiny: bool) -> Material:
    """Make model and samples."""
    if case.model != CPU_MODEL:
        backbone = make_backbone(case.model, tiny=tiny)
        count = 4 if tiny else case.num_samples
        images = make_images(min(count, 64), SHAPES[case.model].find_side(tiny=tiny))
        return Material(
            backbone=backbone,
            questions=make_questions(backbone, count, tiny=tiny),
            images=[images[number % len(images)] for number in range(count)],
        )
    study = read_study([])
    catalog = read_catalog(study.data)
    planned = PlannedCatalog(data=catalog.data, factors=catalog.factors, tied=(), subsets=catalog.subsets, notes=())
    source = open_source(planned, None)
    share = case.num_samples // len(catalog.subsets)
    mixture = Mixture(parts=tuple(MixturePart(subset=subset.name, count=share) for subset in catalog.subsets), seed=0)
    exam = pose_training(source, {subset.name: subset for subset in catalog.subsets}, mixture)
    assert isinstance(study.model, ModelSettings)
    return Material(
        backbone=load_backbone(identify_backbone(study.model)),
        questions=exam.questions,
        images=source.read_images(exam.samples),
    )


def make_job(case: Case, backbone: LoadedBackbone, num_samples: int) -> FinetuneJob:
    """Make the job of one epoch."""
    recipe = replace(
        read_study([]).finetune, trainable=case.trainable, lora=case.lora, batch_size=min(case.batch_size, num_samples),
        epochs=1,
    )  # fmt: skip
    return FinetuneJob(data=DATA, backbone=backbone.identity, mixture=Mixture(parts=(), seed=0), recipe=recipe, seed=0)


def run_ours(case: Case, material: Material, prepared: PreparedImages | None) -> float:
    """Fine-tune as cg_lab's worker does; `prepared` has the tower's outputs from an earlier job."""
    backbone = material.backbone
    job = make_job(case, backbone, len(material.questions))
    ids = [str(number) for number in range(len(material.questions))]
    with tempfile.TemporaryDirectory() as folder:
        images = prepared or PreparedImages(backbone, Path(folder), max_gb=0)
        pool = Pool(
            key="all", ids=tuple(ids), read=lambda names: [material.images[int(name)] for name in names],
            is_kept=prepared is not None,
        )  # fmt: skip
        freeze()  # as a worker does when it has loaded a model
        began = time.perf_counter()
        seen = images.see(pool, ids, with_features=case.has_features)
        assert seen is not None
        examples = encode_seen(backbone, material.questions, seen)
        surroundings = Surroundings(
            folder=Path(folder) / "checkpoints", weights=Path(folder) / "model", save_every_s=1e9,
            event=lambda *_, **__: None, is_stopping=bool,
        )  # fmt: skip
        run_finetune(job, backbone, examples, surroundings)
        return time.perf_counter() - began


class PlainSamples(Dataset[dict[str, torch.Tensor]]):
    """Each sample through the processor, padded to the longest, as a tutorial has it."""

    def __init__(self, material: Material, longest: int) -> None:
        self.material = material
        self.longest = longest

    def __len__(self) -> int:
        return len(self.material.questions)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        processor, question = self.material.backbone.processor, self.material.questions[index]
        assert isinstance(question, Question)
        form = self.material.backbone.identity.answer
        turns = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": format_question(question, form)}]},
            {"role": "assistant", "content": [{"type": "text", "text": format_answer(question, form)}]},
        ]
        text = processor.tokenizer.apply_chat_template(turns, chat_template=processor.chat_template, tokenize=False)
        given = processor(
            text=[text], images=[[self.material.images[index].convert("RGB")]], padding="max_length",
            max_length=self.longest, return_tensors="pt",
        )  # fmt: skip
        # A grid's rows are the model's own along the first axis; everything else loses the axis of the batch.
        sample = {key: values if key == "image_grid_thw" else values[0] for key, values in given.items()}
        if "image_grid_thw" in sample:
            sample["pixel_values"] = given["pixel_values"]
            sample["image_grid_thw"] = given["image_grid_thw"][0]
        sample["labels"] = sample["input_ids"].masked_fill(sample["attention_mask"] == 0, -100)
        return sample


def run_plain(case: Case, material: Material, longest: int) -> float:
    """Fine-tune with Trainer as it is."""
    backbone = material.backbone
    restore_weights(backbone)
    select_trainable(backbone, case.trainable)
    job = make_job(case, backbone, len(material.questions))
    has_gpu = torch.cuda.is_available()
    with (
        as_transformers_has_it(backbone.model),
        tempfile.TemporaryDirectory() as folder,
        adapting(backbone, case.lora, case.trainable) as model,
    ):
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=job.recipe.batch_size, num_train_epochs=1,
            learning_rate=job.recipe.learning_rate, save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=not has_gpu, bf16=has_gpu, remove_unused_columns=False, dataloader_pin_memory=has_gpu,
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, train_dataset=PlainSamples(material, longest))
        trainer.remove_callback(PrinterCallback)
        began = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began


@cache
def measure_peaks() -> dict[str, float]:
    """Give operations a second of a large matrix product, by library: float32 on a CPU, bfloat16 on a GPU."""
    if torch.cuda.is_available():
        return {"cuBLAS": _measure_peak(torch.matmul, 8192, torch.randn(2, 8192, 8192, dtype=torch.bfloat16).cuda())}
    matrices = torch.randn(2, 2048, 2048)
    layer = OneDnnLinear(2048, 2048, bias=False).requires_grad_(requires_grad=False)
    return {
        "MKL": _measure_peak(torch.matmul, 2048, matrices),
        "oneDNN": _measure_peak(lambda left, _: layer(left), 2048, matrices),
    }


def _measure_peak(multiply: Callable[..., torch.Tensor], side: int, matrices: torch.Tensor) -> float:
    speeds: list[float] = []
    for _ in range(12):
        began = time.perf_counter()
        multiply(*matrices)
        if matrices.is_cuda:
            torch.cuda.synchronize()
        speeds.append(2 * side**3 / (time.perf_counter() - began))
    return max(speeds)


def count_work(case: Case, material: Material, examples: list[Example]) -> float:
    """Count the operations that one sample needs: forward, and twice as many backward through what is trained.

    With adapters the weights' own gradients are not needed, so that backward counts once. Forward operations are those
    that torch counts; its count of convolutions' backward passes takes grouped ones for full ones and is not used.
    """
    backbone = material.backbone
    restore_weights(backbone)
    batch = collate_training(examples[:8], backbone.processor.tokenizer.pad_token_id)
    moved = move_batch(backbone.model, batch)
    image = {key: moved[key] for key in examples[0].image}
    with torch.no_grad(), as_transformers_has_it(backbone.model):
        with reading_in_places(backbone.model), FlopCounterMode(display=False) as counted:
            compute_answer_loss(backbone.model, moved)
        with FlopCounterMode(display=False) as seeing:
            backbone.model.model.get_image_features(**image)
    whole, tower = counted.get_total_flops() / len(examples[:8]), seeing.get_total_flops() / len(examples[:8])
    passes = 2 if case.lora else 3
    if case.trainable == "all":
        return passes * whole
    return passes * (whole - tower) + (0 if case.has_features else tower)


def measure_stall(material: Material, examples: list[Example], batch_size: int) -> float:
    """Give the seconds that making one batch takes, without any device."""
    collate = partial(collate_training, pad_id=material.backbone.processor.tokenizer.pad_token_id)
    samples: Any = examples
    began = time.perf_counter()
    count = sum(1 for _ in DataLoader(samples, batch_size=batch_size, collate_fn=collate))
    return (time.perf_counter() - began) / count


_material: dict[Case, tuple[Material, PreparedImages | None]] = {}


def _run_on_one_core(case: Case, folder: str) -> float:
    """Run a job in a worker process, where the model stays loaded from job to job."""
    torch.set_num_threads(1)
    if case not in _material:
        material = make_material(case, tiny=False)
        kept = PreparedImages(material.backbone, Path(folder), max_gb=100) if case.has_features else None
        _material[case] = (material, kept)
    return run_ours(case, *_material[case])


def measure_side_by_side(rounds: int) -> None:
    """Run a job on each core at a time, against one plain loop with all threads."""
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    with ProcessPoolExecutor(threads, mp_context=context) as pool, tempfile.TemporaryDirectory() as folder:
        for case in CPU_CASES:
            material = make_material(case, tiny=False)
            examples = encode_questions(material.backbone, material.questions, material.images)
            longest = _find_longest(examples)
            work, peaks = count_work(case, material, examples), measure_peaks()
            ratios: list[float] = []
            speeds: list[float] = []
            for number in range(rounds + 1):
                plain = run_plain(case, material, longest)
                began = time.perf_counter()
                jobs = [pool.submit(_run_on_one_core, case, folder) for _ in range(threads)]
                for job in jobs:
                    job.result()
                ours = (time.perf_counter() - began) / threads
                if number:
                    ratios.append(plain / ours)
                    speeds.append(len(material.questions) / ours)
            speed = statistics.median(speeds)
            print(
                f"{case.title}, {threads} jobs at a time: {speed:.1f} samples/s, plain Trainer "
                f"{statistics.median(ratios):.2f} x slower; {_tell_share(work * speed, peaks)}"
            )


def _find_longest(examples: Sequence[Example]) -> int:
    return max(len(example.prompt) + len(example.options[example.answer]) for example in examples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a case is trained."""

    ours: float
    """Samples a second."""
    plain: float
    ratio: float
    """Median over rounds."""
    work: float
    """Operations a second on our side."""
    stall: float
    """Seconds that making a batch takes, for each second of a step."""

    def tell(self, *, with_share: bool = True) -> str:
        """Write it as part of a line, with the share of the chip's peak, which has to be measured."""
        share = f"{_tell_share(self.work, measure_peaks())}; " if with_share else ""
        return (
            f"{self.ours:.1f} samples/s, plain Trainer {self.plain:.1f}: {self.ratio:.2f} x; "
            f"{share}making a batch takes {self.stall:.1%} of a step"
        )


def measure(case: Case, rounds: int, *, tiny: bool) -> Speed:
    """Run both in turn."""
    material = make_material(case, tiny=tiny)
    backbone, count = material.backbone, len(material.questions)
    ids = [str(number) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        prepared = PreparedImages(backbone, Path(folder), max_gb=100) if case.has_features else None
        pool = Pool(key="all", ids=tuple(ids), read=lambda names: [material.images[int(name)] for name in names])
        images = prepared or PreparedImages(backbone, Path(folder), max_gb=0)
        seen = images.see(pool, ids, with_features=case.has_features)
        assert seen is not None
        examples = encode_seen(backbone, material.questions, seen)
        longest = _find_longest(examples)
        work = count_work(case, material, examples)
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        for number in range(tiny, rounds + 1):  # the first warms up
            for name, run in (
                ("plain", partial(run_plain, case, material, longest)),
                ("ours", partial(run_ours, case, material, prepared)),
            ):
                taken = run()
                if number:
                    seconds[name].append(taken)
        stall = measure_stall(material, examples, min(case.batch_size, count))
    ours, plain = (statistics.median(seconds[name]) for name in ("ours", "plain"))
    return Speed(
        ours=count / ours,
        plain=count / plain,
        ratio=statistics.median(b / a for a, b in zip(seconds["ours"], seconds["plain"], strict=True)),
        work=work * count / ours,
        stall=stall / (ours / count * min(case.batch_size, count)),
    )


def _tell_share(speed: float, peaks: dict[str, float]) -> str:
    shares = (f"{speed / peak:.0%} of the {peak / 1e9:.1f} of {name}" for name, peak in peaks.items())
    return f"{speed / 1e9:.1f} GFLOP/s, {' and '.join(shares)} on a large matrix product"


FUSED_CASE = Case(model="smolvlm_256m", trainable="language_model_and_projector", lora=ADAPTERS, batch_size=4)


def measure_fused(case: Case, rounds: int, *, tiny: bool) -> str:
    """Train eight adapters at batch 4 side by side, and one after another."""
    material = make_material(case, tiny=tiny)
    backbone = material.backbone
    examples = encode_questions(backbone, material.questions, material.images)
    job = make_job(case, backbone, len(examples))
    num_fused = 2 if tiny else NUM_FUSED
    jobs = [replace(job, seed=seed) for seed in range(num_fused)]
    seconds: dict[str, list[float]] = {"beside": [], "after": []}
    for number in range(tiny, rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            places = [Path(folder) / str(job.seed) for job in jobs]
            surroundings = [
                Surroundings(
                    folder=place / "checkpoints", weights=place / "model", save_every_s=1e9,
                    event=lambda *_, **__: None, is_stopping=bool,
                )
                for place in places
            ]  # fmt: skip
            began = time.perf_counter()
            run_fused(jobs, backbone, [examples] * num_fused, places, surroundings[0])
            middle = time.perf_counter()
            for one, around in zip(jobs, surroundings, strict=True):
                run_finetune(one, backbone, examples, around)
            if number:
                seconds["beside"].append(middle - began)
                seconds["after"].append(time.perf_counter() - middle)
    ratio = statistics.median(a / b for a, b in zip(seconds["after"], seconds["beside"], strict=True))
    speed = num_fused * len(examples) / statistics.median(seconds["beside"])
    return f"{num_fused} adapters at batch 4 side by side: {speed:.1f} samples/s, {ratio:.2f} x one by one"


def main() -> None:
    """Measure every case that the machine has room for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="run the GPU's cases on tiny models, to see that they run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe_machine())
    has_gpu = torch.cuda.is_available()
    for case in () if arguments.tiny else CPU_CASES if not has_gpu else ():
        print(f"{case.title}: {measure(case, arguments.rounds, tiny=False).tell()}")
    if not (arguments.tiny or has_gpu):
        measure_side_by_side(arguments.rounds)
    for case in GPU_CASES:
        if has_gpu or arguments.tiny:
            print(f"{case.title}: {measure(case, arguments.rounds, tiny=arguments.tiny).tell()}")
        else:
            print(f"{case.title} on a GPU: not measured, there is none here")
    if has_gpu or arguments.tiny:
        print(f"{FUSED_CASE.title}, {measure_fused(FUSED_CASE, arguments.rounds, tiny=arguments.tiny)}")
    else:
        print(f"{NUM_FUSED} adapters side by side on a GPU: not measured, there is none here")


if __name__ == "__main__":
    main()
