"""cg_lab against the tools that a user would take instead, in turn, on the same weights and the same data.

    python benchmarks/peers.py [--write]

Training: TRL's SFTTrainer (`pip install 'cg_lab[peers]'`) with the embedded model, given the same samples in the same
order, the embedded model's chat template with TRL's marks around what an assistant writes, and loss there alone.
Compared are the first batch, its loss and its gradients, the weights and the answers in the end, and samples a second.
Asking: batches processed, generated and decoded with plain transformers, as lm-eval's hf-multimodal does, each of them
parsed; against letters in one forward pass. With --write the table goes into docs/performance.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from evaluation import Task, choose_in_one_forward, make_task
from pages import write_into
from scipy.stats import binomtest
from sft import Run, copy_weights, run_ours, run_trl
from shapes import as_transformers_has_it, describe_machine
from training import CPU_CASES, Case, Material, make_material
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging as transformers_logging

from cg_lab.answer_parser import parse_choice
from cg_lab.models.backbone import using_weights
from cg_lab.models.encoding import encode_seen
from cg_lab.models.prepared import Pool, PreparedImages
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.questions import AnswerForm, format_question

NOT_INSTALLABLE = "not measured: not installable where this was run"
MAX_NEW_TOKENS = 64
Row = tuple[str, ...]


def has_trl() -> bool:
    """Tell whether the peer is installed."""
    try:
        version("trl")
    except PackageNotFoundError:
        return False
    return True


def compare_first_steps(case: Case, material: Material, task: Task) -> list[Row]:
    """Train on one batch with both, which warms them up, too."""
    size = min(case.batch_size, len(material.questions))
    first = replace(material, questions=material.questions[:size], images=material.images[:size])
    ours, theirs = (run(case, first, task, 0, keeps_gradients=True) for run in (run_ours, run_trl))
    assert ours.gradients.keys() == theirs.gradients.keys(), "different parameters are trained"
    ours_P, theirs_P = (_flatten(run.gradients) for run in (ours, theirs))
    cosine = float(ours_P @ theirs_P / ours_P.norm() / theirs_P.norm())
    return [
        (f"{case.title}: loss of the first batch", f"{ours.loss_first:.6f}", f"{theirs.loss_first:.6f}",
         f"differ by {abs(ours.loss_first - theirs.loss_first):.0e}", "equal"),
        (f"{case.title}: gradients of the first batch, their norm", f"{float(ours_P.norm()):.5f}",
         f"{float(theirs_P.norm()):.5f}", f"1 - cosine {abs(1 - cosine):.0e}", "equal"),
    ]  # fmt: skip


def _flatten(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])


def compare_training(case: Case, material: Material, task: Task, rounds: int) -> list[Row]:
    """Fine-tune with both in turn, each round with another order of the samples."""
    before = _flatten(copy_weights(AutoModelForImageTextToText.from_pretrained(WEIGHTS, dtype=torch.float32)))
    pairs: list[tuple[Run, Run]] = []
    for seed in range(rounds):
        ours = run_ours(case, material, task, seed)
        with as_transformers_has_it(material.backbone.model):
            pairs.append((ours, run_trl(case, material, task, seed)))
    count = len(material.questions)
    answers = [pair for ours, theirs in pairs for pair in zip(ours.right, theirs.right, strict=True)]
    only_ours, only_theirs = (sum(pair == one for pair in answers) for one in ((True, False), (False, True)))
    odd = only_ours + only_theirs
    p_value = binomtest(only_ours, odd).pvalue if odd else 1.0
    apart = [
        float((_flatten(ours.weights) - _flatten(theirs.weights)).norm() / (_flatten(theirs.weights) - before).norm())
        for ours, theirs in pairs
    ]
    steps = -(-count // case.batch_size)
    return [
        (f"{case.title}: weights after {steps} steps", "", "",
         f"{statistics.median(apart):.1%} of the way that they went lies between them", ""),
        (f"{case.title}: {len(answers)} held-out answers after {steps} steps",
         *(f"{sum(pair[side] for pair in answers) / len(answers):.1%} right" for side in (0, 1)),
         f"{only_ours} and {only_theirs} right by one alone (p = {p_value:.2f})", "within noise"),
        _tell_speed(f"{case.title}: samples/s", count, [[run.seconds for run in pair] for pair in pairs], "2 x"),
        _tell_speed(
            f"{case.title}: samples for each second of CPU", count,
            [[run.cpu_seconds for run in pair] for pair in pairs], "",
        ),
    ]  # fmt: skip


def _tell_speed(title: str, count: int, seconds: list[list[float]], floor: str) -> Row:
    speeds = [f"{statistics.median(count / pair[side] for pair in seconds):.0f}" for side in (0, 1)]
    ratio = statistics.median(theirs / ours for ours, theirs in seconds)
    return (title, *speeds, f"{ratio:.2f} x", floor)


def choose_from_images(task: Task) -> list[int]:
    """Read images, encode questions and score letters as cg_lab does where nothing is there from an earlier job."""
    images = PreparedImages(task.backbone, Path(), max_gb=0)
    ids = tuple(map(str, range(len(task.images))))
    seen = images.see(Pool(key="all", ids=ids, read=lambda _: task.images, is_kept=False), ids, with_features=False)
    assert seen is not None
    rows = [[example] for example in encode_seen(task.backbone, task.questions, seen)]
    return choose_in_one_forward(replace(task, turns=rows))


@torch.inference_mode()
def write_in_batches(task: Task, model: Any, processor: Any, size: int) -> list[int | None]:
    """Process, generate, decode and parse batches of questions, as lm-eval's hf-multimodal asks."""
    chosen: list[int | None] = []
    numbers = iter(range(len(task.questions)))
    while part := list(islice(numbers, size)):
        texts: list[str] = []
        for number in part:
            asked = format_question(task.questions[number], AnswerForm.LETTER)
            turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]}
            texts.append(processor.apply_chat_template([turn], add_generation_prompt=True))
        images = [[task.images[number].convert("RGB")] for number in part]
        given = processor(text=texts, images=images, padding=True, padding_side="left", return_tensors="pt")
        ids_BT = model.generate(**given, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        written = processor.batch_decode(ids_BT[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        chosen += [
            parse_choice(answer, task.questions[number].options, AnswerForm.LETTER)
            for number, answer in zip(part, written, strict=True)
        ]
    return chosen


def compare_asking(task: Task, weights: Path | None, rounds: int) -> list[Row]:
    """Ask one checkpoint by generation and by letters, in turn; alone is lm-eval's own batch size."""
    model: Any = AutoModelForImageTextToText.from_pretrained(weights or WEIGHTS, dtype=torch.float32).eval()
    processor: Any = AutoProcessor.from_pretrained(weights or WEIGHTS)
    ways: dict[str, Callable[[Task], Sequence[int | None]]] = {
        "letters": choose_from_images,
        "encoded": choose_in_one_forward,
        "batches": partial(write_in_batches, model=model, processor=processor, size=task.batch_size),
        "alone": partial(write_in_batches, model=model, processor=processor, size=1),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    choices: dict[str, Sequence[int | None]] = {}
    with using_weights(task.backbone, weights):
        for number in range(rounds + 1):  # the first warms up
            for name, way in ways.items():
                began, used = time.perf_counter(), time.process_time()
                choices[name] = way(task)
                if number:
                    seconds[name].append((time.perf_counter() - began, time.process_time() - used))
    both = [(a, b) for a, b in zip(choices["letters"], choices["batches"], strict=True) if b is not None]
    count, title = len(task.questions), f"embedded model {'fine-tuned' if weights else 'as it comes'}"

    def tell(what: str, ours: str, theirs: str) -> Row:
        pairs = list(zip(seconds[ours], seconds[theirs], strict=True))
        speeds = [f"{count / statistics.median(wall for wall, _ in seconds[name]):.0f}" for name in (ours, theirs)]
        by_clock, by_cpu = (statistics.median(b[place] / a[place] for a, b in pairs) for place in (0, 1))
        return (f"{title}: {what}", *speeds, f"{by_clock:.1f} x, {by_cpu:.1f} x by seconds of CPU", "5 x")

    size = f"batches of {task.batch_size}"
    return [
        (
            f"{title}: same choice where the written answer parses", "", "",
            f"{sum(a == b for a, b in both)} of {len(both)}; {count - len(both)} of {count} do not parse", "all",
        ),
        tell(f"questions/s, {size} on both sides, images and questions read each time", "letters", "batches"),
        tell(f"the same, read at an earlier evaluation by cg_lab, {size}", "encoded", "batches"),
        tell("questions/s, read each time; generation one by one, as lm-eval does by default", "letters", "alone"),
        tell("the same, read at an earlier evaluation by cg_lab", "encoded", "alone"),
    ]  # fmt: skip


def told(rows: list[Row]) -> list[Row]:
    """Print rows as soon as they are there, beside the tables, since all takes minutes."""
    for row in rows:
        print(*row, sep="; ", file=sys.stderr, flush=True)
    return rows


def write_table(peer: str, rows: Sequence[Row]) -> list[str]:
    """Write one table."""
    head = ("what", "cg_lab", peer, "against each other", "floor")
    return ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)]


def measure_training(task: Task, options: argparse.Namespace) -> list[str]:
    """Compare fine-tunes."""
    if not has_trl():
        return ["TRL: not measured: not installed where this was run."]
    rows: list[Row] = []
    for case in CPU_CASES[: options.cases]:
        material = make_material(replace(case, num_samples=options.samples), tiny=False)
        rows += told(compare_first_steps(case, material, task))
        rows += told(compare_training(case, material, task, options.rounds))
    return write_table(f"TRL {version('trl')}, SFTTrainer", rows)


def measure_asking(task: Task, options: argparse.Namespace) -> list[str]:
    """Compare ways of asking: the embedded model as it comes, and after a fine-tune."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model"
        case = replace(CPU_CASES[0], num_samples=options.samples)
        run_ours(case, make_material(case, tiny=False), task.cut(1), 0, keep=weights)
        rows = [row for one in (None, weights) for row in told(compare_asking(task, one, options.rounds))]
    table = write_table("`generate` in batches, as lm-eval's hf-multimodal asks", rows)
    return [*table, "", f"lm-eval and lmms-eval themselves: {NOT_INSTALLABLE}."]


def main() -> None:
    """Measure, print, and write if asked."""
    parts = {"training": measure_training, "asking": measure_asking}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=parts, help="measure one part")
    parser.add_argument("--cases", type=int, default=2, help="of training: all weights, and a frozen tower")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    task = make_task("tiny_llava", AnswerForm.LETTER, options.questions, 64)
    for name in [options.only] if options.only else parts:
        table = "\n".join(parts[name](task, options))
        how = f"{describe_machine()}; medians of {options.rounds} rounds, in which both sides take turns."
        print(how, table, sep="\n\n", flush=True)
        if options.write:
            write_into("performance.md", f"{name} beside peers", f"{how}\n\n{table}")


if __name__ == "__main__":
    main()
