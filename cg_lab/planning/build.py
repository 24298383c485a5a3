"""From studies to a plan: questions are posed once, compiled, and equal work becomes one job."""

from __future__ import annotations

import gc
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import assert_never

from cg_lab.catalog import Catalog
from cg_lab.errors import UnaskableError, UserError, list_faults
from cg_lab.mat import Kind, Subset
from cg_lab.planning.budget import OVER_BUDGET, Candidate, choose_within
from cg_lab.planning.compile import Compiler, Draft
from cg_lab.planning.criterion import COMPARISONS, CRITERION
from cg_lab.planning.designs import load_design
from cg_lab.planning.graph import MatGraph
from cg_lab.planning.plan import (
    PLAN_SCHEMA,
    Contrast,
    Plan,
    PlannedCatalog,
    Rates,
    Setting,
    Skipped,
    count_declared,
)
from cg_lab.planning.proof import Prover, is_askable
from cg_lab.serialize import to_plain
from cg_lab.study import AnyBackbone, Study

ARMLESS = "it offers none of the arms that are asked for"
MOST_TOLD = 20
"""Targets and questions of which an error says why they can't be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One configuration to plan: the only one, or one of a multirun."""

    name: str
    """What tells it from the others; empty for the only one."""
    study: Study
    catalog: Catalog
    backbone: AnyBackbone


