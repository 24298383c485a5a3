"""Energy that a training takes, read from counters of the GPU or, where there is none, of the processors."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows Intel's and AMD's counters (RAPL); most systems let root alone read them."""
PERIOD_S = 60.0
"""Between two looks; the counter of a processor at full load starts again after some twenty minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Energy since some time in the past."""

    read: Callable[[], int]
    """Gives microjoules; raises OSError if it can't be read."""
    span: int
    """Microjoules after which it starts at 0 again."""


class EnergyMeter:
    """Adds up what counters gain between looks, of which there must be one in each of their rounds."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._last: list[int] = []
        self._gained = 0
        self._is_whole = bool(counters)
        self.look()

    def look(self) -> None:
        """Add what was used since the last look."""
        try:
            now = [counter.read() for counter in self._counters]
        except OSError:
            self._is_whole = False
            return
        for counter, before, after in zip(self._counters, self._last or now, now, strict=True):
            self._gained += (after - before) % counter.span
        self._last = now

    @property
    def joules(self) -> float | None:
        """Energy between the first look and the last; None if it could not be read all along."""
        return self._gained / 1e6 if self._is_whole else None


@contextmanager
def measuring_energy() -> Iterator[EnergyMeter]:
    """Measure while the block runs: this process's GPU, or all processors of the machine, with all that runs on them.

    The meter is complete after the block.
    """
    meter = EnergyMeter(list_gpu_counters() if torch.cuda.is_available() else list_processor_counters(POWERCAP))
    ended = threading.Event()

    def look_again() -> None:
        while not ended.wait(PERIOD_S):
            meter.look()

    watching = threading.Thread(target=look_again, daemon=True)
    watching.start()
    try:
        yield meter
    finally:
        ended.set()
        watching.join()
        meter.look()


def name_gpu() -> str:
    """Name this process's GPU; empty if there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def list_processor_counters(folder: Path) -> tuple[Counter, ...]:
    """List the counters of processors and, where it has its own, of memory; none if one of them can't be read."""
    try:
        zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if _counts_apart(zone)]
        counters = tuple(
            Counter(read=partial(_read_number, zone / "energy_uj"), span=_read_number(zone / "max_energy_range_uj"))
            for zone in zones
        )
        for counter in counters:
            counter.read()
    except (OSError, ValueError):
        return ()
    return counters


def _counts_apart(zone: Path) -> bool:
    """Tell whether a zone is in no other one: cores are part of their package, and all is part of the platform."""
    name = (zone / "name").read_text().strip()
    return name.startswith("package") or name == "dram"


def _read_number(path: Path) -> int:
    return int(path.read_text())


def list_gpu_counters() -> tuple[Counter, ...]:
    """Give the counter of this process's GPU through NVML; none if NVML or the counter is missing (before Volta)."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return ()
    device = torch.cuda.get_device_properties(torch.cuda.current_device())

    def read() -> int:
        try:
            return 1000 * nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except nvml.NVMLError as error:
            raise OSError(str(error)) from error

    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{device.uuid}")
        read()
    except (nvml.NVMLError, OSError):
        return ()
    return (Counter(read=read, span=2**63),)
