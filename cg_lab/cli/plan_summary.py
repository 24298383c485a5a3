"""What `plan` prints: held-out questions, arms, jobs, what they take, and how plans differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from textwrap import wrap

from rich.console import Console
from rich.markup import escape

from cg_lab.byte_counts import tell_bytes
from cg_lab.cli.show import MOST_ROWS, open_console, open_table, print_table, shorten_names, tell_time
from cg_lab.cli.study_results import check_planned
from cg_lab.doctor.disk_forecast import foresee_disk
from cg_lab.doctor.room import UNKNOWN_GPU, count_trained, find_devices
from cg_lab.due_seeds import find_due, take_due
from cg_lab.errors import UserError
from cg_lab.execution.packs import balance, find_pending, group_jobs, tabulate
from cg_lab.execution.slots import Slots, count_gpus, find_slots
from cg_lab.models.precision import Holdings, has_room, list_ways
from cg_lab.percentages import percent
from cg_lab.planning.budget import BUDGET_RULE, OVER_BUDGET
from cg_lab.planning.compare import compare_jobs, compare_plans
from cg_lab.planning.foresight import foresee_gains, foresee_looks, foresee_seeds
from cg_lab.planning.plan import Contrast, Plan
from cg_lab.planning.study_power import DEFAULT_DEVIATION, MOST_SEEDS
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.registration import Settled
from cg_lab.reporting.names import name_questions
from cg_lab.results import Layout, is_current, read_plan
from cg_lab.serialize import parse, read_json
from cg_lab.study import Backbone, ClusterSettings, Study

MOST_DIFFERENCES = 200
START_UP_S = 12.0
"""From the command to the first step of training: imports, and MLflow's first touch of its database."""
HELD = tuple(part.name for part in fields(Holdings))
NAME_WIDTH = 13
"""Columns that the name of a line takes."""


def show_plan(plan: Plan, study: Study, layout: Layout) -> None:
    """Print held-out questions, arms, jobs, what sharing saves, time and disk."""
    console = open_console()
    worlds = dict.fromkeys(f", {part.data.world} world" for part in plan.catalogs if part.data.source == "phantom")
    sizes = " and ".join(f"{len(part.subsets)} subsets" for part in plan.catalogs)
    models = ", ".join(dict.fromkeys(backbone.name for backbone in plan.backbones))
    console.print(
        f"Study [bold]{plan.study}[/bold]: design {', '.join(plan.designs)}, {sizes}{''.join(worlds)}, {models}\n"
    )
    if len(plan.settings) > 1:
        shown = [setting.name for setting in plan.settings[:8]]
        more = f" and {len(plan.settings) - 8} more" if len(plan.settings) > 8 else ""
        console.print(f"{len(plan.settings)} settings: {escape('; '.join(shown))}{more}\n")
    _show_questions(console, plan)
    _show_notes(console, plan)
    _show_work(console, plan, study, layout)
    _show_memory(console, plan, study)


def _show_memory(console: Console, plan: Plan, study: Study) -> None:
    """Print what each recipe's training holds in memory, of models whose files are here."""
    devices = find_devices(study.cluster) or (UNKNOWN_GPU,)
    device = min(devices, key=lambda one: one.memory)
    numbers = ("trained", *HELD, "in all")
    table = open_table("memory, without activations", "where", *numbers, right=numbers)
    trained = dict.fromkeys((job.base, job.recipe) for job in plan.finetunes if job.recipe.by == "cg_lab")
    for backbone, recipe in list(trained)[:MOST_ROWS]:
        counts = count_trained(backbone, recipe)
        for way in list_ways(counts, device, loaded=device.loaded) if counts else ():
            if device.memory and not has_room(way, device):
                continue
            for where, held in (("GPU" if device.is_gpu else "host", way.on_device), ("host", way.on_host)):
                if held.total:
                    name = f"{backbone.name}, {f'lora {recipe.lora.rank}' if recipe.lora else recipe.trainable}"
                    sizes = [tell_bytes(getattr(held, part)) if getattr(held, part) else "-" for part in HELD]
                    assert counts is not None
                    table.add_row(escape(name), where, f"{counts.trained:,}", *sizes, tell_bytes(held.total))
    if table.row_count:
        console.print()
        print_table(console, table)


