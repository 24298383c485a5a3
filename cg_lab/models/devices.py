"""What this machine has to train on; asked of the system alone, or of torch where that is loaded anyway."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cg_lab.models.precision import Device

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup")
FIRST_WITH_BFLOAT16 = 8
"""Compute capability of Ampere."""


def read_host_memory() -> int:
    """Give the bytes that this process may take of the machine's memory: all of it, or what its cgroup leaves it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *_list_limits()])


def _list_limits() -> list[int]:
    """List the limits of this process's cgroup and those above it (version 2)."""
    try:
        (line,) = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    except (OSError, ValueError):
        return []
    own = CGROUP / line.removeprefix("0::").lstrip("/")
    found: list[int] = []
    for folder in (own, *own.parents):
        if not folder.is_relative_to(CGROUP):
            break
        try:
            found.append(int((folder / "memory.max").read_text()))
        except (OSError, ValueError):  # "max", or no such file
            continue
    return found


def find_cpu() -> Device:
    """Describe this machine's processors."""
    memory = read_host_memory()
    return Device(name="this machine", memory=memory, host_memory=memory, is_gpu=False, has_bfloat16=True)


def find_device(device: torch.device, num_processes: int = 1) -> Device:
    """Describe what a process of torch has, beside others that share its machine."""
    import torch

    cpu = find_cpu()
    share = cpu.host_memory // num_processes
    if device.type != "cuda":
        return replace(cpu, memory=share, host_memory=share)
    properties = torch.cuda.get_device_properties(device)
    return Device(
        name=properties.name,
        memory=properties.total_memory,
        host_memory=share,
        is_gpu=True,
        has_bfloat16=properties.major >= FIRST_WITH_BFLOAT16,
    )


def query_gpus() -> dict[int, Device]:
    """Ask nvidia-smi for this machine's GPUs, by number; empty if there are none, or it does not answer."""
    if shutil.which("nvidia-smi") is None:
        return {}
    asked = "--query-gpu=index,memory.total,compute_cap,name"
    command = ["nvidia-smi", asked, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.split(", ", 3) for line in done.stdout.splitlines() if line.count(", ") >= 3]
    host_memory = read_host_memory()
    return {
        int(number): Device(
            name=name,
            memory=int(mebibytes) * 2**20,
            host_memory=host_memory,
            is_gpu=True,
            has_bfloat16=int(capability.split(".")[0]) >= FIRST_WITH_BFLOAT16,
        )
        for number, mebibytes, capability, name in rows
        if number.isdigit() and mebibytes.isdigit() and capability[:1].isdigit()
    }
