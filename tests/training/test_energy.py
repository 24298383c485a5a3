"""Counters of energy, as Linux and NVML show them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cg_lab.training import energy
from cg_lab.training.energy import EnergyMeter, list_gpu_counters, list_processor_counters, measuring_energy


def write_zone(folder: Path, zone: str, name: str, used: int, span: int = 1_000_000) -> Path:
    made = folder / zone
    made.mkdir(parents=True)
    (made / "name").write_text(f"{name}\n")
    (made / "energy_uj").write_text(f"{used}\n")
    (made / "max_energy_range_uj").write_text(f"{span}\n")
    return made / "energy_uj"


def test_packages_and_memory_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    counters = {
        "intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0",
    }  # fmt: skip
    files = [write_zone(tmp_path, zone, name, used=100_000) for zone, name in counters.items()]
    meter = EnergyMeter(list_processor_counters(tmp_path))
    for file in files:
        file.write_text("350000\n")
    meter.look()
    assert meter.joules == pytest.approx(3 * 0.25)


def test_a_counter_that_starts_again_loses_nothing(tmp_path: Path) -> None:
    file = write_zone(tmp_path, "intel-rapl:0", "package-0", used=900_000)
    meter = EnergyMeter(list_processor_counters(tmp_path))
    for used in (100_000, 800_000, 50_000):
        file.write_text(f"{used}\n")
        meter.look()
    assert meter.joules == pytest.approx(0.2 + 0.7 + 0.25)


def test_what_can_not_be_read_is_no_energy(tmp_path: Path) -> None:
    assert EnergyMeter(list_processor_counters(tmp_path / "missing")).joules is None
    file = write_zone(tmp_path, "intel-rapl:0", "package-0", used=1)
    meter = EnergyMeter(list_processor_counters(tmp_path))
    file.unlink()
    meter.look()
    assert meter.joules is None
    assert list_processor_counters(tmp_path) == ()


def test_a_long_block_is_looked_at_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_zone(tmp_path, "intel-rapl:0", "package-0", used=0)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setattr(energy, "PERIOD_S", 0.001)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with measuring_energy() as meter:
        for used in (600_000, 200_000, 800_000):  # each time more than half a round
            file.with_suffix(".new").write_text(f"{used}\n")
            file.with_suffix(".new").rename(file)
            while meter._last != [used]:
                pass
    assert meter.joules == pytest.approx(1.8)


def test_a_gpu_is_asked_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {"GPU-abc": 5000}  # millijoules

    class NVMLError(Exception):
        pass

    def find(uuid: str) -> str:
        if uuid not in used:
            raise NVMLError
        return uuid

    nvml: Any = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=find,
        nvmlDeviceGetTotalEnergyConsumption=used.__getitem__,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="abc"))
    meter = EnergyMeter(list_gpu_counters())
    used["GPU-abc"] = 7500
    meter.look()
    assert meter.joules == 2.5
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="a part of one"))
    assert list_gpu_counters() == ()
