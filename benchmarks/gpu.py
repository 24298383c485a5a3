"""What docs/performance.md says of a GPU, measured by one command in at most ten minutes.

    python benchmarks/gpu.py [--write]

Models have true shapes and random weights, so that nothing is downloaded. Rows are measured in turn; what has no time
left is not measured, and without a GPU nothing is. With --write the table goes into docs/performance.md. With
`--device cpu` tiny models go the same ways, to see that they run; their figures say nothing.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from evaluation import ALONE, APART, IN_ONE, make_task, measure as measure_asking
from pages import write_into
from shapes import describe_machine, make_backbone, make_images, make_questions
from training import FUSED_CASE, GPU_CASES, Case, make_job, measure as measure_training, measure_fused

from cg_lab.errors import UserError
from cg_lab.models.backbone import load_backbone
from cg_lab.models.devices import find_device
from cg_lab.models.encoding import encode_questions
from cg_lab.models.precision import Device
from cg_lab.questions import AnswerForm
from cg_lab.study import Backbone
from cg_lab.training.finetune import run_finetune
from cg_lab.training.trainer_arguments import Surroundings

MODEL = "llava_v1_5_7b"
MINUTES = 10.0
ROOM = 80 * 10**9
"""Bytes of the GPU that full fine-tuning of a 7B has to do with."""
STARTED = "first step done"
NO_GPU = "not measured: there is no GPU here"
FEWER = {"smolvlm_256m": 1024}
"""Samples of a case, of which others have 128: the command has ten minutes."""


class OutOfTime(BaseException):
    """The command's time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    title: str
    floor: str
    measure: Callable[[], str]


def list_rows(*, tiny: bool) -> list[Row]:
    """List what is measured, what has a floor first."""
    rows = [
        Row(
            title="start of a pack of LLaVA-1.5-7B: imports, weights from local disk, first step with adapters",
            floor="60 s",
            measure=partial(measure_start, tiny=tiny),
        ),
        Row(
            title="full fine-tuning of LLaVA-1.5-7B within 80 GB, float32 masters",
            floor="runs",
            measure=partial(measure_full, tiny=tiny),
        ),
        Row(
            title="LLaVA-1.5-7B, letters of four options in one forward pass",
            floor="5 x",
            measure=partial(measure_letters, tiny=tiny),
        ),
    ]
    # On tiny models the cases differ in nothing that one has not shown.
    for case in GPU_CASES[-1:] if tiny else GPU_CASES:
        fewer = replace(case, num_samples=FEWER.get(case.model, 128))
        told = partial(_tell_training, fewer, tiny=tiny)
        rows.append(Row(title=f"training: {case.title}", floor="", measure=told))
    fused = partial(measure_fused, replace(FUSED_CASE, num_samples=128), 1, tiny=tiny)
    rows.append(Row(title=f"training: {FUSED_CASE.title}, several adapters", floor="", measure=fused))
    return rows


def _tell_training(case: Case, *, tiny: bool) -> str:
    return measure_training(case, 1, tiny=tiny).tell(with_share=not tiny)


def measure_letters(*, tiny: bool) -> str:
    """Ask by letters, by a pass for each option, and by generation one by one."""
    task = make_task(MODEL, AnswerForm.LETTER, 2 if tiny else 64, 32, tiny=tiny)
    compared = measure_asking(task, AnswerForm.LETTER, 1)
    return (
        f"{compared.find_speed(IN_ONE):.1f} questions/s; generation one by one {compared.find_ratio(ALONE):.1f} x the "
        f"time, a pass for each option {compared.find_ratio(APART):.1f} x; same choice by the latter in "
        f"{compared.count_same()} of {compared.count}"
    )


def measure_full(*, tiny: bool) -> str:
    """Train all weights for two steps with so little memory that float32 weights have no room on the device."""
    backbone = make_backbone(MODEL, tiny=tiny)
    model: Any = backbone.model
    device = find_device(model.device)
    if tiny:  # as a GPU would have it
        model.to(torch.bfloat16)
        count = sum(parameter.numel() for parameter in model.parameters())
        device = replace(device, name="stand-in", memory=10 * count, is_gpu=True)
    else:
        device = replace(device, memory=min(device.memory, ROOM))
        torch.cuda.set_per_process_memory_fraction(device.memory / find_device(model.device).memory)
        torch.cuda.reset_peak_memory_stats()
    case = Case(model=MODEL, trainable="all", batch_size=2 if tiny else 32)
    count = 2 * case.batch_size
    examples = encode_questions(backbone, make_questions(backbone, count, tiny=tiny), _see(count, tiny=tiny))
    events: dict[str, dict[str, Any]] = {}
    try:
        training = _finetune(case, backbone, examples, lambda name, **facts: events.setdefault(name, facts), device)
    finally:
        if not tiny:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert events["precision"]["float32_masters"] in {"host", "device"}
    peak = "" if tiny else f", at most {torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the GPU"
    return (
        f"runs: {training.seconds / training.steps:.1f} s a step of {case.batch_size} samples, float32 masters on the "
        f"{events['precision']['float32_masters']}{peak}; loss {training.loss_first:.2f}"
    )