@dataclass(frozen=True, slots=True, kw_only=True)
class _Questions:
    """What a design asks over a catalogue; the same for every run that differs in neither."""

    contrasts: tuple[Contrast, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A question with its cells."""

    contrast: Contrast
    compiler: Compiler
    drafts: list[Draft]

    def weigh(self) -> Candidate:
        """Say what it costs and shows, for choosing within a budget."""
        return self.compiler.weigh(self.contrast, self.drafts)


@contextmanager
def _without_scans() -> Generator[None]:
    """Keep Python from searching for cycles meanwhile: plans have none, and looking takes a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_scans()
def build_plan(runs: Sequence[Run]) -> Plan:
    """Plan one or more configurations together; the same input gives the same plan, byte for byte.

    Equal work is one job, over arms, targets, designs and runs.

    Raises
    ------
    UserError
        If a named target is unknown, if no target can be asked about, or if a cell is not valid. What can't be asked
        while other questions can is listed in the plan with its reason.

    """
    first = runs[0].study
    catalogs: list[Catalog] = []
    graphs: dict[tuple[object, ...], MatGraph] = {}
    provers: dict[tuple[object, ...], Prover] = {}
    asked: dict[tuple[object, ...], _Questions] = {}
    settings: list[Setting] = []
    posed: list[tuple[Contrast, Compiler]] = []
    skipped: list[Skipped] = []
    for run in runs:
        study = run.study
        if run.catalog not in catalogs:
            catalogs.append(run.catalog)
        place = catalogs.index(run.catalog)
        settings.append(_describe_run(run, place))
        graph_key = (place, study.twins, study.design.kinds)
        key = (*graph_key, study.design, study.targets)
        try:
            if graph_key not in graphs:
                graphs[graph_key] = build_graph(run.catalog, study)
                provers[graph_key] = Prover(run.catalog, graphs[graph_key])
            if key not in asked:
                asked[key] = _ask(run, graphs[graph_key])
        except UnaskableError as error:
            if len(runs) == 1:
                raise
            skipped.append(Skipped(target="", question=study.design.name, reason=str(error), setting=run.name))
            continue
        compiler = Compiler(study, run.catalog, graphs[graph_key], provers[graph_key], run.backbone)
        posed += [(_name(compiler.restrict(part), run.name), compiler) for part in asked[key].contrasts]
        skipped += [replace(part, setting=run.name) for part in asked[key].skipped]
    compiled = _compile(posed, skipped)
    if first.budget.is_set and compiled:
        kept = choose_within([part.weigh() for part in compiled], first.budget)
        skipped += [_skip(part.contrast, OVER_BUDGET) for part in compiled if part.contrast.id not in kept]
        compiled = [part for part in compiled if part.contrast.id in kept]
    drafts = [draft for part in compiled for draft in part.drafts]
    if not drafts:
        raise _refuse(runs, skipped)
    finetunes = {tune.id: tune for draft in drafts for tune in draft.finetunes}
    lengthened = {
        part.contrast.setting
        for part in compiled
        if any(tune.recipe.min_steps for draft in part.drafts for tune in draft.finetunes)
    }
    cells = tuple(draft.cell for draft in drafts)
    evaluations = {draft.evaluation.id: draft.evaluation for draft in drafts}
    return Plan(
        schema=PLAN_SCHEMA,
        study=first.study,
        rule=replace(first.rule, looks=first.looks),
        criterion=CRITERION,
        comparisons=COMPARISONS,
        settings=tuple(part if part.name in lengthened else _lift_floor(part) for part in settings),
        catalogs=tuple(describe(catalog) for catalog in catalogs),
        contrasts=tuple(part.contrast for part in compiled),
        cells=cells,
        finetunes=tuple(finetunes[job_id] for job_id in sorted(finetunes)),
        evals=tuple(evaluations[job_id] for job_id in sorted(evaluations)),
        skipped=tuple(skipped),
        num_declared_finetunes=count_declared(cells),
    )


def _describe_run(run: Run, place: int) -> Setting:
    study = run.study
    return Setting(
        name=run.name,
        catalog=place,
        backbone=run.backbone,
        recipe=study.finetune,
        design=to_plain(study.design),
        rates=Rates(
            train_samples_per_s=study.model.train_samples_per_s,
            eval_samples_per_s=study.model.eval_samples_per_s,
            checkpoint_gb=study.model.checkpoint_gb,
            adapter_mb=study.model.adapter_mb,
            rate_gpus=study.model.rate_gpus,
        ),
    )


def _compile(posed: Sequence[tuple[Contrast, Compiler]], skipped: list[Skipped]) -> list[_Compiled]:
    """Compile questions; those that the data do not allow, or that have no wanted arm, are added to those skipped."""
    compiled: list[_Compiled] = []
    for contrast, compiler in posed:
        try:
            drafts = list(compiler.compile(contrast))
        except UnaskableError as error:
            skipped.append(_skip(contrast, str(error)))
            continue
        if drafts:
            compiled.append(_Compiled(contrast=contrast, compiler=compiler, drafts=drafts))
        else:
            skipped.append(_skip(contrast, ARMLESS))
    return compiled


def _lift_floor(setting: Setting) -> Setting:
    """Give a setting without the floor of steps, where it lengthens none of its fine-tunes: plans stay as they were."""
    return replace(setting, recipe=replace(setting.recipe, min_steps=0))


def _skip(contrast: Contrast, reason: str) -> Skipped:
    return Skipped(target=contrast.target, reason=reason, question=contrast.id, setting=contrast.setting)


def _refuse(runs: Sequence[Run], skipped: Sequence[Skipped]) -> UserError:
    """Say why there is nothing to plan."""
    study = runs[0].study
    designs = ", ".join(dict.fromkeys(run.study.design.name for run in runs))
    if skipped and any(part.reason != ARMLESS for part in skipped):
        told = [f"{part.question or part.target}: {part.reason}" for part in skipped[:MOST_TOLD]]
        more = [f"... and {len(skipped) - MOST_TOLD} more"] if len(skipped) > MOST_TOLD else []
        return list_faults(f"targets: no valid sources in the catalogue under design={designs} for", [*told, *more])
    for key, given in (("targets", study.targets), ("arms", study.arms)):
        if given == ():
            return UserError(f"{key}: an empty list asks about nothing, not []; {key}=null takes all that there are")
    wanted = ", ".join(study.arms or ())
    return UserError(f"arms: {study.design.name} offers none of {wanted} here; arms=null plans all that it offers")


def build_graph(catalog: Catalog, study: Study) -> MatGraph:
    """Make the graph of the subsets that a study's design looks at; a filler is neither target nor source."""
    members = tuple(
        subset for subset in catalog.subsets if subset.kind in study.design.kinds and subset.kind is not Kind.FILLER
    )
    if not members:
        raise UnaskableError(
            f"design.kinds: the catalogue has no subset of kind {' or '.join(study.design.kinds)} that can be a target "
            "or a source"
        )
    return MatGraph(
        members,
        catalog.factors,
        strict=study.twins == "shared",
        tied=catalog.tied,
        overlaps=catalog.overlaps or (),
    )


def find_targets(study: Study, catalog: Catalog, graph: MatGraph) -> tuple[Subset, ...]:
    """Give the subsets that a study holds out: those that it names, or all that have test samples."""
    if study.targets is None:
        return tuple(subset for subset in graph.subsets if is_askable(subset))
    return tuple(dict.fromkeys(catalog.find(name) for name in study.targets))


def _ask(run: Run, graph: MatGraph) -> _Questions:
    """Let a design pose its questions; targets that it can't ask about are listed with the reason."""
    study, catalog = run.study, run.catalog
    targets = find_targets(study, catalog, graph)
    design = load_design(study.design.name)
    reasons = {target.name: _find_obstacle(target, graph, study) for target in targets}
    askable = tuple(target for target in targets if reasons[target.name] is None)
    found: dict[str, Contrast] = {}
    skipped: list[Skipped] = []
    for posed in design.find(graph, askable, study.design):
        match posed:
            case Skipped():
                skipped.append(posed)
            case Contrast() if obstacle := _find_obstacle(graph[posed.target], graph, study):
                skipped.append(_skip(posed, obstacle))
            case Contrast():
                if found.setdefault(posed.id, posed) != posed:
                    raise UserError(
                        f"design {study.design.name}: two held-out questions have the id '{posed.id}'; give them other "
                        "labels"
                    )
            case _:
                assert_never(posed)
    told = {contrast.target for contrast in found.values()} | {part.target for part in skipped}
    reason = design.explain_absence(study.design)
    skipped += [
        Skipped(target=target.name, reason=reasons[target.name] or reason)
        for target in targets
        if target.name not in told
    ]
    return _Questions(contrasts=tuple(found.values()), skipped=tuple(skipped))


def _find_obstacle(target: Subset, graph: MatGraph, study: Study) -> str | None:
    """Say why no design could hold a subset out."""
    if target.kind is Kind.FILLER:
        return "it is a filler, which is never held out"
    if target.name not in graph.index:
        return f"it is a {target.kind} subset, design.kinds has {', '.join(study.design.kinds)}"
    return None if is_askable(target) else "it has no test samples"


def _name(contrast: Contrast, setting: str) -> Contrast:
    """Make a question's id unique among the runs."""
    return replace(contrast, id=f"{setting}/{contrast.id}", setting=setting) if setting else contrast


def describe(catalog: Catalog) -> PlannedCatalog:
    """Give a catalogue as a plan keeps it."""
    return PlannedCatalog(
        data=catalog.data,
        factors=catalog.factors,
        tied=MatGraph(catalog.subsets, catalog.factors, tied=catalog.tied).tied,
        subsets=catalog.subsets,
        notes=catalog.notes,
    )
