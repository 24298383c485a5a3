"""Run a plan: on which cluster, by one driver at a time, to its end or in tasks that end it by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import assert_never

from cg_lab.errors import InterruptedByUserError, UserError
from cg_lab.execution.bench import ModelBench, OpenBench
from cg_lab.execution.clusters import Cluster, NoAnswerError
from cg_lab.execution.drive import Driver, Outcome, Watch
from cg_lab.execution.keeping import reopen_lost
from cg_lab.execution.local import YEAR_MIN, DebugCluster, LocalCluster
from cg_lab.execution.packs import Order, Submission, tabulate, write_order
from cg_lab.execution.slots import find_slots
from cg_lab.execution.slurm import SlurmCluster
from cg_lab.locks import find_holder, holding
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout
from cg_lab.serialize import write_lines
from cg_lab.study import DebugSettings, LocalSettings, SlurmSettings

LOOK_S = 1.0
"""Between two looks whether another driver has ended."""
RETRY_S = 10.0


def freeze(plan: Plan, order: Order, layout: Layout) -> None:
    """Write what tasks work from, however late they start."""
    write_order(layout, order)
    write_lines(layout.submitted_plan(plan.study), plan.write_lines())


def open_cluster(order: Order, layout: Layout, open_bench: OpenBench = ModelBench) -> Cluster:
    """Give the place that a study's packs run on."""
    match order.cluster:
        case LocalSettings():
            return LocalCluster(order.cluster, layout, order.study, open_bench)
        case DebugSettings():
            return DebugCluster(layout, order.study, open_bench)
        case SlurmSettings():
            return SlurmCluster(order.cluster, layout, order.study, open_bench)
        case _:
            assert_never(order.cluster)


@contextmanager
def driving(layout: Layout, study: str, watch: Callable[[str], None]) -> Iterator[None]:
    """Be the study's only driver; as long as another one is, look on.

    Parameters
    ----------
    layout, study
        What to drive.
    watch
        Is told every second who drives instead.

    """
    path = layout.driver_lock(study)
    while True:
        with holding(path) as held:
            if held:
                yield
                return
        if holder := find_holder(path):
            watch(str(holder))
        time.sleep(LOOK_S)


def run_plan(
    plan: Plan,
    order: Order,
    layout: Layout,
    watch: Watch,
    *,
    wanted: Collection[str] | None = None,
    open_bench: OpenBench = ModelBench,
) -> Outcome:
    """Run what is missing of a plan; returns when every job has a result or a failure.

    Workers that an earlier, killed sweep of the same study left running on this machine are asked to save and end
    first, and their jobs go on from there; tasks that it left in Slurm's queue are taken up.

    Parameters
    ----------
    plan, order, layout
        What to run, how, and where results go.
    watch
        Is told how far the sweep is, again and again.
    wanted
        Ids of the only jobs to run; None for all.
    open_bench
        Opens what jobs are worked on.

    Raises
    ------
    UserError
        If Slurm is not there, silent for minutes, or refuses.
    InterruptedByUserError
        After Ctrl-C; workers on this machine have saved their checkpoints, tasks on Slurm go on.

    """
    driver = _open_driver(plan, order, layout, watch, wanted, open_bench)
    try:
        return driver.run()
    except KeyboardInterrupt:
        if isinstance(order.cluster, SlurmSettings):
            raise InterruptedByUserError(
                "left; submitted tasks go on, the same command attaches to them again, and this cancels them: "
                "python -m cg_lab cancel"
            ) from None
        driver.stop()
        raise InterruptedByUserError("stopped; the same command goes on from here") from None


def _open_driver(
    plan: Plan, order: Order, layout: Layout, watch: Watch, wanted: Collection[str] | None, open_bench: OpenBench
) -> Driver:
    freeze(plan, order, layout)
    cluster = open_cluster(order, layout, open_bench)
    if not isinstance(order.cluster, SlurmSettings):
        cluster.stop(())
    work = tabulate(plan, find_slots(order.cluster).gpus)
    reopen_lost(layout, work.needs)
    driver = Driver(work=work, order=order, layout=layout, cluster=cluster, wanted=wanted, watch=watch)
    driver.ask_anew()
    driver.attach()
    return driver


def start_plan(
    plan: Plan, order: Order, layout: Layout, last: Callable[[], None], wanted: Collection[str] | None = None
) -> str:
    """Start what is missing of a plan and return at once.

    Parameters
    ----------
    plan, order, layout, wanted
        What to run, how, where results go, and the ids of the only jobs to run.
    last
        Runs at the end, in a task or process of its own: it takes up what tasks left, and reports.

    Returns
    -------
    What was started, in words.

    Raises
    ------
    UserError
        If the cluster refuses or does not answer.

    """
    match order.cluster:
        case LocalSettings():
            import submitit

            freeze(plan, order, layout)
            executor = submitit.LocalExecutor(folder=layout.packs(order.study) / "logs")
            executor.update_parameters(timeout_min=YEAR_MIN)
            job = executor.submit(last)
            return f"process {job.job_id} drives it; it prints to {job.paths.stdout}"
        case DebugSettings():
            raise UserError("cluster=debug: can't detach; use cluster=local or cluster=slurm")
        case SlurmSettings():
            driver = _open_driver(plan, order, layout, lambda _: None, wanted, ModelBench)
            _step(driver)
            name = submit_last(driver, last)
            return f"{_count(driver.submissions)} submitted; task {name} reports when they have ended"
        case _:
            assert_never(order.cluster)


def resume_plan(plan: Plan, order: Order, layout: Layout, wanted: Collection[str] | None = None) -> Driver:
    """Take up what tasks left, once, from a task; nothing that was given up is tried again.

    The driver's `submissions` are what is under way then.
    """
    cluster = open_cluster(order, layout)
    work = tabulate(plan, find_slots(order.cluster).gpus)
    driver = Driver(work=work, order=order, layout=layout, cluster=cluster, wanted=wanted)
    driver.attach()
    _step(driver)
    return driver


def _step(driver: Driver) -> None:
    """Look and deal once, until the cluster has said what it took."""
    driver.step()
    while driver.is_doubtful:
        time.sleep(driver.cluster.poll_s)
        driver.step()


def submit_last(driver: Driver, last: Callable[[], None]) -> str:
    """Submit the task that ends a detached sweep.

    Raises
    ------
    UserError
        If the cluster does not answer for minutes.

    """
    cluster = driver.cluster
    assert isinstance(cluster, SlurmCluster)
    deadline = time.monotonic() + cluster.patience_s
    while True:
        try:
            return cluster.submit_last(last, driver.submissions)
        except NoAnswerError as error:
            if time.monotonic() > deadline:
                raise UserError(f"cluster=slurm: {error}; the tasks go on, the same command reports") from None
            time.sleep(RETRY_S)


def _count(submissions: Sequence[Submission]) -> str:
    packs = sum(len(submission.packs) for submission in submissions)
    return f"{packs} task{'s' if packs != 1 else ''}"
