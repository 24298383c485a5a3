"""What scoring costs: letters in one forward against what a user would run instead, and all orders against one.

On a CPU the embedded model is asked about phantoms, with four options each; on a GPU random weights of true shape are.
Every way answers the same questions in turn, and ratios are medians over rounds. Choices of the first two have to be
the same for every question. cg_lab's ways and the passes for each option find questions and images encoded, as a worker
does for every model but the first that it asks; who generates one by one calls the processor for each question.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from shapes import SHAPES, as_transformers_has_it, describe_machine, make_backbone, make_images, make_questions

from cg_lab.answer_parser import parse_choice
from cg_lab.config import read_study
from cg_lab.data.asking import pose_test
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.models.backbone import LoadedBackbone, load_backbone
from cg_lab.models.batches import Example, collate, move_batch
from cg_lab.models.encoding import encode_seen
from cg_lab.models.identity import identify_backbone
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.scoring import score_options
from cg_lab.planning.plan import PlannedCatalog
from cg_lab.planning.work import ORIGINAL
from cg_lab.questions import AnswerForm, Question, format_question, rotate
from cg_lab.study import ModelSettings

CPU_MODEL = "tiny_llava"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Questions as every way gets them."""

    backbone: LoadedBackbone
    questions: list[Question]
    images: list[Image.Image]
    turns: list[list[Example]]
    """In every order of their options."""
    behind_tower: list[Example]
    """In their first order, with the outputs of the tower, as for a model that was fine-tuned with a frozen one."""
    batch_size: int

    @property
    def examples(self) -> list[Example]:
        """In their first order."""
        return [row[0] for row in self.turns]

    def cut(self, count: int) -> Task:
        """Take the first questions."""
        return replace(
            self, questions=self.questions[:count], images=self.images[:count], turns=self.turns[:count],
            behind_tower=self.behind_tower[:count],
        )  # fmt: skip


def make_task(model: str, form: AnswerForm, num_questions: int, batch_size: int, *, tiny: bool = False) -> Task:
    """Make questions with four options."""
    if model == CPU_MODEL:
        study = read_study([])
        catalog = read_catalog(study.data)
        assert isinstance(study.model, ModelSettings)
        backbone = load_backbone(replace(identify_backbone(study.model), answer=form))
        planned = PlannedCatalog(data=catalog.data, factors=catalog.factors, tied=(), subsets=catalog.subsets, notes=())
        source = open_source(planned, None)
        subsets = {subset.name: subset for subset in catalog.subsets if subset.num_options == 4}
        exams = [pose_test(source, subsets, name, ORIGINAL) for name in subsets]
        asked = [question for exam in exams for question in exam.questions][:num_questions]
        images = [image for exam in exams for image in source.read_images(exam.samples)][:num_questions]
    else:
        backbone = make_backbone(model, tiny=tiny)
        backbone = replace(backbone, identity=replace(backbone.identity, answer=form))
        images = make_images(num_questions, SHAPES[model].find_side(tiny=tiny))
        asked = make_questions(backbone, num_questions, tiny=tiny)
    questions = [question for question in asked if isinstance(question, Question)]
    prepared = PreparedImages(backbone, Path(), max_gb=0)
    pool = Pool(key="all", ids=tuple(map(str, range(len(images)))), read=lambda _: images, is_kept=False)
    seen, seen_by_tower = (prepared.see(pool, pool.ids, with_features=has) for has in (False, True))
    assert seen is not None
    assert seen_by_tower is not None
    turned = [[rotate(question, steps) for steps in range(len(question.options))] for question in questions]
    flat = iter(
        encode_seen(
            backbone,
            [turn for row in turned for turn in row],
            [one for one, row in zip(seen, turned, strict=True) for _ in row],
        )
    )
    return Task(
        backbone=backbone, questions=questions, images=images, turns=[[next(flat) for _ in row] for row in turned],
        behind_tower=encode_seen(backbone, questions, seen_by_tower), batch_size=batch_size,
    )  # fmt: skip


def choose_in_one_forward(task: Task) -> list[int]:
    """Score as cg_lab does."""
    return _choose(task, task.examples)


def choose_behind_tower(task: Task) -> list[int]:
    """Score as cg_lab does where a model's tower was frozen, and its outputs are there."""
    return _choose(task, task.behind_tower)


def _choose(task: Task, examples: list[Example]) -> list[int]:
    scores = score_options(task.backbone, [(example,) for example in examples], task.batch_size)
    return [max(range(len(row)), key=row.__getitem__) for (row,) in scores]


def choose_in_every_order(task: Task) -> list[int]:
    """Score all orders as cg_lab does."""
    scores = score_options(task.backbone, task.turns, task.batch_size)
    return [len(rows) for rows in scores]


