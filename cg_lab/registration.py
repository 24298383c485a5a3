"""When a study's plan was frozen, so that what was added in sight of results can be told from what was not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.journal import now
from cg_lab.planning.plan import Plan
from cg_lab.planning.plan_union import unite_plans
from cg_lab.results import Layout, is_current, read_plan, write_plan
from cg_lab.serialize import parse, read_json, write_json, write_text
from cg_lab.study import Rule

REGISTERED = "registered.json"
MOST_CONFLICTS = 6
"""That a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A plan as it was before its first result."""

    plan: str
    """Id of the plan."""
    frozen: str
    """UTC, ISO 8601."""
    contrasts: tuple[str, ...]
    """Ids of its held-out questions."""
    seeds: tuple[int, ...]
    rule: Rule
    criterion: str
    """Empty for plans that older versions froze."""
    num_known: int | None
    """Its evaluations that other studies had a result for already; None for plans that older versions froze."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a study's plan is once a further one is asked for."""

    plan: Plan
    """The study with what is added, or the plan that was asked for where it stands alone."""
    before: Plan | None
    """The plan of a study that has begun; None if there is nothing to keep."""
    conflicts: tuple[str, ...] = ()
    """Why both can't be one study."""


def settle_plan(layout: Layout, asked: Plan) -> Settled:
    """Say what a study's plan becomes: of one that has begun, all that it was and what is added.

    Parameters
    ----------
    layout
        Where the study lies.
    asked
        The plan that was asked for.

    """
    if is_current(layout, asked):
        return Settled(plan=asked, before=asked)
    before = _read_before(layout.plan(asked.study))
    if before is None or not has_begun(layout, before):
        return Settled(plan=asked, before=None)
    united = unite_plans(before, asked)
    return Settled(plan=united.plan, before=before, conflicts=united.conflicts)


def has_begun(layout: Layout, plan: Plan) -> bool:
    """Tell whether a study has results, or was submitted."""
    if (layout.packs(plan.study) / "order.json").exists():
        return True
    tried = layout.list_tried()
    return any(job.id in tried for job in plan.evals)


def check_conflicts(layout: Layout, settled: Settled) -> None:
    """Refuse a plan that would make a study that has begun another one.

    Raises
    ------
    UserError
        With what differs, and both ways out.

    """
    if not settled.conflicts:
        return
    shown = "; ".join(settled.conflicts[:MOST_CONFLICTS])
    more = f"; and {len(settled.conflicts) - MOST_CONFLICTS} more" if len(settled.conflicts) > MOST_CONFLICTS else ""
    raise UserError(
        f"study: '{settled.plan.study}' in {layout.root} has begun with other settings ({shown}{more}); give this one "
        "a name of its own: study=NAME, or add --replace, which keeps the old plan beside"
    )


def freeze_plan(layout: Layout, plan: Plan, *, replaces: bool = False) -> None:
    """Write a study's plan, and register it if no result of the study can have been seen.

    Parameters
    ----------
    layout, plan
        The study as it is to be.
    replaces
        Whether a plan that lies there is to be kept as `plan.<id>.json`.

    """
    path, here = _find_path(layout, plan.study), layout.plan(plan.study)
    if path.exists() and is_current(layout, plan):
        return
    before = _read_before(here)
    if before is not None and replaces:  # a copy, so that a kill leaves the study with a plan
        write_text(here.with_name(f"plan.{before.id}.json"), here.read_text(encoding="utf-8"))
    done = layout.list_done()
    if before is None or not any(job.id in done for job in before.evals):
        write_plan(layout, plan)
        write_json(path, _register(plan, now(), num_known=sum(job.id in done for job in plan.evals)))
        return
    written = datetime.fromtimestamp(here.stat().st_mtime, UTC)
    write_plan(layout, plan)
    if not path.exists():
        write_json(path, _register(before, written.isoformat(timespec="milliseconds"), num_known=None))


def read_registration(layout: Layout, study: str) -> Registration | None:
    """Read what was registered of a study; None if nothing was, as by older versions."""
    return read_registered(layout.study(study))


def read_registered(folder: Path) -> Registration | None:
    """Read what was registered of the study that lies in a folder, or lay there before it was removed."""
    path = folder / REGISTERED
    return parse(Registration, read_json(path), where=str(path)) if path.exists() else None


def find_additions(registration: Registration, plan: Plan) -> tuple[str, ...]:
    """Say in words what a plan has beyond its registration, held-out questions aside."""
    seeds = sorted({cell.seed for cell in plan.cells if cell.seed is not None} - set(registration.seeds))
    said = [f"seeds {', '.join(map(str, seeds))}"] if seeds else []
    if plan.rule != registration.rule:
        said.append("another confidence or bootstrap")
    if registration.criterion and plan.criterion != registration.criterion:
        said.append("another rule of the verdicts")
    return tuple(said)


def _find_path(layout: Layout, study: str) -> Path:
    return layout.study(study) / REGISTERED


def _register(plan: Plan, frozen: str, *, num_known: int | None) -> Registration:
    return Registration(
        plan=plan.id,
        frozen=frozen,
        contrasts=tuple(contrast.id for contrast in plan.contrasts),
        seeds=tuple(sorted({cell.seed for cell in plan.cells if cell.seed is not None})),
        rule=plan.rule,
        criterion=plan.criterion,
        num_known=num_known,
    )


def _read_before(path: Path) -> Plan | None:
    """Read the plan that lies there; None if there is none that this version can read."""
    try:
        return read_plan(path) if path.exists() else None
    except UserError:
        return None
