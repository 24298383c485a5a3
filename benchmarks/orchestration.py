"""What running a job costs beside the job: cg_lab's executors against Hydra's submitit launchers, on one-second jobs.

Needs `pip install -e .[bench]`, and for `--cluster slurm` a Slurm (`make slurm` starts one). The same function is run
as often by both, in turn. Overhead is the wall clock beyond what the sleeping itself takes, for each job: half of it
all on two slots; Hydra's local launcher starts everything at once, so that there one second is taken off.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.bench import Conduct, Job, Surface
from cg_lab.execution.packs import Order
from cg_lab.execution.run import run_plan
from cg_lab.models.identity import identify_model
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.results import FinetuneResult, Layout, write_plan, write_result
from cg_lab.study import LocalSettings, SlurmSettings

SLOTS = 2
NUM_STATUS = 10_000
APP = """\
import time
import hydra


@hydra.main(version_base=None)
def main(cfg):
    time.sleep(cfg.seconds)


main()
"""


@dataclass
class Sleeper:
    """A bench on which every job sleeps."""

    layout: Layout
    seconds: float

    def run(self, job: Job, conduct: Conduct) -> None:
        """Sleep, and leave a result."""
        time.sleep(self.seconds)
        assert isinstance(job, FinetuneJob)
        write_result(
            self.layout,
            FinetuneResult(
                job=job, steps=1, samples=1, loss_first=1.0, loss_last=1.0, seconds=self.seconds, host="", started=""
            ),
        )


@dataclass
class OpenSleeper:
    """Opens it; travels to the workers."""

    seconds: float

    def __call__(self, surface: Surface) -> Sleeper:
        """Make a bench."""
        return Sleeper(surface.layout, self.seconds)


def make_plan(num_seeds: int) -> Plan:
    """Plan 248 fine-tunes for each seed, and nearly twice as many evaluations."""
    study = read_study(["targets=null", "data.targets=null", f"seeds={list(range(num_seeds))}"])
    backbone = identify_model(study.model)
    return build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])


def run_ours(plan: Plan, cluster: LocalSettings | SlurmSettings, num_jobs: int, seconds: float, folder: Path) -> float:
    """Give the wall clock of a driver that runs so many jobs."""
    layout = Layout(folder)
    order = Order(study=plan.study, cluster=cluster, tracking=read_study(["tracking=none"]).tracking, eval_batch_size=1)
    write_plan(layout, plan)
    wanted = [job.id for job in plan.finetunes[:num_jobs]]
    began = time.perf_counter()
    outcome = run_plan(plan, order, layout, lambda _: None, wanted=wanted, open_bench=OpenSleeper(seconds))
    wall = time.perf_counter() - began
    assert outcome.num_done == num_jobs
    return wall


def run_hydra(launcher: str, num_jobs: int, seconds: float, folder: Path) -> float:
    """Give the wall clock of a Hydra multirun over so many jobs."""
    app = folder / "app.py"
    app.write_text(APP, encoding="utf-8")
    slurm = [f"hydra.launcher.array_parallelism={SLOTS}", "hydra.launcher.cpus_per_task=1"]
    command = [
        sys.executable, str(app), "-m", f"hydra/launcher={launcher}", f"+number=range({num_jobs})",
        f"+seconds={seconds}", f"hydra.sweep.dir={folder}/sweep", *(slurm if launcher.endswith("slurm") else []),
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    return time.perf_counter() - began


def measure_status(num_jobs: int, folder: Path) -> float:
    """Give the wall clock of `status`, as a whole process, of a study of which half is done."""
    plan = make_plan(num_jobs // 650 + 1)
    layout = Layout(folder)
    write_plan(layout, plan)
    job_ids = [job.id for job in (*plan.finetunes, *plan.evals)]
    assert len(job_ids) >= num_jobs
    for job_id in job_ids[::2]:
        layout.job(job_id).mkdir(parents=True)
        layout.result(job_id).write_text("{}", encoding="utf-8")
    command = [sys.executable, "-m", "cg_lab", "status", f"results_dir={folder}", f"study={plan.study}"]
    seconds: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Print both overheads and their ratio, and how long `status` takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", choices=["local", "slurm"], default="local")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    num_jobs, seconds, name = arguments.jobs, arguments.seconds, arguments.cluster
    settings = read_study([f"cluster={name}", f"cluster.slots={SLOTS}"]).cluster
    assert isinstance(settings, (LocalSettings, SlurmSettings))
    if isinstance(settings, SlurmSettings):
        settings = replace(settings, cpus=1, gpus=0)
    plan = make_plan(num_jobs // 248 + 1)
    ideal = num_jobs * seconds / SLOTS
    ideals = (ideal, seconds if name == "local" else ideal)
    overheads: tuple[list[float], list[float]] = ([], [])
    base = os.environ.get("TMPDIR")
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory(dir=base) as folder:
            walls = (
                run_ours(plan, settings, num_jobs, seconds, Path(folder) / "ours"),
                run_hydra(f"submitit_{name}", num_jobs, seconds, Path(folder)),
            )
        for kept, wall, least in zip(overheads, walls, ideals, strict=True):
            kept.append((wall - least) / num_jobs)
        print(f"cg_lab {walls[0]:.1f} s, hydra {walls[1]:.1f} s", flush=True)
    ours, peer = (statistics.median(kept) for kept in overheads)
    print(f"\n{num_jobs} jobs of {seconds:g} s on {SLOTS} slots, medians of {arguments.rounds} interleaved runs")
    print(
        f"overhead of each job   cg_lab {1000 * ours:.0f} ms   hydra/launcher=submitit_{name} {1000 * peer:.0f} ms   "
        f"{peer / ours:.1f} x"
    )
    with tempfile.TemporaryDirectory(dir=base) as folder:
        status_s = measure_status(NUM_STATUS, Path(folder))
    print(f"status of {NUM_STATUS:,} jobs and more   {status_s:.2f} s, median of 5 whole processes")


if __name__ == "__main__":
    main()
