"""What checkpoints take on disk is foreseen as it is, and told by `plan` and `doctor` alike."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cg_lab.byte_counts import tell_bytes
from cg_lab.cli import main
from cg_lab.config import read_study
from cg_lab.doctor import disk_forecast, places
from cg_lab.doctor.check_result import Status
from cg_lab.doctor.disk_forecast import foresee_disk, measure_checkpoint
from cg_lab.doctor.room import UNKNOWN_GPU
from cg_lab.models.precision import ParameterCounts
from cg_lab.planning.plan import Plan
from cg_lab.recipe import Lora
from cg_lab.results import Layout, read_plan
from cg_lab.study import Study
from tests.cli.small_study import BREAST, SMALL, run

CPU = replace(UNKNOWN_GPU, is_gpu=False, has_bfloat16=False)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Plan, Study]:
    assert run("plan", tmp_path, BREAST) == 0
    return read_plan(Layout(tmp_path).plan("s")), read_study([*SMALL, BREAST, "cluster.gpus=[]", "cluster.slots=1"])


@pytest.mark.parametrize(
    ("counts", "on_gpu", "on_cpu"),
    [
        (ParameterCounts(trained=10, frozen=0, has_adapters=False), 140, 120),
        (ParameterCounts(trained=10, frozen=100, has_adapters=False), 340, 520),
        (ParameterCounts(trained=10, frozen=100, has_adapters=True), 120, 120),
    ],
)
def test_a_checkpoint_is_weights_masters_and_two_moments(counts: ParameterCounts, on_gpu: int, on_cpu: int) -> None:
    assert (measure_checkpoint(counts, UNKNOWN_GPU), measure_checkpoint(counts, CPU)) == (on_gpu, on_cpu)


def test_as_many_fine_tunes_as_run_at_once_have_an_old_and_a_new_checkpoint(made: tuple[Plan, Study]) -> None:
    plan, study = made
    one = foresee_disk(plan, plan.finetunes, study.cluster).checkpoints
    assert one == 2 * 12 * 1_628_384
    slurm = read_study([*SMALL, "cluster=slurm", "cluster.slots=2", "cluster.gpus=1"]).cluster
    assert foresee_disk(plan, plan.finetunes, slurm).checkpoints == 2 * 2 * 14 * 1_628_384
    assert foresee_disk(plan, plan.finetunes[:1], slurm).checkpoints == 2 * 14 * 1_628_384
    assert foresee_disk(plan, (), slurm).checkpoints == 0


def test_without_a_models_files_its_declared_sizes_count(
    made: tuple[Plan, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_forecast, "count_trained", lambda *_: None)
    plan, study = made
    (setting,) = plan.settings
    declared = replace(setting.rates, checkpoint_gb=14.0, adapter_mb=10.0)
    plan = replace(plan, settings=(replace(setting, rates=declared),))
    job = plan.finetunes[0]
    assert foresee_disk(plan, [job], study.cluster).checkpoints == 2 * 7 * 14e9
    adapted = replace(job, recipe=replace(job.recipe, lora=Lora(rank=4, alpha=8, dropout=0.0)))
    found = foresee_disk(plan, [adapted], study.cluster)
    assert (found.adapters, found.checkpoints) == (4 * 10e6, 2 * 3 * 4 * 10e6)


def test_a_disk_without_room_for_checkpoints_is_a_fault_though_nothing_is_kept(
    made: tuple[Plan, Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, study = made
    study, layout = replace(study, keep="nothing", cache_gb=0.0), Layout(tmp_path)
    needed = foresee_disk(plan, plan.finetunes, study.cluster).checkpoints
    for free, status in ((needed - 1, Status.FAULT), (needed, Status.OK)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(places.shutil, "disk_usage", lambda _, usage=usage: usage)
        assert places.check_disk(study, plan, plan.finetunes, layout).status is status


def test_plan_and_doctor_tell_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [f"results_dir={tmp_path}", *SMALL, BREAST, "cluster.gpus=[]", "cluster.slots=1"]
    told = f"checkpoints take up to {tell_bytes(2 * 12 * 1_628_384)}"
    for verb in (["plan"], ["doctor", "--quick"]):
        assert main([*verb, *asked]) == 0
        assert told in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_a_plan_says_gpu_hours_and_what_a_rate_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [f"results_dir={tmp_path}", *SMALL, BREAST, "cluster=slurm", "cluster.gpus=2", "model.rate_gpus=8"]
    assert main(["plan", *asked]) == 0
    page = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert re.search(r"4 Slurm tasks at a time of 2 GPUs each; [\d.]+ GPU hours", page)
    assert "130 samples/s on 8 GPUs are declared (model.rate_gpus), taken as 32.5 on 2" in page
    assert main(["plan", *asked, "cluster.gpus=0"]) == 0
    page = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "GPU hours" not in page
    assert "there is no GPU here" in page
