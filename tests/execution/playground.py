"""One results folder that several commands work on at once, each in a process that can be killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cg_lab.cli import main
from cg_lab.cli.interrupts import repeat_lost_interrupts
from cg_lab.errors import InterruptedByUserError
from cg_lab.execution.bench import Bench, Conduct, Job, Surface
from cg_lab.execution.local import LocalCluster, list_workers
from cg_lab.execution.packs import Submission, path_of
from cg_lab.execution.worker import run_pack
from cg_lab.locks import find_holder
from cg_lab.planning.plan import Cell, Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.questions import AnyQuestion
from cg_lab.registration import REGISTERED
from cg_lab.results import FinetuneResult, Layout, read_plan, write_result
from cg_lab.tracking import sync_study
from cg_lab.tracking.records import build_records
from cg_lab.tracking.store import opening
from tests.reporting.answering import Row, choose, write_answers

STUDIES = {"first": "arms=[zero_shot,unrelated,related]", "second": "arms=[zero_shot,unrelated,related,ceiling]"}
TARGETS, SEEDS = ("us-breast-mass", "ct-brain-mass"), (0, 1)
SETTINGS = (
    "design.prefer=hash", "rule.resamples=100", "data.train_per_subset=96", "data.test_per_subset=24",
    "cluster.slots=2", "report_images=false",
)  # fmt: skip
WEIGHTS = {"plan": 6, "sweep": 14, "kill": 9, "look": 8, "report": 4, "sync": 6, "cancel": 4, "gc": 5}
MOST_DRIVERS = 2
CALM = "CG_LAB_TEST_CALM"
"""Set in the environment of sweeps whose jobs do not fail by themselves."""
ENDS = {0, 1, 2, 130, -signal.SIGKILL, -signal.SIGINT}
AGE_S = 3 * 86400
PATIENCE_S = 240.0


@dataclass(frozen=True)
class PretendWork:
    """Does a job in a moment, and as the job alone says, so that it matters to nothing who does it when."""

    surface: Surface

    def run(self, job: Job, conduct: Conduct) -> None:
        is_calm, layout = CALM in os.environ, self.surface.layout
        for step in range(1, 4):
            if isinstance(job, FinetuneJob):
                conduct.event("log", step=step, loss=1 / step, samples_per_s=9.0)
            time.sleep(0.0 if is_calm else random.uniform(0, 0.3))
            if conduct.is_stopping():
                raise InterruptedByUserError("asked to stop")
            if not is_calm and random.random() < 0.01:
                os.kill(os.getpid(), signal.SIGKILL)
            if not is_calm and random.random() < 0.01:
                raise RuntimeError("a job that fails now and then")
        if not isinstance(job, FinetuneJob):
            if job.checkpoint_of and not (layout.weights(job.checkpoint_of) / "model.safetensors").exists():
                raise RuntimeError(f"the weights of {job.checkpoint_of} are gone")
            write_answers(layout, _only(self.surface.plan, job.id), answer)
            return
        layout.weights(job.id).mkdir(parents=True, exist_ok=True)
        (layout.weights(job.id) / "model.safetensors").write_bytes(b"0")
        write_result(
            layout,
            FinetuneResult(job=job, steps=3, samples=9, loss_first=1, loss_last=0.1, seconds=1, host="h", started="t"),
        )


def open_work(surface: Surface) -> Bench:
    return PretendWork(surface)


def answer(cell: Cell, number: int, question: AnyQuestion) -> Row:
    """Answer as the job's id says: cells of several arms and studies may share it."""
    dice = random.Random(f"{cell.eval_job} {number}")
    right = question.answer  # type: ignore[union-attr]
    share = 0.2 + int(cell.eval_job[:2], 16) / 400
    return choose(question, (right + (dice.random() > share)) % len(question.options))  # type: ignore[union-attr]


def _only(plan: Plan, job_id: str) -> Plan:
    return replace(plan, evals=tuple(job for job in plan.evals if job.id == job_id))


