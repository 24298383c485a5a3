"""What a study is once more is asked of it: all that it was, and what is added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cg_lab.planning.compare import compare_parts
from cg_lab.planning.plan import Cell, Contrast, Plan, PlannedCatalog, Setting, count_declared
from cg_lab.planning.schedule import fit_floor

Named = TypeVar("Named")


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """Two plans as one, or why they can't be one study."""

    plan: Plan
    """The one that was asked for, if there are conflicts."""
    conflicts: tuple[str, ...]
    """What is there already and would become another: field, value there, value asked for."""


def unite_plans(before: Plan, asked: Plan) -> Union:
    """Add to a plan what another one asks beyond it; nothing that was there goes.

    A target that was asked about under the same design and setting keeps its questions, though with other targets
    beside it the planner might have found it other sources. The rule is the one that is asked for.

    Parameters
    ----------
    before
        The plan of the study so far.
    asked
        The further one.

    """
    conflicts = tuple(_list_conflicts(before, asked))
    if conflicts:
        return Union(plan=asked, conflicts=conflicts)
    contrasts = _unite_contrasts(before, asked)
    cells = tuple(_unite_cells(before, asked, contrasts))
    jobs = {job for cell in cells for job in (cell.eval_job, *cell.finetunes)}
    finetunes = {job.id: job for job in (*before.finetunes, *asked.finetunes) if job.id in jobs}
    evals = {job.id: job for job in (*before.evals, *asked.evals) if job.id in jobs}
    catalogs = _unite([part.data for part in before.catalogs], before.catalogs,
                      [part.data for part in asked.catalogs], asked.catalogs)  # fmt: skip
    planned = {contrast.target for contrast in contrasts}
    plan = replace(
        asked,
        settings=tuple(_unite_settings(before, asked, catalogs)),
        seed_deviations=_unite_named(before.seed_deviations, asked.seed_deviations, "setting"),
        catalogs=catalogs,
        contrasts=contrasts,
        cells=cells,
        finetunes=tuple(finetunes[name] for name in sorted(finetunes)),
        evals=tuple(evals[name] for name in sorted(evals)),
        skipped=tuple(
            part
            for part in dict.fromkeys((*before.skipped, *asked.skipped))
            if part.question or part.target not in planned
        ),
        num_declared_finetunes=count_declared(cells),
    )
    return Union(plan=plan, conflicts=())


def _list_conflicts(before: Plan, asked: Plan) -> Iterator[str]:
    """List what both plans have under one name and mean otherwise."""
    for setting in asked.settings:
        known = before.setting_by_name.get(setting.name)
        if known is None:
            continue
        where = f"setting {setting.name}, " if setting.name else ""
        if _share_floor((before, known), (asked, setting)):
            known = replace(known, recipe=replace(known.recipe, min_steps=setting.recipe.min_steps))
        for name in ("backbone", "recipe", "design"):
            yield from _compare(f"{where}{name}", getattr(known, name), getattr(setting, name))
        yield from _compare(f"{where}data", before.catalogs[known.catalog].data, asked.catalogs[setting.catalog].data)
    for contrast in asked.contrasts:
        known_contrast = before.contrast_by_id.get(contrast.id)
        if known_contrast is None:
            continue
        own = {(part.arm, part.variant): part for part in known_contrast.trainings}
        for part in contrast.trainings:
            if (part.arm, part.variant) in own:
                yield from _compare(f"{contrast.id}, {part.arm}", own[part.arm, part.variant], part)
        bare = [replace(one, trainings=(), asks_sources=False) for one in (known_contrast, contrast)]
        yield from _compare(contrast.id, *bare)
    jobs = {cell.key: cell.eval_job for cell in before.cells}
    changed = [cell.key for cell in asked.cells if jobs.get(cell.key, cell.eval_job) != cell.eval_job]
    if changed:
        yield f"{len(changed)} cells would be other work, such as {changed[0]}"


