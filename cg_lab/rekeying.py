"""Give finished jobs the ids that a newer version would, so that a change of what an id means repeats no work.

A field with a default changes no id (see `omit_defaults`). A change that must, such as a renamed field or one whose
meaning moved, raises `JOB_SCHEMA` and adds a function to `UPGRADES` that turns a job of the version before into one of
the new version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cg_lab.errors import UserError
from cg_lab.locks import holding
from cg_lab.planning import work as planning
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.results import Layout
from cg_lab.serialize import parse, read_json, write_json

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
UPGRADES: Mapping[int, Upgrade] = {}
"""For each older version of job ids, how the plain data of one of its jobs become those of the next version."""


def rekey_jobs(layout: Layout, upgrades: Mapping[int, Upgrade] = UPGRADES) -> int:
    """Rename the folders of finished jobs to their new ids; a pool that is current is left alone.

    What is to be renamed is written down first, so that an interrupted migration goes on where it stopped. Jobs without
    a result keep their old names: nothing asks for them any more.

    Returns
    -------
    Number of jobs that got another id.

    Raises
    ------
    UserError
        If there is no way from the pool's version to this one.

    """
    stamp = read_json(layout.stamp)
    version = int(stamp.get("jobs", 1))
    if version >= planning.JOB_SCHEMA:
        return 0
    missing = [step for step in range(version, planning.JOB_SCHEMA) if step not in upgrades]
    if missing:
        raise UserError(
            f"results_dir: '{layout.root}' has job ids of version {version}, this version of cg_lab has "
            f"{planning.JOB_SCHEMA} and knows no way there; give another folder: results_dir=PATH"
        )
    with holding(layout.root / "rekeying.lock") as held:
        if not held:
            raise UserError(
                f"results_dir: '{layout.root}' is being brought to a newer version by another process; wait"
            )
        moves = layout.root / "rekeying.json"
        if not moves.exists():
            write_json(moves, _list_moves(layout, _chain(version, upgrades)))
        planned: dict[str, dict[str, Any]] = read_json(moves)
        for old, move in planned.items():
            _move(layout, old, move["id"], move["job"])
        write_json(layout.stamp, {**stamp, "jobs": planning.JOB_SCHEMA})
        moves.unlink()
    return len(planned)


def _chain(version: int, upgrades: Mapping[int, Upgrade]) -> Upgrade:
    def upgrade(job: dict[str, Any]) -> dict[str, Any]:
        for step in range(version, planning.JOB_SCHEMA):
            job = upgrades[step](job)
        return job

    return upgrade


def _list_moves(layout: Layout, upgrade: Upgrade) -> dict[str, dict[str, Any]]:
    """For each finished job whose id changes: its new id and its new plain data."""
    raw = {path.parent.name: read_json(path)["job"] for path in sorted(layout.jobs.glob("*/result.json"))}
    moves: dict[str, dict[str, Any]] = {}
    # Evaluations name their fine-tunes, whose new ids must be known first.
    for old in sorted(raw, key=lambda job_id: "target" in raw[job_id]):
        plain = upgrade(dict(raw[old]))
        if plain.get("checkpoint_of") in moves:
            plain["checkpoint_of"] = moves[plain["checkpoint_of"]]["id"]
        job = parse(EvalJob if "target" in plain else FinetuneJob, plain, where=str(layout.result(old)))
        if job.id != old:
            moves[old] = {"id": job.id, "job": plain}
    return moves


def _move(layout: Layout, old: str, new: str, job: dict[str, Any]) -> None:
    if layout.job(old).is_dir() and not layout.job(new).exists():
        layout.job(old).rename(layout.job(new))
    write_json(layout.result(new), {**read_json(layout.result(new)), "job": job})