def _show_questions(console: Console, plan: Plan) -> None:
    names, gains = name_questions(plan), foresee_gains(plan)
    first = {cell.contrast: cell for cell in reversed(plan.cells) if cell.arm.traits.asks_target}
    texts, numbers = ("target (held out)", "trains on", "unrelated: draws from"), ("samples", "test", "chance", "shows")
    table = open_table(*texts, *numbers, right=numbers)
    is_plain = len({contrast.target for contrast in plan.contrasts}) == len(plan.contrasts)
    alone = plan.whole_sources
    for contrast in plan.contrasts[:MOST_ROWS]:
        proof = first[contrast.id].proof if contrast.id in first else None
        mark = _mark(contrast, is_whole=contrast.id in alone)
        table.add_row(
            escape(contrast.target if is_plain else names[contrast.id]) + mark,
            shorten_names(contrast.related),
            shorten_names(contrast.unrelated),
            str(contrast.main.num_samples + contrast.main.num_target) if contrast.main else "-",
            str(proof.num_test) if proof else "-",
            f"{percent(proof.chance)}" if proof else "-",
            f"+{gains[contrast.id] * 100:.0f}" if contrast.id in gains else "-",
        )
    print_table(console, table)
    if len(plan.contrasts) > MOST_ROWS:
        console.print(f"... and {len(plan.contrasts) - MOST_ROWS} more held-out questions; all stand in plan.json")
    if gains:
        console.print(
            f"shows: points over unrelated training that are resolved with 80 % power, {_tell_power(plan)}", style="dim"
        )
    if any(contrast.sees_target for contrast in plan.contrasts):
        console.print("#: the target's own data are part of the training by intent; nothing is held out", style="dim")
    whole = [contrast for contrast in plan.contrasts if contrast.id in alone and not contrast.sees_target]
    if whole:
        named = dict.fromkeys(name for contrast in whole for name in alone[contrast.id])
        console.print(
            f"=: a source alone shows the whole combination ({shorten_names(tuple(named))}), so that nothing is left "
            "to recombine",
            style="dim",
        )
    if not all(contrast.fully_covered or contrast.sees_target for contrast in plan.contrasts):
        console.print(
            "*: an element of the target is in no related subset, so that a gain is transfer, not recombination",
            style="dim",
        )


def _tell_power(plan: Plan) -> str:
    """Say what goes into the gains that a plan shows, and how many seeds others take."""
    known = plan.seed_deviations
    if known:
        by = f"{known[0].deviation * 100:.0f} points, as in {shorten_names(known[0].studies)}"
    else:
        by = f"{DEFAULT_DEVIATION * 100:.0f} points, a guess until a study of this model is in the results folder"
    told = ", ".join(
        f"{seeds or f'over {MOST_SEEDS}'} for +{gain * 100:.0f}" for gain, seeds in foresee_seeds(plan).items()
    )
    return f"if seeds differ by {by}; seeds that a gain takes: {told}"


def _mark(contrast: Contrast, *, is_whole: bool) -> str:
    """Mark a question whose gain would not be recombination."""
    if contrast.sees_target:
        return " #"
    return " =" if is_whole else "" if contrast.fully_covered else " *"


def _show_notes(console: Console, plan: Plan) -> None:
    reasons: dict[str, list[str]] = {}
    for skipped in plan.skipped:
        reasons.setdefault(skipped.reason, []).append(skipped.question or skipped.target)
    for reason, targets in list(reasons.items())[:MOST_ROWS]:
        shown = list(dict.fromkeys(targets))
        more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
        told = "" if reason == OVER_BUDGET else f" ({reason})"
        start = "left out" if told else OVER_BUDGET
        console.print(f"{start}: {escape(', '.join(shown[:6]))}{more}{escape(told)}", style="dim")
    if OVER_BUDGET in reasons:
        console.print(f"budget: {BUDGET_RULE}", style="dim")
    for catalog in plan.catalogs:
        if catalog.tied:
            tied = ", ".join("-".join(pair) for pair in catalog.tied)
            console.print(f"only together: {tied} (one element in the direction pair)", style="dim")
        for note in catalog.notes:
            examples = escape("; ".join(note.examples[:3]))
            text = escape(f"note: {note.subject}: {note.count} x {note.reason}") + (f"; {examples}" if examples else "")
            console.print(text, style="yellow")
    shared = sorted({name for cell in plan.cells for name in cell.proof.same_datasets})
    if shared:
        console.print(
            f"note: data set {', '.join(shared)} is part of a target and of a subset trained on for it; "
            "look for shared images",
            style="yellow",
        )
    if declared := dict.fromkeys(row["table"] for row in (part.design for part in plan.settings) if "table" in row):
        console.print(
            f"note: what the checkpoints were trained on is what {escape(', '.join(map(str, declared)))} declares; the "
            "proofs rest on it, and nothing here can confirm it",
            style="yellow",
        )
    if any(cell.proof.overlaps is None for cell in plan.cells):
        console.print(
            "note: without images nothing could be checked for copies and patients on both sides", style="yellow"
        )