@torch.inference_mode()
def choose_option_by_option(task: Task) -> list[int]:
    """Run the whole model once for each option, in batches, as a harness without a first-token shortcut does."""
    model = task.backbone.model
    model.eval()
    pad = task.backbone.processor.tokenizer.pad_token_id
    examples = task.examples
    scores: list[list[float]] = [[] for _ in task.questions]
    for choice in range(4):
        for start in range(0, len(examples), task.batch_size):
            part = examples[start : start + task.batch_size]
            endings = [example.options[choice][:1] for example in part]
            batch = move_batch(model, collate(part, endings, pad))
            logits_BTV = model(**batch).logits.float().log_softmax(-1)
            for row, (example, ending) in enumerate(zip(part, endings, strict=True)):
                scores[start + row].append(float(logits_BTV[row, len(example.prompt) - 1, ending[0]]))
    return [max(range(4), key=row.__getitem__) for row in scores]


@torch.inference_mode()
def write_one_by_one(task: Task) -> list[int]:
    """Process, generate and parse each answer alone, as the papers' harnesses do."""
    model, processor = task.backbone.model, task.backbone.processor
    model.eval()
    chosen: list[int] = []
    for question, image in zip(task.questions, task.images, strict=True):
        asked = {"type": "text", "text": format_question(question, AnswerForm.LETTER)}
        turn: Any = {"role": "user", "content": [{"type": "image"}, asked]}
        text = processor.tokenizer.apply_chat_template(
            [turn], chat_template=processor.chat_template, tokenize=False, add_generation_prompt=True
        )
        given = processor(text=[text], images=[[image.convert("RGB")]], return_tensors="pt")
        batch = move_batch(model, given)
        pad_id = processor.tokenizer.pad_token_id
        ids = model.generate(**batch, max_new_tokens=16, do_sample=False, pad_token_id=pad_id)
        answer = processor.tokenizer.decode(ids[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        found = parse_choice(answer, question.options, AnswerForm.LETTER)
        chosen.append(-1 if found is None else found)
    return chosen


Way = Callable[[Task], list[int]]
IN_ONE, BEHIND, APART, ALONE, IN_EVERY = (
    "all options in one forward", "the same, frozen tower", "one forward for each option", "generate one by one, parse",
    "all four orders",
)  # fmt: skip
WAYS: dict[AnswerForm, dict[str, Way]] = {
    AnswerForm.LETTER: {
        IN_ONE: choose_in_one_forward, BEHIND: choose_behind_tower, APART: choose_option_by_option,
        ALONE: write_one_by_one, IN_EVERY: choose_in_every_order,
    },
    AnswerForm.TEXT: {
        IN_ONE: choose_in_one_forward, BEHIND: choose_behind_tower, IN_EVERY: choose_in_every_order,
    },
}  # fmt: skip


def main() -> None:
    """Print questions a second of each way, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[CPU_MODEL, *SHAPES])
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="run the GPU's cases on tiny models, to see that they run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe_machine())
    models = [arguments.model] if arguments.model else list(SHAPES) if arguments.tiny else [CPU_MODEL]
    if not arguments.model and torch.cuda.is_available():
        models.append("llava_v1_5_7b")
    for model in models:
        for form in AnswerForm:
            task = make_task(model, form, arguments.questions, arguments.batch_size, tiny=arguments.tiny)
            tell(measure(task, form, arguments.rounds), task, model, form)
    if not (torch.cuda.is_available() or arguments.tiny):
        print("llava_v1_5_7b on a GPU: not measured, there is none here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every way's times and choices."""

    count: int
    seconds: dict[str, list[float]]
    """Of each round."""
    choices: dict[str, list[int]]

    def find_speed(self, name: str) -> float:
        """Give a way's questions a second."""
        return self.count / statistics.median(self.seconds[name])

    def find_ratio(self, name: str) -> float:
        """Give a way's time against that of the first."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[IN_ONE], strict=True))

    def count_same(self) -> int:
        """Count the questions at which scoring each option apart chooses the same."""
        return sum(a == b for a, b in zip(self.choices[IN_ONE], self.choices[APART], strict=True))


def measure(task: Task, form: AnswerForm, rounds: int) -> Comparison:
    """Run every way in turn, once to warm up."""
    ways = WAYS[form]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    choices: dict[str, list[int]] = {}
    small = task.cut(16)
    for choose in ways.values():
        choose(small)
    for _ in range(rounds):
        for name, choose in ways.items():
            with as_transformers_has_it(task.backbone.model) if name in (APART, ALONE) else nullcontext():
                began = time.perf_counter()
                choices[name] = choose(task)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                seconds[name].append(time.perf_counter() - began)
    return Comparison(count=len(task.questions), seconds=seconds, choices=choices)


def tell(compared: Comparison, task: Task, model: str, form: AnswerForm) -> None:
    """Print questions a second of each way, and the ratios."""
    count = compared.count
    print(f"{model}, answers by {form}: {count} questions with four options, batches of {task.batch_size}")
    for name in compared.seconds:
        speed, ratio = compared.find_speed(name), compared.find_ratio(name)
        print(f"  {name:30} {speed:8.1f} questions/s {ratio:6.2f} x the time of the first")
    if form is AnswerForm.LETTER:
        parsed = sum(choice >= 0 for choice in compared.choices[ALONE])
        print(
            f"  same choice in {compared.count_same()} of {count} by the first two; "
            f"{parsed} of the answers written could be parsed"
        )


if __name__ == "__main__":
    main()