def _see(count: int, *, tiny: bool) -> list[Any]:
    return make_images(count, 56 if tiny else 336)


def _finetune(case: Case, backbone: Any, examples: Any, event: Any, device: Device | None = None) -> Any:  # noqa: ANN401
    with tempfile.TemporaryDirectory() as folder:
        surroundings = Surroundings(
            folder=Path(folder) / "checkpoints", weights=Path(folder) / "model", save_every_s=1e9,
            event=event, is_stopping=bool, device=device,
        )  # fmt: skip
        return run_finetune(make_job(case, backbone, len(examples)), backbone, examples, surroundings)


def measure_start(*, tiny: bool) -> str:
    """Start a process from weights on a disk, whose pages are not in memory, and wait for its first step."""
    with tempfile.TemporaryDirectory() as folder:
        backbone = make_backbone(MODEL, tiny=tiny)
        backbone.model.save_pretrained(folder)
        backbone.processor.save_pretrained(folder)
        size = _drop_from_memory(Path(folder))
        del backbone
        _let_go()
        began = time.perf_counter()
        command = [sys.executable, __file__, "--start", folder, *(["--device", "cpu"] if tiny else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                lines = [line for line in process.stdout if line.strip() == STARTED][:1]
                seconds = time.perf_counter() - began
            except OutOfTime:
                process.kill()
                raise
        if process.returncode or not lines:
            raise UserError(f"the process ended with status {process.returncode}")
    return f"{seconds:.1f} s for {size / 1e9:.1f} GB"


def _drop_from_memory(folder: Path) -> int:
    """Let the next reader find files on the disk alone; gives their bytes."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return sum(path.stat().st_size for path in folder.iterdir())


def start(folder: str, *, tiny: bool) -> None:
    """Load a model, take a step, and say so."""
    identity = Backbone(name=MODEL, path=folder, revision="random", answer=AnswerForm.LETTER)
    backbone = load_backbone(identity)
    case = replace(GPU_CASES[0], batch_size=2 if tiny else 32)
    count = case.batch_size
    examples = encode_questions(backbone, make_questions(backbone, count, tiny=tiny), _see(count, tiny=tiny))
    _finetune(case, backbone, examples, lambda *_, **__: None)
    print(STARTED, flush=True)


def _let_go() -> None:
    """Give memory back that the row before held; what is frozen is never looked at otherwise."""
    gc.unfreeze()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def ending_in(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` after so long."""

    def end(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fill(row: Row, seconds: float) -> str:
    """Measure a row within so many seconds, or say why it has no figure."""
    try:
        with ending_in(seconds):
            return row.measure()
    except OutOfTime:
        return "not measured: no time left"
    except (UserError, torch.OutOfMemoryError) as error:
        return f"failed: {str(error).splitlines()[0]}"
    finally:
        _let_go()


def write_table(cells: dict[str, tuple[str, str]]) -> str:
    """Write the table."""
    lines = ["| what | floor | measured |", "|---|---|---|"]
    lines += [f"| {title} | {floor} | {measured} |" for title, (floor, measured) in cells.items()]
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="what has no time left is not measured")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    ends = time.monotonic() + 60 * options.minutes
    tiny = options.device == "cpu"
    if tiny:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        torch.set_num_threads(1)
    if options.start:
        start(options.start, tiny=tiny)
        return 0
    has_device = tiny or torch.cuda.is_available()
    cells = {
        row.title: (row.floor, fill(row, ends - time.monotonic()) if has_device else NO_GPU)
        for row in list_rows(tiny=tiny)
    }
    table = write_table(cells)
    where = f"Tiny models on {describe_machine()}" if tiny else describe_machine() if has_device else ""
    print("\n\n".join(filter(None, (where, table))))
    if options.write and not tiny:
        write_into("performance.md", "gpu", "\n\n".join(filter(None, (where, table))))
    return int(any(measured.startswith("failed") for _, measured in cells.values()))


if __name__ == "__main__":
    sys.exit(main())
