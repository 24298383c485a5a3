"""A small plan, a bench that only pretends to work, and a cluster with its own clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.bench import Bench, Conduct, Job, Surface
from cg_lab.execution.clusters import End, Key, Look, NoAnswerError, NoRoomError, Task
from cg_lab.execution.drive import Clock, Driver
from cg_lab.execution.packs import Order, Submission, path_of, tabulate
from cg_lab.execution.run import freeze
from cg_lab.execution.worker import run_pack
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import FinetuneJob
from cg_lab.results import EvalResult, FinetuneResult, Layout, write_plan, write_result


class Killed(BaseException):
    """The process is gone: nothing that follows in it runs."""


Behaviour = Callable[[Conduct], None]


@dataclass
class PretendBench:
    """Leaves results at once; what it shall do otherwise is said for each attempt at a job."""

    layout: Layout
    behaviours: dict[str, list[Behaviour]] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)

    def open(self, surface: Surface) -> Bench:
        return self

    def run(self, job: Job, conduct: Conduct) -> None:
        self.begun.append(job.id)
        self.parts.append(conduct.parts)
        if waiting := self.behaviours.get(job.id):
            waiting.pop(0)(conduct)
        if isinstance(job, FinetuneJob):
            self.layout.weights(job.id).mkdir(parents=True, exist_ok=True)
            write_result(
                self.layout,
                FinetuneResult(
                    job=job, steps=1, samples=1, loss_first=1.0, loss_last=0.5, seconds=0.1, host="h", started="t"
                ),
            )
        else:
            write_result(
                self.layout, EvalResult(job=job, num_questions=1, accuracy=1.0, seconds=0.1, host="h", started="t")
            )


def fail_with(error: BaseException) -> Behaviour:
    def behave(_: Conduct) -> None:
        raise error

    return behave


@dataclass
class Lab:
    """A study that is planned, and where its results go."""

    plan: Plan
    layout: Layout
    order: Order
    bench: PretendBench

    @property
    def finetune(self) -> str:
        return self.plan.finetunes[0].id

    def eval_of(self, finetune: str) -> str:
        return next(job.id for job in self.plan.evals if job.checkpoint_of == finetune)


@pytest.fixture(scope="session")
def small_plan() -> Plan:
    study = read_study(["targets=[ct-brain-side]", "seeds=[0]", "arms=[zero_shot,related,unrelated,ceiling]"])
    backbone = identify_backbone(study.model)
    return build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])


@pytest.fixture
def lab(small_plan: Plan, tmp_path: Path) -> Lab:
    study = read_study(["cluster=local"])
    layout = Layout(tmp_path)
    order = Order(study=small_plan.study, cluster=study.cluster, tracking=study.tracking, eval_batch_size=8)
    write_plan(layout, small_plan)
    freeze(small_plan, order, layout)
    return Lab(plan=small_plan, layout=layout, order=order, bench=PretendBench(layout))


@dataclass
class PretendCluster:
    """Runs packs one look after they were submitted; may be silent, full, or lose tasks."""

    lab: Lab
    slots: int = 2
    threads: int = 1
    poll_s: float = 1.0
    patience_s: float = 100.0
    is_separate: bool = False
    size: int = 100
    silent: list[bool] = field(default_factory=list)
    """Of the next looks, whether they get no answer."""
    trouble: list[Exception | None] = field(default_factory=list)
    """Of the next submissions, what goes wrong."""
    lost: set[Key] = field(default_factory=set)
    """Packs whose process ends before it begins."""
    hopeless: set[Key] = field(default_factory=set)
    sent: list[Submission] = field(default_factory=list)
    taken: dict[str, Submission] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    now: float = 0.0

    def split(self, seconds: float, num_free: int, num_live: int) -> tuple[int, int]:
        return num_free, self.size

    def submit(self, submission: Submission, after: Submission | None, parallel: int) -> str:
        error = self.trouble.pop(0) if self.trouble else None
        if isinstance(error, NoRoomError):
            raise error
        if not (isinstance(error, NoAnswerError) and str(error) == "not taken"):
            self.sent.append(submission)
            self.taken[submission.id] = submission
        if error:
            raise error
        return f"job-{submission.id}"

    def look(self, submissions: Sequence[Submission]) -> Look | None:
        if self.silent and self.silent.pop(0):
            return None
        adopted = {sent.id: f"job-{sent.id}" for sent in submissions if sent.task is None and sent.id in self.taken}
        tasks: dict[Key, Task] = {}
        for sent in list(self.taken.values()):
            for number in range(len(sent.packs)):
                self._advance(sent, number, tasks)
            del self.taken[sent.id]
        return Look(tasks=tasks, adopted=adopted, hopeless={key: str(key) for key in self.hopeless})

    def _advance(self, sent: Submission, number: int, tasks: dict[Key, Task]) -> None:
        if (sent.id, number) in self.lost or (sent.id, number) in self.hopeless:
            return
        try:
            run_pack(path_of(self.lab.layout, sent), number, self.lab.bench.open)
        except Killed:
            return

    def adopt(self, submission: Submission) -> None:
        pass

    def drop(self, names: Sequence[str]) -> None:
        self.dropped += names

    def find_ends(self, packs: Sequence[tuple[Submission, int]]) -> dict[Key, End]:
        return {}

    def stop(self, submissions: Sequence[Submission]) -> None:
        self.taken.clear()

    def drive(self) -> Driver:
        """Make a driver with this cluster's clock."""

        def sleep(seconds: float) -> None:
            self.now += seconds

        return Driver(
            work=tabulate(self.lab.plan),
            order=self.lab.order,
            layout=self.lab.layout,
            cluster=self,
            clock=Clock(time=lambda: self.now, sleep=sleep),
        )


@pytest.fixture
def cluster(lab: Lab) -> PretendCluster:
    return PretendCluster(lab)


@pytest.fixture
def fails() -> Callable[[BaseException], Behaviour]:
    return fail_with


@pytest.fixture
def killed() -> Behaviour:
    return fail_with(Killed("killed"))