def _show_work(console: Console, plan: Plan, study: Study, layout: Layout) -> None:
    arms = Counter(cell.arm for cell in plan.cells)
    counted = ", ".join(f"{number} {arm}" for arm, number in arms.items())
    declared, distinct = plan.num_declared_finetunes, len(plan.finetunes)
    saved = f"sharing saves {declared - distinct}" + (f", {percent(1 - distinct / declared)}" if declared else "")
    due = find_due(layout, plan)
    undone = find_pending(plan, layout)
    pending = undone if due is plan else find_pending(due, layout)
    slots = find_slots(study.cluster)
    work = tabulate(plan, slots.gpus)
    groups = group_jobs(work, [job.id for job in (*pending.finetunes, *pending.evals)])
    longest = max((sum(work.seconds[job] for job in load) for load in balance(groups, slots.num)), default=0.0)
    samples = sum(job.schedule.samples for job in pending.finetunes)
    console.print()
    _print_line(console, "cells", f"{len(plan.cells)} ({counted})")
    _print_line(
        console,
        "fine-tunes",
        f"{distinct} distinct for {declared} declared ({saved}), {distinct - len(undone.finetunes)} done",
    )
    _print_line(
        console,
        "evaluations",
        f"{len(plan.evals)} distinct for {len(plan.cells)} cells, {len(plan.evals) - len(undone.evals)} done",
    )
    if cost := foresee_looks(plan, len(take_due(plan, {}).finetunes)):
        told = f"{cost.first} fine-tunes at the first look, {cost.most} at most, about {cost.expected:.0f}"
        looks = ", ".join(map(str, plan.rule.looks))
        _print_line(console, "looks", f"{looks} seeds; {told} if every gain is {cost.gain * 100:.0f} points")
    if pending.num_jobs:
        told = f"{samples:,.0f} training samples, about {tell_time(longest + START_UP_S)} on {slots.tell()}"
        if slots.gpus:
            told += f"; {sum(group.seconds for group in groups) * slots.gpus / 3600:,.2g} GPU hours"
        _print_line(console, "to do", told)
        if floor := _tell_floor(pending.finetunes):
            _print_line(console, "steps", floor)
        for rate in _tell_rates(plan, slots):
            _print_line(console, "rate", rate)
        told = _tell_disk(plan, pending.finetunes, study.cluster)
        _print_line(console, "weights", f"{told}; keep={study.keep} is set")
    else:
        _print_line(console, "to do", "nothing")
    path = layout.plan(plan.study) if is_current(layout, plan) else layout.draft(plan.study)
    _print_line(console, "plan", f"{path} ({plan.id})")


def show_settled(settled: Settled) -> None:
    """Say what a plan that was made beside a study that has begun would add to it."""
    console = open_console()
    assert settled.before is not None
    before, plan = settled.before, settled.plan
    console.print()
    if settled.conflicts:
        _print_line(console, "study", f"{before.study} has begun with other settings and stays as it is:")
        for conflict in settled.conflicts[:MOST_ROWS]:
            _print_line(console, "", conflict)
        _print_line(
            console, "", "sweep with study=NAME runs this plan as a study of its own, sweep --replace in its place"
        )
        return
    questions = len(plan.contrasts) - len(before.contrasts)
    added = f"{questions} held-out questions, {len(plan.cells) - len(before.cells)} cells"
    told = "asks nothing more" if plan.id == before.id else f"sweep adds {added}, exploratory since results are there"
    _print_line(console, "study", f"{before.study} stays as it is with {len(before.contrasts)} questions; {told}")


