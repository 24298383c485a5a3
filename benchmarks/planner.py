"""How fast the planner is: whole processes on Med-MAT and on thousands of subsets, growth with cells, sharing.

    python benchmarks/planner.py [--only large]

Then what looks at a finished study of 20,000 cells, by `verbs.py`. Beside seconds of a clock stand those of processors,
which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

from cg_lab.catalog import Catalog, ListedData, build_catalog
from cg_lab.config import read_study
from cg_lab.mat import Subset
from cg_lab.planning.build import Run, build_plan
from cg_lab.questions import AnswerForm
from cg_lab.study import Backbone, Study

RUNS = 5
BACKBONE = Backbone(name="model", path="model", revision="1", answer=AnswerForm.LETTER)
FULL = ("twins=equal", "data=med_mat", "design.directions=[modality,area,task,pair]", "design.combinations=null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a whole process took."""

    seconds: float
    processor_s: float
    memory_gb: float


def main() -> None:
    """Print a line for each measure."""
    measures: dict[str, Callable[[Path], None]] = {
        "processes": _measure_processes,
        "large": _measure_large,
        "growth": lambda _: _measure_growth(),
        "sharing": lambda _: _measure_sharing(),
        "verbs": lambda _: _measure_verbs(),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=measures)
    given = parser.parse_args()
    for name, measure in measures.items():
        if given.only in {None, name}:
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder))


def _measure_verbs() -> None:
    """Measure status, report and mirroring, in a process that imports this file."""
    subprocess.run([sys.executable, str(Path(__file__).with_name("verbs.py"))], check=True)


def _measure_processes(folder: Path) -> None:
    """Time whole processes, interleaved with their peers."""
    compose = "from hydra import compose, initialize_config_dir; from cg_lab.config.folder import find_config_dir\n"
    loop = compose + (
        "with initialize_config_dir(str(find_config_dir()), version_base='1.3'):\n"
        "    for rate in range(1, 201): compose('config', overrides=[f'finetune.learning_rate={rate}'])"
    )
    commands: dict[str, list[str]] = {
        "python -c pass": ["-c", "pass"],
        "every design over Med-MAT, 3 seeds": _plan(folder, "all", "-m", "experiment=medmat_all"),
        "200 settings of one field": _plan(folder, "many", "-m", "finetune.learning_rate=range(1,201)"),
        "peer: 200 x hydra.compose alone": ["-c", loop],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            seconds[name].append(_time(lambda command=command: _run(command)))
    for name, measured in seconds.items():
        print(f"{name:<40} {statistics.median(measured):6.2f} s")
    made = json.loads((folder / "all" / "studies" / "medmat_all" / "plan.json").read_text(encoding="utf-8"))
    print(
        f"{'':<40} {len(made['settings'])} designs, {len(made['cells']):,} cells, {len(made['finetunes']):,} fine-tunes"
    )


def _plan(folder: Path, name: str, *overrides: str) -> list[str]:
    return ["-m", "cg_lab", "plan", *overrides, f"results_dir={folder / name}"]


def _run(command: Sequence[str]) -> None:
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


def time_process(*command: str) -> Taken:
    """Measure a whole process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    seconds = time.perf_counter() - began
    return Taken(seconds=seconds, processor_s=used.ru_utime + used.ru_stime, memory_gb=used.ru_maxrss / 1e6)


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _measure_growth() -> None:
    """Plan, merge, hash and write growing studies over the synthetic catalogue."""
    catalog = make_catalog()
    for num_targets in (9, 18, 36):
        study = replace(make_study(), targets=catalog.names[:: len(catalog.names) // num_targets][:num_targets])
        run = Run(name="", study=study, catalog=catalog, backbone=BACKBONE)
        seconds = statistics.median(_time(lambda run=run: build_plan([run]).text) for _ in range(RUNS))
        cells = len(build_plan([run]).cells)
        each = seconds / cells * 1e6
        print(f"{f'{cells:,} cells planned, merged and hashed':<40} {seconds:6.2f} s, {each:.0f} us a cell")


def _measure_sharing() -> None:
    study = replace(read_study(list(FULL)), seeds=(0, 1, 2), targets=None)
    from cg_lab.data.sources import read_catalog

    plan = build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=BACKBONE)])
    distinct, declared = len(plan.finetunes), plan.num_declared_finetunes
    print(
        f"{'full two-source matrix of Med-MAT':<40} {distinct:,} distinct fine-tunes, {declared:,} without merging: "
        f"{distinct / declared:.2f}"
    )


def _measure_large(folder: Path) -> None:
    """Plan the default two-source study over catalogues of thousands of subsets, whole processes."""
    for size in (2_000, 5_000):
        listed = folder / f"{size}.csv"
        listed.write_text("\n".join(["name,modality,area,task,labels,num_train,num_test", *_list_lines(size)]) + "\n")
        taken = time_process(*_plan(folder, f"of{size}", "data=catalog", f"data.path={listed}", "study=large"))
        file = folder / f"of{size}" / "studies" / "large" / "plan.json"
        cells = sum(line.startswith('  {"contrast":') for line in file.open(encoding="utf-8"))
        each = file.stat().st_size / cells / 1000
        print(
            f"{f'default two_source over {size:,} subsets':<40} {taken.seconds:6.1f} s, {taken.processor_s:.1f} s of "
            f"processors, {taken.memory_gb:.2f} GB; {cells:,} cells, {each:.2f} kB of plan.json a cell"
            + ("; floors 30 s, 1 GB" if size == 5_000 else "; floor 2 kB")
        )


def _list_lines(size: int) -> Iterator[str]:
    """List subsets of a cube of elements as lines of a catalogue."""
    side = range(math.ceil(size ** (1 / 3)) + 1)
    for first, second, third in islice(product(side, side, side), size):
        names = f"m{first:02}", f"a{second:02}", f"t{third:02}"
        yield f"{'-'.join(names)},{','.join(names)},no;yes,3000,100"


def make_catalog() -> Catalog:
    """Make 2,000 subsets over 13 x 13 x 12 elements."""
    cells = islice(product(range(13), range(13), range(12)), 2000)
    subsets = [
        Subset(
            name=f"m{first:02}-a{second:02}-t{third:02}",
            elements=((f"m{first:02}",), (f"a{second:02}",), (f"t{third:02}",)),
            labels=("no", "yes"),
            num_options=2,
            num_train=3000,
            num_test=100,
        )
        for first, second, third in cells
    ]
    return build_catalog(ListedData(content="synthetic"), subsets)


def make_study() -> Study:
    """Make the study that is planned over it: every source pair that shares the task."""
    return replace(read_study(["data=med_mat", "design.combinations=null", "seeds=[0]"]), targets=None)


if __name__ == "__main__":
    main()
