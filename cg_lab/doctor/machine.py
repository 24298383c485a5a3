"""Versions and devices of this machine, told without importing what takes seconds to load."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from cg_lab.byte_counts import tell_bytes
from cg_lab.doctor.check_result import CheckResult, Status
from cg_lab.models.devices import query_gpus
from cg_lab.models.precision import Device
from cg_lab.version import __version__

PACKAGES = ("torch", "transformers", "peft", "mlflow")
FIRST_PYTHON, LAST_PYTHON = (3, 11), (3, 13)


def check_versions() -> CheckResult:
    """Check that Python and the packages that work depends on are there."""
    found = {name: _find_version(name) for name in PACKAGES}
    told = f"cg_lab {__version__}, Python {platform.python_version()}, " + ", ".join(
        f"{name} {found[name] or 'missing'}" for name in PACKAGES
    )
    missing = [name for name in PACKAGES if found[name] is None]
    if missing:
        return CheckResult(name="versions", status=Status.FAULT, found=told, way_out="make install")
    if not FIRST_PYTHON <= sys.version_info[:2] <= LAST_PYTHON:
        return CheckResult(
            name="versions", status=Status.WARNING, found=told, way_out="tested with Python 3.11 to 3.13; take one"
        )
    return CheckResult(name="versions", found=told)


def check_devices(devices: Sequence[Device]) -> CheckResult:
    """Tell what jobs train on, and in which formats."""
    if not devices:
        return CheckResult(name="devices", found="those of the cluster's nodes; nothing is known of them from here")
    cores = len(os.sched_getaffinity(0))
    device = devices[0]
    formats = f"weights loaded in {device.loaded}, computed in {device.loaded}"
    if not device.is_gpu:
        seen = query_gpus()
        told = f"{cores} cores, {tell_bytes(device.memory)} of memory, no GPU; {formats}"
        if seen and "+cpu" in (_find_version("torch") or ""):
            return _warn(told, 'torch is built for CPUs: make clean && make install TORCH="torch -i INDEX"')
        return CheckResult(name="devices", found=told)
    told = f"{len(devices)} x {device.name}, {tell_bytes(device.memory)}; {formats}"
    if "+cpu" in (_find_version("torch") or ""):
        return _warn(told, 'torch is built for CPUs: make clean && make install TORCH="torch -i INDEX"')
    if not device.has_bfloat16:
        return _warn(told, "it has no bfloat16, so that all takes twice the memory and more time; a newer GPU has it")
    return CheckResult(name="devices", found=told)


def _warn(found: str, way_out: str) -> CheckResult:
    return CheckResult(name="devices", status=Status.WARNING, found=found, way_out=way_out)


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
