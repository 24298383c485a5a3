"""A recommendation as `recommend` prints it: limits first, then mixtures, why, and how far to trust them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from cg_lab.cli.show import open_console, open_table, print_table
from cg_lab.percentages import percent
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.recommendation import RankedMixture, Recommendation
from cg_lab.study import Study

MOST_TOLD = 5
"""Mixtures that are told unless `budget.finetunes` says otherwise, and subsets of one that are named."""


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
    _print_validated(console, found)
    first = found.mixtures[0]
    console.print()
    for part in first.shown:
        by = ", ".join(part.subsets) or "nobody"
        console.print(escape(f"1 shows {part.factor} {' or '.join(part.elements)} by {by}"))
    for line in (*_tell_views(found), *_tell_worth(found), *_tell_next(found, study)):
        console.print(escape(line))


def _tell_evidence(found: Recommendation) -> Iterator[str]:
    has_less = any(sum(mixture.samples) < found.num_samples for mixture in found.mixtures)
    size = f"{'up to ' if has_less else ''}{found.num_samples:,} samples"
    yield f"{found.target}: a guess is {percent(found.chance)}; mixtures of {size}"
    if found.num_observations:
        yield (
            f"known: {found.num_observations:,} results of {found.num_finetunes:,} fine-tunes about other targets, in "
            f"{', '.join(found.studies)}"
        )
    else:
        yield "known: no finished fine-tune of this model, recipe and data about another target"
    if found.num_left_out:
        yield f"not looked at: {found.num_left_out:,} results about {found.target}, or of models trained on it"
    if found.num_images:
        yield f"seen by the untouched model: up to {found.num_images} training images of each subset that may be used"
    if found.num_target_images:
        yield f"looked at: {found.num_target_images} training images of {found.target} with their labels, no test image"
    elif found.num_images:
        yield f"not looked at: any image of {found.target}"
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


def _print_validated(console: Console, found: Recommendation) -> None:
    if not found.validated:
        return
    level = percent(found.confidence)
    console.print(
        f"\nasked about {found.num_target_images} training images of {found.target}, {len(found.validated)} mixtures "
        "that were trained; these come first, and the best of many is told too high"
    )
    table = open_table("", "right", level, "models", "subsets", right=("right", level, "models"))
    for number, one in enumerate(found.validated[:MOST_TOLD], start=1):
        subsets = ", ".join(one.subsets) if len(one.subsets) <= MOST_TOLD else f"{len(one.subsets)} subsets"
        interval = f"{100 * one.low:.0f} to {percent(one.high)}"
        table.add_row(str(number), percent(one.accuracy), interval, str(one.num_models), escape(subsets))
    print_table(console, table)


def _tell_views(found: Recommendation) -> Iterator[str]:
    """Say what the untouched model sees of the first mixture's subsets."""
    for view in found.source_views:
        seen = f"{view.subset}: elements of the target read off at {view.decoded:.2f}"
        if view.probed is not None and view.similar is not None:
            seen += f", the target's labels at {view.probed:.2f}; cosine to the target {view.similar:.2f}"
        yield f"{seen}; LogME of its own labels {view.logme:.2f}"


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
    if known.prefers_structure:
        yield f"So elements and what the untouched model sees decide the order ({scale * known.structure_regret:.0f})."
    elif known.prefers_all_related:
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