def _print_line(console: Console, name: str, text: str) -> None:
    """Print something by name; what does not fit on the line stands below it, not below the name."""
    parts = wrap(text, max(console.width - NAME_WIDTH, 20), break_long_words=False, break_on_hyphens=False)
    told = f"\n{' ' * NAME_WIDTH}".join(parts)
    console.print(f"{name:<{NAME_WIDTH}}{told}", markup=False, soft_wrap=True)


def _tell_floor(finetunes: Sequence[FinetuneJob]) -> str:
    """Say how often fine-tunes go through their samples to reach their floor of steps; empty if none has to."""
    longer = [job for job in finetunes if job.recipe.min_steps]
    if not longer:
        return ""
    times = sorted(job.schedule.samples / job.mixture.num_samples for job in longer)
    floors = " and ".join(map(str, sorted({job.recipe.min_steps for job in longer})))
    return (
        f"{len(longer)} of {len(finetunes)} fine-tunes are lengthened to finetune.min_steps={floors}, each sample seen "
        f"{times[0]:.3g} to {times[-1]:.3g} times"
    )


def _tell_rates(plan: Plan, slots: Slots) -> list[str]:
    """Say of each model whose declared rate is for another number of GPUs than a slot has what it is taken as."""
    told: dict[str, None] = {}
    for setting in plan.settings:
        name, rates = setting.backbone.name, setting.rates
        if isinstance(setting.backbone, Backbone) and rates.rate_gpus != (slots.gpus or 1):
            taken = rates.train_samples_per_s * slots.gpus / rates.rate_gpus
            told[
                f"{name}: {rates.train_samples_per_s:g} samples/s on {count_gpus(rates.rate_gpus)} are declared "
                "(model.rate_gpus), "
                + (
                    f"taken as {taken:.3g} on {slots.gpus:.3g}"
                    if slots.gpus
                    else "and there is no GPU here, so that the time is that on theirs"
                )
            ] = None
    return list(told)


def _tell_disk(plan: Plan, finetunes: Sequence[FinetuneJob], cluster: ClusterSettings) -> str:
    """Say what fine-tunes take on disk: their weights with each setting of `keep`, and checkpoints meanwhile."""
    found = foresee_disk(plan, finetunes, cluster)
    bound = "up to " if any(job.recipe.lora and job.recipe.lora.targets for job in finetunes) else ""
    return (
        f"keep=full leaves {bound}{tell_bytes(found.count_kept('full'))} on disk, "
        f"keep=adapter {bound}{tell_bytes(found.count_kept('adapter'))}, keep=nothing none; checkpoints take up to "
        f"{tell_bytes(found.checkpoints)} meanwhile"
    )


def show_difference(plan: Plan, others: tuple[str, ...], layout: Layout) -> int:
    """Print how a plan differs from another one, or how two jobs differ; gives the exit status: 0 if they are equal."""
    if len(others) == 1:
        if not (is_file := others[0].endswith(".json")):
            check_planned(others[0], layout)
        path = Path(others[0]) if is_file else layout.plan(others[0])
        differences, names = compare_plans(read_plan(path), plan), str(path)
    else:
        first, second, *rest = [_find_job(name, plan, layout) for name in others]
        if rest:
            raise UserError(f"--diff: takes one plan or two jobs, not {len(others)} of them")
        differences, names = compare_jobs(first, second), " and ".join(others)
    for difference in differences[:MOST_DIFFERENCES]:
        print(difference)
    if len(differences) > MOST_DIFFERENCES:
        print(f"... and {len(differences) - MOST_DIFFERENCES} more")
    if not differences:
        print(f"{names}: the same")
    return 1 if differences else 0


def _find_job(job_id: str, plan: Plan, layout: Layout) -> FinetuneJob | EvalJob:
    """Find a job in the plan, or among the finished ones."""
    known = {job.id: job for job in (*plan.finetunes, *plan.evals)}
    if job_id in known:
        return known[job_id]
    if not layout.result(job_id).exists():
        raise UserError(f"--diff: no job '{job_id}' in this plan, nor a finished one in {layout.jobs}")
    raw = read_json(layout.result(job_id))["job"]
    return parse(EvalJob if "target" in raw else FinetuneJob, raw, where=str(layout.result(job_id)))
