"""How much seeds differ, read off earlier studies in the results folder and frozen into a plan."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from cg_lab.arms import MAIN_ARMS
from cg_lab.errors import UserError
from cg_lab.planning.plan import Plan, SeedDeviation, Setting
from cg_lab.planning.schedule import fit_floor
from cg_lab.results import Layout
from cg_lab.serialize import parse, read_rows

MOST_STUDIES = 20
"""That are read, newest report first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The first part of a plan.json."""

    settings: tuple[Setting, ...]
    seed_deviations: tuple[SeedDeviation, ...] = ()


def add_deviations(layout: Layout, plan: Plan) -> Plan:
    """Give a plan what earlier studies with the same backbone, recipe and samples say of its seeds.

    A plan that was frozen with the same settings keeps what it was frozen with, whatever came to the folder since.
    """
    own = _read_head(layout.plan(plan.study))
    if own is not None and own.settings == plan.settings:
        return replace(plan, seed_deviations=own.seed_deviations)
    known = [(path.parent.name, _read_head(path.with_name("plan.json")), path) for path in _list_earlier(layout, plan)]
    found: list[SeedDeviation] = []
    for setting in plan.settings:
        alike = [
            (name, path)
            for name, head, path in known
            if head is not None and len(head.settings) == 1 and _describe(head.settings[0]) == _describe(setting)
        ]
        variances = [variance for _, path in alike for variance in _read_variances(path)]
        freedom = sum(number for _, number in variances)
        if freedom:
            variance = sum(variance * number for variance, number in variances) / freedom
            found.append(
                SeedDeviation(
                    setting=setting.name,
                    deviation=math.sqrt(max(0.0, variance)),
                    freedom=freedom,
                    studies=tuple(name for name, _ in alike),
                )
            )
    return replace(plan, seed_deviations=tuple(found)) if found else plan


def _describe(setting: Setting) -> tuple[object, ...]:
    """Give what makes seeds of two studies alike."""
    most = cast("int", setting.design.get("max_samples") or 0)
    return setting.backbone, fit_floor(setting.recipe, most), most


def _list_earlier(layout: Layout, plan: Plan) -> list[Path]:
    """List the tables of numbers of other studies, the newest first."""
    tables = [path for path in layout.root.glob("studies/*/cells.csv") if path.parent.name != plan.study]
    return sorted(tables, key=lambda path: path.stat().st_mtime, reverse=True)[:MOST_STUDIES]


def _read_head(path: Path) -> _Head | None:
    """Read a plan's settings without all that follows; None if there are none that this version can read."""
    try:
        with path.open(encoding="utf-8") as file:
            head = "".join(_take_head(file)).rstrip().rstrip(",")
        plain = cast("dict[str, Any]", json.loads(f"{head}}}"))
        kept = {name: plain[name] for name in ("settings", "seed_deviations") if name in plain}
        return parse(_Head, kept, where=str(path))
    except (OSError, ValueError, UserError):
        return None


def _take_head(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith(' "catalogs"'):
            return
        yield line


def _read_variances(path: Path) -> list[tuple[float, int]]:
    """Read each question's variance over the main arm's seeds, less what single answers explain, and its freedom."""
    accuracies: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    try:
        for row in read_rows(path):
            if row["arm"] in MAIN_ARMS and row["seed"] and row["accuracy"]:
                accuracies[row["contrast"]].append((float(row["accuracy"]), int(row["num_questions"])))
    except (OSError, ValueError, KeyError):  # no table of ours
        return []
    found: list[tuple[float, int]] = []
    for seeds in accuracies.values():
        if len(seeds) > 1:
            mean = sum(value for value, _ in seeds) / len(seeds)
            spread = sum((value - mean) ** 2 for value, _ in seeds) / (len(seeds) - 1)
            found.append((spread - mean * (1 - mean) / seeds[0][1], len(seeds) - 1))
    return found