@dataclass
class ForkedPack:
    """A pack's process, forked from its driver: a fresh interpreter takes ten times as long to start as its jobs."""

    job_id: str
    is_over: bool = False

    def done(self) -> bool:
        with suppress(ChildProcessError):
            self.is_over = self.is_over or os.waitpid(int(self.job_id), os.WNOHANG)[0] != 0
        return self.is_over


def fork_pack(path: Path, number: int, log: Path) -> ForkedPack:
    pid = os.fork()
    if pid:
        return ForkedPack(str(pid))
    os.setsid()
    status = 1
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        run_pack(path, number, open_work)
        status = 0
    except BaseException:  # noqa: BLE001 - what is forked must not go on as its driver
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def submit_forked(self: LocalCluster, submission: Submission, after: Submission | None, parallel: int) -> str:
    """Stand in for `LocalCluster.submit`."""
    (self._folder / "logs").mkdir(exist_ok=True)
    for number in range(len(submission.packs)):
        log = self._folder / "logs" / f"{submission.id}.{number}.out"
        self._running[submission.id, number] = fork_pack(path_of(self._layout, submission), number, log)
    return ",".join(job.job_id for key, job in self._running.items() if key[0] == submission.id)


def do(words: list[str], log: Path, *, is_calm: bool = False) -> None:
    """Do one act, in a process of its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    repeat_lost_interrupts()
    if is_calm:
        os.environ[CALM] = "1"
    LocalCluster.submit = submit_forked  # type: ignore[method-assign]
    with log.open("ab") as file:  # from here on it can be interrupted as a person would
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    status = main(words)
    sys.stdout.flush()
    sys.exit(status)


@dataclass
class Act:
    """A command that was begun."""

    words: list[str]
    process: Any
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


@dataclass
class Playground:
    """One results folder, what goes on in it, and what went wrong."""

    folder: Path
    dice: random.Random
    acts: list[Act] = field(default_factory=list)
    live: list[Act] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    context: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))

    def __post_init__(self) -> None:
        self.context.set_forkserver_preload(
            ["mlflow.tracking", "pandas", "cg_lab.reporting.write", "tests.execution.playground"]
        )

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / "results")

    @property
    def stores(self) -> tuple[str, ...]:
        return tuple(f"sqlite:///{self.folder}/server{number}/mlflow.db" for number in range(2))

    def begin(self, *words: str, is_calm: bool = False) -> Act:
        log = self.folder / "logs" / f"{len(self.acts):03}.{words[0]}"
        log.parent.mkdir(parents=True, exist_ok=True)
        told = [*words, f"results_dir={self.layout.root}"]
        process = self.context.Process(target=do, args=(told, log), kwargs={"is_calm": is_calm})
        process.start()
        act = Act(told, process, log)
        self.acts.append(act)
        self.live.append(act)
        return act

    def settle(self, *acts: Act) -> None:
        """Wait for acts to end, and take up what has ended."""
        for act in acts:
            act.process.join(PATIENCE_S)
            if act.process.is_alive():
                self.faults.append(f"{act.log.name} did not end: {act.said[-400:]}")
                act.process.kill()
                act.process.join()
        for act in [act for act in self.live if not act.process.is_alive()]:
            self.live.remove(act)
            if act.process.exitcode not in ENDS or "Traceback" in act.said:
                self.faults.append(f"{act.log} ended with {act.process.exitcode}: {act.said[-1500:]}")

    def run(self, *words: str) -> Act:
        began, act = time.monotonic(), self.begin(*words, is_calm=True)
        self.settle(act)
        print(f"    {' '.join(words[:2])} in {time.monotonic() - began:.1f} s", flush=True)
        if act.process.exitcode:
            self.faults.append(f"{act.words} ended with {act.process.exitcode}: {act.said[-1500:]}")
        return act

    def kill(self) -> str:
        """End a process that is under way: a command, or one that works for it."""
        workers = [holder.pid for study in STUDIES for holder in list_workers(self.layout.packs(study))]
        found = [act.process.pid for act in self.live] + [pid for pid in workers if pid]
        if not found:
            return "nobody"
        pid = self.dice.choice(found)
        has_begun = any(act.log.exists() for act in self.live if act.process.pid == pid)
        sign = signal.SIGINT if has_begun and self.dice.random() < 0.25 else signal.SIGKILL
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return f"{pid}, which has ended"
        return f"{'a worker' if pid in workers else 'a command'} by {sign.name}"


def choose_words(verb: str, dice: random.Random, stores: tuple[str, ...]) -> list[str]:
    """Choose what is given on the command line."""
    study = dice.choice(list(STUDIES))
    own, store = f"study={study}", f"tracking.uri={dice.choice(stores)}"
    targets = dice.choice([TARGETS[:1], TARGETS[1:], TARGETS])
    seeds = dice.choice([SEEDS[:1], SEEDS])
    asked = [own, STUDIES[study], f"targets=[{','.join(targets)}]", f"seeds={list(seeds)}", *SETTINGS, store]
    match verb:
        case "plan" | "sweep":
            return [verb, *asked]
        case "look":
            looks = (["studies"], ["studies", "show", study], ["status", own], ["status", own, "--json", "--cells"],
                     ["gc", "--dry-run", store], ["studies", "--json"])  # fmt: skip
            return dice.choice(looks)
        case "gc":
            return ["gc", *dice.choice(([], ["--weights"])), store]
        case "report":
            return ["report", own, "--no-images"]
        case _:
            return [verb, own, store]


def disturb(ground: Playground, num_acts: int) -> None:
    """Do random acts, some at once."""
    dice = ground.dice
    for number in range(num_acts):
        ground.settle()
        (verb,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        words = choose_words(verb, dice, ground.stores)
        is_left, pause = dice.random() < 0.4, dice.uniform(0, 0.6)
        if verb == "kill":
            print(f"{number:3} kill {ground.kill()}", flush=True)
            continue
        print(f"{number:3} {time.strftime('%X')} {' '.join(words[:4])}", flush=True)
        drivers = [act for act in ground.live if act.words[0] == "sweep"]
        if verb == "sweep" and len(drivers) >= MOST_DRIVERS:
            ground.settle(drivers[0])
        act = ground.begin(*words)
        if verb == "sweep" or is_left:
            time.sleep(pause)
        else:
            ground.settle(act)
    for act in list(ground.live):
        act.process.kill()
    ground.settle(*ground.live)


def make_stores(ground: Playground) -> None:
    """Make the tables of both stores once: MLflow takes longer for it than for all else."""
    with opening(Layout(ground.folder / "tables"), "nothing", None) as store:
        store.client.delete_experiment(store.experiment_id)
    for number in range(2):
        (ground.folder / f"server{number}").mkdir(parents=True)
        shutil.copy(ground.folder / "tables/mlflow.db", ground.folder / f"server{number}/mlflow.db")


def finish(ground: Playground) -> None:
    """Bring each study to its end, and mirror it to both stores."""
    for study in STUDIES:
        ground.run("sweep", *ask_for_all(study), f"tracking.uri={ground.stores[0]}")
    for study in STUDIES:
        for store in ground.stores:
            ground.run("sync", f"study={study}", f"tracking.uri={store}")
    left_behind = time.time() - AGE_S
    for path in list_temporary(ground.folder):
        os.utime(path, (left_behind, left_behind))
    ground.run("gc", "tracking=none")


def ask_for_all(study: str) -> list[str]:
    return [f"study={study}", STUDIES[study], f"targets=[{','.join(TARGETS)}]", f"seeds={list(SEEDS)}", *SETTINGS]


def plan_fresh(ground: Playground, study: str) -> Plan:
    """Plan all of a study in a folder where nothing was."""
    fresh = replace(ground, folder=ground.folder / "fresh", acts=[], live=[], faults=[])
    fresh.run("plan", *ask_for_all(study))
    return read_plan(fresh.layout.plan(study))


def find_faults(ground: Playground) -> Iterator[str]:
    """Say in what the folder differs from one that nobody disturbed."""
    yield from ground.faults
    layout, calm = ground.layout, Layout(ground.folder / "calm")
    repeat_undisturbed(layout, calm)
    for study in STUDIES:
        plan = read_plan(layout.plan(study))
        fresh = plan_fresh(ground, study)
        if {cell.key: cell.eval_job for cell in plan.cells} != {cell.key: cell.eval_job for cell in fresh.cells}:
            yield f"{study}: its cells are not those that were asked for"
        texts = [(place.study(study) / "effects.csv").read_bytes() for place in (layout, calm)]
        if texts[0] != texts[1]:
            yield f"{study}: effects.csv differs from an undisturbed run's"
        for store in ground.stores:
            yield from (f"{study} in {store}: {said}" for said in find_false_runs(layout, study, store))
        for lock in (layout.driver_lock(study), *layout.packs(study).glob("*.lock")):
            if holder := find_holder(lock):
                yield f"{lock} is held by {holder}"
    yield from (f"{path} was left" for path in list_temporary(ground.folder))
    yield from (f"process {said} was left" for said in list_processes(layout.root))


def repeat_undisturbed(layout: Layout, calm: Layout) -> None:
    """Do all that is registered in a fresh folder, once and in order."""
    shutil.copytree(layout.root / "studies", calm.root / "studies", ignore=_ignore_but_plans)
    shutil.copy(layout.stamp, calm.stamp)
    for study in STUDIES:
        plan = read_plan(calm.plan(study))
        for job in plan.finetunes:
            calm.weights(job.id).mkdir(parents=True, exist_ok=True)
            write_result(
                calm,
                FinetuneResult(
                    job=job, steps=3, samples=9, loss_first=1, loss_last=0.1, seconds=1, host="h", started="t"
                ),
            )
        write_answers(calm, plan, answer)
    for study in STUDIES:
        with open(os.devnull, "w") as quiet:  # noqa: PTH123
            stdout, sys.stdout = sys.stdout, quiet
            try:
                assert main(["report", f"study={study}", f"results_dir={calm.root}", "--no-images"]) == 0
            finally:
                sys.stdout = stdout


def _ignore_but_plans(folder: str, names: list[str]) -> list[str]:
    if Path(folder).name == "studies":
        return [name for name in names if name not in STUDIES]
    return [name for name in names if name not in ("plan.json", REGISTERED)]


def find_false_runs(layout: Layout, study: str, store: str) -> Iterator[str]:
    """Say which runs are missing, there twice, of a false status, or deleted though the plan has them."""
    again = sync_study(layout, study, tracking_uri=store)
    if again.new or again.updated or again.removed:
        yield f"a second sync changed {again}"
    plan = read_plan(layout.plan(study))
    wanted = {record.key for record in build_records(plan, layout)}
    query = (
        "SELECT tags.value, runs.status, runs.lifecycle_stage, runs.run_uuid FROM runs JOIN tags USING (run_uuid) "
        "JOIN experiments USING (experiment_id) WHERE tags.key = 'cg_lab.key' AND experiments.name = ? "
        "ORDER BY runs.rowid"
    )
    frozen = (
        "SELECT key, value FROM params WHERE run_uuid = :run UNION SELECT key, value FROM latest_metrics WHERE "
        "run_uuid = :run UNION SELECT key, value FROM tags WHERE run_uuid = :run AND key = 'cg_lab.curve' ORDER BY key"
    )
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as base:
        rows = [
            (key, status, stage, base.execute(frozen, {"run": run}).fetchall())
            for key, status, stage, run in base.execute(query, (study,)).fetchall()
        ]
    shown = [key for key, _, stage, _ in rows if stage == "active"]
    if sorted(shown) != sorted(wanted):
        yield f"{sorted(set(shown) ^ wanted)} are too many, missing or there twice"
    yield from (
        f"run {key} is {status}" for key, status, stage, _ in rows if stage == "active" and status != "FINISHED"
    )
    # MLflow changes no parameter, value or point of a curve: what had another one gives way to a new run.
    last: dict[str, tuple[str, list[Any]]] = {}
    for key, _, stage, facts in rows:
        if last.get(key) == ("deleted", facts):
            yield f"run {key} is in Deleted, though one that says the same took its place"
        last[key] = stage, facts


def list_temporary(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.endswith((".new", ".removed", ".opened"))]


def list_processes(root: Path) -> list[str]:
    """List processes whose command line names the folder."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(root) in line and path.parent.name != str(os.getpid()):
            found.append(f"{path.parent.name} {line}")
    return found
