"""Several processes that split each batch: they train what one process trains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import submitit
from safetensors.numpy import load_file

from cg_lab.config import read_study
from cg_lab.data.sources import read_catalog
from cg_lab.execution.bench import ModelBench, OpenBench, Surface
from cg_lab.execution.packs import Order, Submission, path_of, write_submission
from cg_lab.execution.run import freeze
from cg_lab.execution.team import SOLO
from cg_lab.execution.worker import PackRun
from cg_lab.journal import read_events
from cg_lab.models.identity import identify_backbone
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.results import Layout, read_eval_result, read_failure

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers can't import tests

OVERRIDES = (
    "targets=[ct-brain-side]", "seeds=[0]", "data.train_per_subset=64", "data.test_per_subset=24",
    "design.max_samples=64", "finetune.batch_size=16", "finetune.epochs=3", "arms=[related]", "tracking=none",
    "cluster=slurm", "cluster.save_every_s=1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> Plan:
    study = read_study(list(OVERRIDES))
    backbone = identify_backbone(study.model)
    return build_plan([Run(name="", study=study, catalog=read_catalog(study.data), backbone=backbone)])


def open_sharding_on_cpus(surface: Surface) -> ModelBench:
    """Have accelerate shard on CPUs too, which torch can and accelerate leaves to GPUs: the rest is as on these."""
    from accelerate.state import AcceleratorState, DistributedType, PartialState

    start = AcceleratorState.__init__

    def start_sharded(state: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        start(state, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            changed = {"distributed_type": DistributedType.FSDP, "fsdp_plugin": fsdp_plugin}
            AcceleratorState._shared_state.update(changed)
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = start_sharded
    return ModelBench(surface)


def run(plan: Plan, folder: Path, num_processes: int, *overrides: str, open_bench: OpenBench = ModelBench) -> Layout:
    """Run the plan's jobs in one pack of some processes, as a task of Slurm would."""
    study = read_study([*OVERRIDES, *overrides])
    layout = Layout(folder)
    order = Order(study=plan.study, cluster=study.cluster, tracking=study.tracking, eval_batch_size=8)
    freeze(plan, order, layout)
    jobs = tuple(job.id for job in (*plan.finetunes, *plan.evals))
    submission = Submission(
        id="00001", study=plan.study, stage="finetune", results_dir=str(folder), packs=(jobs,), threads=1,
        after=None, task="t", is_over=False, created="t",
    )  # fmt: skip
    write_submission(layout, submission)
    executor = submitit.LocalExecutor(folder=folder / "logs")
    executor.update_parameters(tasks_per_node=num_processes, timeout_min=5)
    job = executor.submit(PackRun(path_of(layout, submission), 0, open_bench))
    job.wait()
    return layout


def read_curve(layout: Layout, job_id: str) -> list[float]:
    return [event["loss"] for event in read_events(layout.journal(job_id)) if event["event"] == "log"]


@pytest.fixture(scope="module")
def alone(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return run(plan, tmp_path_factory.mktemp("alone"), 1)


@pytest.mark.slow
@pytest.mark.parametrize(("sharding", "open_bench"), [("ddp", ModelBench), ("fsdp", open_sharding_on_cpus)])
def test_two_processes_train_what_one_trains(
    sharding: str, open_bench: OpenBench, plan: Plan, alone: Layout, tmp_path: Path
) -> None:
    """Same curve and same weights but for rounding; the evaluation is by the first process alone."""
    both = run(plan, tmp_path, 2, f"cluster.sharding={sharding}", open_bench=open_bench)
    job = plan.finetunes[0].id
    assert read_failure(both, job) is None
    curves = [read_curve(layout, job) for layout in (alone, both)]
    assert len(curves[0]) > 2
    np.testing.assert_allclose(curves[1], curves[0], rtol=2e-4)
    weights = [load_file(layout.weights(job) / "model.safetensors") for layout in (alone, both)]
    assert weights[0].keys() <= weights[1].keys()  # tied ones are gathered under both of their names
    moved = max(float(np.abs(weights[0][name] - weights[1][name]).max()) for name in weights[0])
    assert moved < 1e-3
    results = [read_eval_result(layout, plan.evals[0].id) for layout in (alone, both)]
    assert all(results)
    assert len([event for event in read_events(both.journal(job)) if event["event"] == "done"]) == 1


@pytest.mark.slow
def test_sharding_without_gpus_says_what_works(plan: Plan, tmp_path: Path) -> None:
    layout = run(plan, tmp_path, 2, "cluster.sharding=fsdp")
    events = read_events(layout.journal(plan.finetunes[0].id))
    assert any("fsdp works on GPUs alone; take ddp" in event.get("message", "") for event in events)


@pytest.mark.slow
def test_a_batch_that_cannot_be_split_evenly_says_so(plan: Plan, tmp_path: Path) -> None:
    layout = run(plan, tmp_path, 3)
    events = read_events(layout.journal(plan.finetunes[0].id))
    assert any("16 can't be split evenly over 3 processes" in event.get("message", "") for event in events)


def test_one_process_asks_nobody() -> None:
    value: Any = {"x": 1}
    assert SOLO.share(value) is value
    assert SOLO.any(True)
    assert not SOLO.any(False)
