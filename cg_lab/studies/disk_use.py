"""What jobs take on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = frozenset({"model", "checkpoints"})
"""Folders of a job that hold weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """Bytes of one job."""

    results: int
    weights: int


def measure_folder(folder: Path) -> DiskUse:
    """Measure one job's folder; one that is not there takes nothing."""
    results = weights = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    size = _add_up(entry.path)
                    weights, results = (weights + size, results) if entry.name in WEIGHTS else (weights, results + size)
                else:
                    results += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return DiskUse(results=results, weights=weights)
    return DiskUse(results=results, weights=weights)


def _add_up(folder: str) -> int:
    with os.scandir(folder) as entries:
        return sum(
            _add_up(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
            for entry in entries
        )
