"""Give finished jobs the ids that a newer version would, so that a change of what an id means repeats no work.

A field with a default changes no id (see `omit_defaults`). A change that must, such as a renamed field or one whose
meaning moved, raises `POOL_VERSION` and adds a `Migration`; if every id changes, it raises `JOB_SCHEMA` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cg_lab.catalog import DataRef, ListedData, name_listing
from cg_lab.errors import UserError
from cg_lab.locks import holding
from cg_lab.planning import work as planning
from cg_lab.planning.jobs import replace_data
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob, mark_changes
from cg_lab.results import Layout, read_plan
from cg_lab.serialize import content_id, omit_defaults, parse, read_json, to_plain, write_json, write_lines

UpgradeJob = Callable[[dict[str, Any]], dict[str, Any]]
"""From the plain data of a job of one version to those of the next one."""
UpgradePlan = Callable[[Plan], Plan]
"""The same for the plans that name these jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """The step from one version of a pool to the next."""

    job: UpgradeJob
    plan: UpgradePlan | None = None
    """None leaves the plans as they are: the next `plan` or `sweep` of each study makes them anew."""


def rekey_jobs(layout: Layout, migrations: Mapping[int, Callable[[Layout], Migration]] | None = None) -> int:
    """Rename the folders of finished jobs to their new ids; a pool that is current is left alone.

    What is to be renamed is written down first, so that an interrupted migration goes on where it stopped. Jobs without
    a result keep their old names: nothing asks for them any more.

    Parameters
    ----------
    layout
        The results folder.
    migrations
        For each older version, what makes the step to the next; the package's own by default.

    Returns
    -------
    Number of jobs that got another id.

    Raises
    ------
    UserError
        If there is no way from the pool's version to this one.

    """
    steps = MIGRATIONS if migrations is None else migrations
    stamp = read_json(layout.stamp)
    version = int(stamp.get("jobs", 1))
    if version >= planning.POOL_VERSION:
        return 0
    missing = [step for step in range(version, planning.POOL_VERSION) if step not in steps]
    if missing:
        raise UserError(
            f"results_dir: '{layout.root}' has job ids of version {version}, this version of cg_lab has "
            f"{planning.POOL_VERSION} and knows no way there; give another folder: results_dir=PATH"
        )
    with holding(layout.root / "rekeying.lock") as held:
        if not held:
            raise UserError(
                f"results_dir: '{layout.root}' is being brought to a newer version by another process; wait"
            )
        chain = [steps[step](layout) for step in range(version, planning.POOL_VERSION)]
        moves = layout.root / "rekeying.json"
        if not moves.exists():
            write_json(moves, _list_moves(layout, chain))
        planned: dict[str, dict[str, Any]] = read_json(moves)
        for old, move in planned.items():
            _move(layout, old, move["id"], move["job"])
        _upgrade_plans(layout, chain)
        write_json(layout.stamp, {**stamp, "jobs": planning.POOL_VERSION})
        moves.unlink()
    return len(planned)


def _name_listings_by_content(layout: Layout) -> Migration:
    """Let catalogues without images have one name whatever the order of their lines; before, each order had its own."""
    names: dict[DataRef, DataRef] = {}
    for path in _list_plans(layout):
        for catalog in read_plan(path).catalogs:
            if isinstance(catalog.data, ListedData):
                names[catalog.data] = name_listing(catalog.factors, catalog.subsets)
    plain = {old.content: to_plain(new) for old, new in names.items() if isinstance(old, ListedData)}

    def upgrade(job: dict[str, Any]) -> dict[str, Any]:
        return job | {"data": plain.get(job["data"].get("content"), job["data"])}

    return Migration(job=upgrade, plan=lambda plan: replace_data(plan, names))


MIGRATIONS: Mapping[int, Callable[[Layout], Migration]] = {1: _name_listings_by_content}


def _list_plans(layout: Layout) -> list[Path]:
    return sorted([*layout.root.glob("studies/*/plan.json"), *layout.root.glob("studies/*/packs/plan.json")])


def _upgrade_plans(layout: Layout, chain: Sequence[Migration]) -> None:
    """Let plans name their jobs by the new ids; those that do so already stay as they are."""
    upgrades = [step.plan for step in chain if step.plan is not None]
    for path in _list_plans(layout) if upgrades else []:
        before = plan = read_plan(path)
        for upgrade in upgrades:
            plan = upgrade(plan)
        if plan != before:
            write_lines(path, plan.write_lines())


def _list_moves(layout: Layout, chain: Sequence[Migration]) -> dict[str, dict[str, Any]]:
    """For each finished job whose id changes: its new id and its new plain data."""
    raw = {path.parent.name: read_json(path)["job"] for path in sorted(layout.jobs.glob("*/result.json"))}
    moves: dict[str, dict[str, Any]] = {}
    # Evaluations name their fine-tunes, whose new ids must be known first.
    for old in sorted(raw, key=lambda job_id: "target" in raw[job_id]):
        plain = dict(raw[old])
        if _is_other_work(plain, old):
            continue
        for step in chain:
            plain = step.job(plain)
        if plain.get("checkpoint_of") in moves:
            plain["checkpoint_of"] = moves[plain["checkpoint_of"]]["id"]
        if merge := plain.get("merge"):
            plain["merge"] = merge | {"of": [moves[tune]["id"] if tune in moves else tune for tune in merge["of"]]}
        job = parse(EvalJob if "target" in plain else FinetuneJob, plain, where=str(layout.result(old)))
        if job.id != old:
            moves[old] = {"id": job.id, "job": plain}
    return moves


def _is_other_work(plain: dict[str, Any], old: str) -> bool:
    """Tell whether a fine-tune was run when its fields meant other work, so that it is none of today's jobs."""
    if "target" in plain:
        return False
    job = parse(FinetuneJob, plain, where=f"job {old}")
    return bool(mark_changes(job)) and old == content_id("finetune", planning.JOB_SCHEMA, omit_defaults(job))


def _move(layout: Layout, old: str, new: str, job: dict[str, Any]) -> None:
    if layout.job(old).is_dir() and not layout.job(new).exists():
        layout.job(old).rename(layout.job(new))
    write_json(layout.result(new), {**read_json(layout.result(new)), "job": job})