def _share_floor(*sides: tuple[Plan, Setting]) -> bool:
    """Tell whether no floor of steps, which a plan has where it would change nothing, goes with the other one's."""
    floor = max(setting.recipe.min_steps for _, setting in sides)
    for plan, setting in sides:
        free = replace(setting.recipe, min_steps=0)
        counts = {
            job.mixture.num_samples
            for job in plan.finetunes
            if setting.recipe == free and (job.backbone, job.recipe) == (setting.backbone, free)
        }
        if setting.recipe.min_steps not in {0, floor} or any(
            fit_floor(replace(free, min_steps=floor), count).min_steps for count in counts
        ):
            return False
    return True


def _compare(path: str, first: Any, second: Any) -> Iterator[str]:  # noqa: ANN401 - parts of plans
    if first != second:
        yield from map(str, compare_parts(path, first, second))


def _unite_contrasts(before: Plan, asked: Plan) -> tuple[Contrast, ...]:
    known = {_find_topic(contrast) for contrast in before.contrasts}
    further = {contrast.id: contrast for contrast in asked.contrasts}
    kept = (_unite_contrast(contrast, further.get(contrast.id, contrast)) for contrast in before.contrasts)
    return (*kept, *(contrast for contrast in asked.contrasts if _find_topic(contrast) not in known))


def _find_topic(contrast: Contrast) -> tuple[object, ...]:
    """Give what a question is about, whatever its sources are."""
    return contrast.setting, contrast.design, contrast.target, contrast.direction, contrast.level, contrast.curve


def _unite_contrast(before: Contrast, asked: Contrast) -> Contrast:
    """Unite the arms of one question."""
    keys = [[(part.arm, part.variant) for part in contrast.trainings] for contrast in (before, asked)]
    trainings = _unite(keys[0], before.trainings, keys[1], asked.trainings)
    return replace(before, trainings=trainings, asks_sources=before.asks_sources or asked.asks_sources)


def _unite_cells(before: Plan, asked: Plan, contrasts: Sequence[Contrast]) -> Iterator[Cell]:
    groups: list[dict[str, list[Cell]]] = [{}, {}]
    for cells, plan in zip(groups, (before, asked), strict=True):
        for cell in plan.cells:
            cells.setdefault(cell.contrast, []).append(cell)
    for contrast in contrasts:
        first, second = (cells.get(contrast.id, []) for cells in groups)
        yield from _unite([cell.key for cell in first], first, [cell.key for cell in second], second)


def _unite_settings(before: Plan, asked: Plan, catalogs: Sequence[PlannedCatalog]) -> Iterator[Setting]:
    places = {catalog.data: place for place, catalog in enumerate(catalogs)}
    moved = [
        [replace(setting, catalog=places[plan.catalogs[setting.catalog].data]) for setting in plan.settings]
        for plan in (before, asked)
    ]
    for setting in _unite_named(moved[0], moved[1], "name"):
        floor = max(part.recipe.min_steps for parts in moved for part in parts if part.name == setting.name)
        yield replace(setting, recipe=replace(setting.recipe, min_steps=floor))


def _unite_named(before: Sequence[Named], asked: Sequence[Named], name: str) -> tuple[Named, ...]:
    keys = [[getattr(part, name) for part in parts] for parts in (before, asked)]
    return _unite(keys[0], before, keys[1], asked)


def _unite(
    known: Sequence[object], before: Sequence[Named], further: Sequence[object], asked: Sequence[Named]
) -> tuple[Named, ...]:
    """Unite two lists by keys, in the order of the one that has them all, or else of the first."""
    if set(known) <= set(further):
        before_by_key = dict(zip(known, before, strict=True))
        return tuple(before_by_key.get(key, part) for key, part in zip(further, asked, strict=True))
    return (*before, *(part for key, part in zip(further, asked, strict=True) if key not in set(known)))
