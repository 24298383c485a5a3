"""Slots have the GPUs that their cluster is asked for, and rates grow with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cg_lab.config import read_study
from cg_lab.execution.packs import tabulate
from cg_lab.execution.slots import find_slots
from tests.pretend import Lab


@pytest.mark.parametrize(
    ("overrides", "num", "gpus", "told"),
    [
        (["cluster=slurm", "cluster.gpus=8", "cluster.nodes=2"], 4, 16, "4 Slurm tasks at a time of 16 GPUs each"),
        (["cluster=slurm"], 4, 1, "4 Slurm tasks at a time of 1 GPU each where nodes have any"),
        (["cluster=slurm", "cluster.gpus=0", "cluster.slots=1"], 1, 0, "1 Slurm task at a time"),
        (["cluster.gpus=[0,1,2]", "cluster.slots=1"], 1, 1, "on 1 GPU"),
        (["cluster.gpus=[]", "cluster.slots=1"], 1, 0, "1 slot of "),
        (["cluster=debug"], 1, 0, "1 slot of "),
    ],
)
def test_a_slot_has_the_gpus_that_are_asked_for(
    overrides: list[str], num: int, gpus: float, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    slots = find_slots(read_study(overrides).cluster)
    assert (slots.num, slots.gpus) == (num, gpus)
    assert told in slots.tell()


def test_slots_that_share_a_gpu_have_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    slots = find_slots(read_study(["cluster.gpus=[0]", "cluster.slots=4"]).cluster)
    assert (slots.num, slots.gpus) == (4, 0.25)


def test_training_takes_as_many_times_longer_as_there_are_fewer_gpus_and_one_gpu_evaluates(lab: Lab) -> None:
    (setting,) = lab.plan.settings
    rates = replace(setting.rates, train_samples_per_s=2.0, eval_samples_per_s=4.0, rate_gpus=8)
    plan = replace(lab.plan, settings=(replace(setting, rates=rates),))
    tune, asked = plan.finetunes[0].id, plan.evals[0].id
    declared = tabulate(plan).seconds
    for gpus, slower, slower_to_ask in ((8, 1, 8), (16, 0.5, 8), (2, 4, 8), (0.5, 16, 16), (0, 1, 1)):
        seconds = tabulate(plan, gpus).seconds
        assert seconds[tune] == pytest.approx(declared[tune] * slower)
        assert seconds[asked] == pytest.approx(declared[asked] * slower_to_ask)
