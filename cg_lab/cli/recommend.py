"""`recommend TARGET`: which subsets to train on for a target, how well that is known, and how to try it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from cg_lab.cli.arguments import Arguments
from cg_lab.cli.json_output import print_json
from cg_lab.cli.runs import PlannedRun
from cg_lab.cli.show import open_console, open_table, print_table
from cg_lab.config import Request
from cg_lab.errors import UserError
from cg_lab.percentages import percent
from cg_lab.planning.build import build_graph
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.recommendation import RankedMixture, Recommendation, rank_mixtures
from cg_lab.recommendation.finished_answers import read_evidence
from cg_lab.recommendation.subset_relations import relate_subsets
from cg_lab.results import Layout
from cg_lab.study import Backbone, Study

OWN_KEYS = ("budget.", "design", "targets=", "study=")
"""Of overrides that a sweep of a recommendation does not take over."""
MOST_TOLD = 5
"""Mixtures that are told unless `budget.finetunes` says otherwise."""


def run_recommend(run: PlannedRun, arguments: Arguments) -> int:
    """Print which mixtures to train on for a target.

    Raises
    ------
    UserError
        If the catalogue has no such subset, or the design looks at none of its kind.

    """
    if arguments.json and arguments.confirms:
        raise UserError("recommend: --json prints data alone; leave it out to see how to --confirm")
    found = recommend(run, arguments.name)
    if arguments.json:
        print_json(found)
    else:
        show_recommendation(found, run.study)
    if arguments.confirms and found.mixtures:
        print(f"\ntry it:\n{_write_command(found, arguments.request)}")
    return 0


def recommend(run: PlannedRun, name: str) -> Recommendation:
    """Rank the mixtures for a target from the catalogue and from what stands in the results folder."""
    study, catalog = run.study, run.catalog
    assert catalog is not None
    if not isinstance(run.backbone, Backbone):
        raise UserError(
            f"recommend: '{study.model.name}' is asked at a server, not trained; take a model whose weights you have"
        )
    target = catalog.find(name)
    graph = build_graph(catalog, study)
    if target.name not in graph.index:
        raise UserError(f"'{target.name}' is a {target.kind} subset; design.kinds has {', '.join(study.design.kinds)}")
    relations = relate_subsets(graph)
    evidence = read_evidence(
        Layout(Path(study.results_dir)),
        relations,
        target.name,
        data=catalog.data,
        backbone=run.backbone,
        recipe=study.finetune,
    )
    return rank_mixtures(
        relations,
        evidence,
        target.name,
        _count_samples(study),
        most=study.budget.finetunes or MOST_TOLD,
        confidence=study.rule.confidence,
    )


def _count_samples(study: Study) -> int:
    """Give the samples of one fine-tune that the budget allows; without one those of the design."""
    budget, recipe = study.budget, study.finetune
    limits = [float(budget.samples)] if budget.samples else []
    if budget.gpu_hours:
        limits.append(budget.gpu_hours * 3600 * study.model.train_samples_per_s / study.model.rate_gpus)
    if not limits:
        return study.design.max_samples
    counts = range(int(min(limits) / recipe.epochs), 0, -1)
    most = next((count for count in counts if schedule_epochs(recipe, count).samples <= min(limits)), 0)
    if not most:
        raise UserError("budget: not one training sample fits; give more of budget.samples or budget.gpu_hours")
    return most


def show_recommendation(found: Recommendation, study: Study) -> None:
    """Print a recommendation, limits first."""
    console = open_console()
    for line in _tell_evidence(found):
        console.print(escape(line))
    console.print()
    if not found.mixtures:
        console.print(escape(f"Nothing here is likely to help: {found.reason}."))
        return
    _print_mixtures(console, found)
    first = found.mixtures[0]
    console.print()
    for part in first.shown:
        by = ", ".join(part.subsets) or "nobody"
        console.print(escape(f"1 shows {part.factor} {' or '.join(part.elements)} by {by}"))
    for line in (*_tell_worth(found), *_tell_next(found, study)):
        console.print(escape(line))


def _tell_evidence(found: Recommendation) -> Iterator[str]:
    yield f"{found.target}: a guess is {percent(found.chance)}; mixtures of {found.num_samples:,} samples"
    if found.num_observations:
        yield (
            f"known: {found.num_observations:,} results of {found.num_finetunes:,} fine-tunes about other targets, in "
            f"{', '.join(found.studies)}"
        )
    else:
        yield "known: no finished fine-tune of this model, recipe and data about another target"
    if found.num_left_out:
        yield f"not looked at: {found.num_left_out:,} results about {found.target}, or of models trained on it"
    if found.num_foreign:
        yield f"of no use: {found.num_foreign:,} results of another model, recipe or other data"


def _print_mixtures(console: Console, found: Recommendation) -> None:
    level = percent(found.confidence)
    table = open_table("", "expects", level, "gain", "subsets", right=("expects", level, "gain"))
    rows = [(str(number), mixture) for number, mixture in enumerate(found.mixtures, start=1)]
    if found.all_related is not None:
        rows.append(("all related", found.all_related))
    for name, mixture in rows:
        table.add_row(name, *_tell_numbers(mixture), escape(_name_shares(mixture)))
    print_table(console, table)
    console.print(f"gain: points over all related subsets together at as many samples, with {level} intervals")


def _tell_numbers(mixture: RankedMixture) -> tuple[str, str, str]:
    if mixture.accuracy is None or mixture.low is None or mixture.high is None:
        return "-", "-", "-"
    gain = "-"
    if mixture.gain is not None and mixture.gain_low is not None and mixture.gain_high is not None:
        gain = f"{100 * mixture.gain:+.0f} [{100 * mixture.gain_low:+.0f}, {100 * mixture.gain_high:+.0f}]"
    return percent(mixture.accuracy), f"{100 * mixture.low:.0f} to {percent(mixture.high)}", gain


def _name_shares(mixture: RankedMixture) -> str:
    if len(mixture.subsets) > MOST_TOLD:
        return f"{len(mixture.subsets)} subsets"
    total = sum(mixture.samples)
    return ", ".join(
        f"{name} {percent(samples / total)}" for name, samples in zip(mixture.subsets, mixture.samples, strict=True)
    )


def _tell_worth(found: Recommendation) -> Iterator[str]:
    """Say how far all that is to be trusted."""
    heads = {
        "likely": "Likely to help",
        "unlikely": "Nothing here is likely to help",
        "unknown": "Whether it helps is not known, and the order is by elements and labels alone",
    }
    yield f"\n{heads[found.outlook]}: {found.reason}."
    known = found.calibration
    if known is None:
        return
    scale = 100 * (1 - found.chance)
    yield (
        f"Held out in turn, {known.num_targets} other targets ended {scale * known.regret:.0f} points below the best "
        f"mixture tried for them with this ranking's choice, {scale * known.nearest_regret:.0f} with the nearest by "
        f"elements, {scale * known.related_regret:.0f} with what is nearest to all related ones together, "
        f"{scale * known.random_regret:.0f} with any."
    )
    if known.prefers_all_related:
        yield "So all related subsets together come first here, whatever is predicted of others."
    elif known.regret >= known.nearest_regret:
        yield "So the order of these mixtures is worth no more than nearness by elements: trust it little."


def _tell_next(found: Recommendation, study: Study) -> Iterator[str]:
    first = found.mixtures[0]
    for part in found.useful:
        yield f"Annotated, {' '.join(part.elements)} would add {100 * part.gain:.0f} points to the best mixture."
    if found.calibration is None:
        yield (
            "To know more: `sweep design=transfer` over the same data trains on each subset and asks about the others."
        )
    elif first.low is not None:
        yield (
            f"Refuted by less than {percent(first.low)}, or by less than all related subsets reach at as many samples: "
            "--confirm says how to try it."
        )
    seconds = schedule_epochs(study.finetune, sum(first.samples)).samples / study.model.train_samples_per_s
    yield f"A fine-tune of {sum(first.samples):,} samples takes about {seconds:,.0f} s at the model's declared rate."


def _write_command(found: Recommendation, request: Request) -> str:
    """Write the sweep that holds the first mixture against simple rules, over the same data and model."""
    single = f", single: {found.single}" if found.single else ""
    row = f"{{target: {found.target}, sources: [{', '.join(found.mixtures[0].subsets)}]{single}}}"
    kept = [part for part in request.overrides if not part.lstrip("+").startswith(OWN_KEYS)]
    own = [
        "design=recommended_mixture",
        f"design.rows=[{row}]",
        f"design.max_samples={found.num_samples}",
        f"targets=[{found.target}]",
        f"study=recommended_{found.target}",
    ]
    if request.config_dir is not None:
        kept += ["--config-dir", str(request.config_dir)]
    return shlex.join(["python", "-m", "cg_lab", "sweep", *own, *kept])
