"""What a study found, in plain words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.analysis.verdict import Verdict
from cg_lab.planning.arms import Arm
from cg_lab.planning.plan import Plan

ARM_NAMES = {
    Arm.ZERO_SHOT: "zero-shot",
    Arm.UNRELATED: "unrelated",
    Arm.RELATED: "related",
    Arm.ALL_DATA: "all data",
    Arm.CEILING: "ceiling",
    Arm.BLIND: "blind",
    Arm.SOURCES: "its sources",
}
ARM_MEANINGS = {
    Arm.ZERO_SHOT: "the untouched model",
    Arm.UNRELATED: "trained on as many samples that share no element with the target",
    Arm.RELATED: "trained on the subsets that share elements with the target, never on the target",
    Arm.ALL_DATA: "trained on related and unrelated subsets together",
    Arm.CEILING: "trained on the target itself",
    Arm.BLIND: "the related model, shown a blank image",
    Arm.SOURCES: "the related model, asked about what it was trained on",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The words of a report."""

    question: str
    answer: str
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    methods: tuple[str, ...]


def tell_story(effects: StudyEffects) -> Story:
    """Put a study in words: what was asked, what was and was not found, and how far it reaches."""
    return Story(
        question=_ask(effects.plan),
        answer=_answer(effects),
        findings=tuple(_tell_contrast(contrast) for contrast in effects.contrasts),
        limits=_limit(effects),
        methods=_explain_methods(effects.plan),
    )


def percent(value: float) -> str:
    """Write a share.

    >>> percent(0.256)
    '26 %'
    """
    return f"{value * 100:.0f} %"


def points(interval: Interval) -> str:
    """Write a gain with its interval, in percentage points."""
    estimate, low, high = (round(value * 100) for value in (interval.estimate, interval.low, interval.high))
    return f"{estimate:+d} points [{low:+d}, {high:+d}]"


def _ask(plan: Plan) -> str:
    subsets = {subset.name: subset for subset in plan.subsets}
    first = plan.contrasts[0]
    target = subsets[first.target].triplet
    if len(first.related) == 2:
        sources = " and ".join(
            f"{subsets[name].triplet.modality} {subsets[name].triplet.area} {subsets[name].triplet.task}"
            for name in first.related
        )
    else:
        sources = f"the {len(first.related)} subsets that share an element with it"
    return (
        f"Does {plan.backbone.name} recombine what it learned? For example: trained on {sources}, "
        f"is it better on {target.modality} {target.area} {target.task}, which it was never trained on?"
    )


def _answer(effects: StudyEffects) -> str:
    counts = Counter(contrast.verdict for contrast in effects.contrasts)
    total = len(effects.contrasts)
    asked = f"{total} held-out questions" if total > 1 else "one held-out question"
    if counts[Verdict.COMPOSES] == total:
        start = f"Yes: in {'all of ' if total > 1 else ''}{asked} the model recombined what it learned."
    elif counts[Verdict.COMPOSES]:
        start = f"In part: in {counts[Verdict.COMPOSES]} of {asked} the model recombined what it learned."
    elif counts[Verdict.CANNOT_SAY] == total:
        start = f"This study cannot say: it has {asked}, and no verdict is possible."
    else:
        start = f"No evidence: recombination was found in none of {asked}." if total > 1 else f"No evidence in {asked}."
    others = [
        f"{counts[verdict]} {'are' if counts[verdict] > 1 else 'is'} '{verdict}'"
        for verdict in (Verdict.NO_EVIDENCE, Verdict.HARMS, Verdict.CANNOT_SAY)
        if 0 < counts[verdict] < total
    ]
    pooled = [
        f"{points(part.gain)} over {ARM_NAMES[part.over]}" for part in effects.pooled if part.over is not Arm.BLIND
    ]
    lead = "Of the others" if counts[Verdict.COMPOSES] else "Of these"
    mean = f" Over all of them, related training changed accuracy by {' and '.join(pooled)}." if pooled else ""
    return start + (f" {lead}, {', '.join(others)}." if others else "") + mean


def _tell_contrast(contrast: ContrastEffect) -> str:
    triplet = contrast.target.triplet
    name = f"{triplet.modality} {triplet.area} {triplet.task}"
    related, ceiling = contrast.arm(Arm.RELATED), contrast.arm(Arm.CEILING)
    if related is None or related.accuracy is None:
        return f"{name}: {contrast.verdict} ({contrast.reason})."
    said = [f"{name}: {contrast.verdict}. The related model reached {percent(related.accuracy.estimate)}"]
    if related.over_zero_shot and related.over_unrelated:
        said.append(
            f", {points(related.over_zero_shot)} over zero-shot and {points(related.over_unrelated)} over unrelated training"
        )
    if contrast.over_blind:
        said.append(f"; with the image it is {points(contrast.over_blind)} better than without")
    learned = [arm.accuracy.estimate for arm in contrast.arms if arm.arm is Arm.SOURCES and arm.accuracy]
    if learned:
        low, high = percent(min(learned)), percent(max(learned))
        said.append(f". On its own sources it reached {low if low == high else f'{low} to {high}'}")
    if ceiling and ceiling.accuracy:
        said.append(f"; training on the target itself reached {percent(ceiling.accuracy.estimate)}")
    said.append(f"; a guess reaches {percent(contrast.target.chance)}. Reason: {contrast.reason}.")
    return "".join(said)


def _limit(effects: StudyEffects) -> tuple[str, ...]:
    plan = effects.plan
    seeds = {cell.seed for cell in plan.cells if cell.seed is not None}
    worst = max(cell.proof.detectable for cell in plan.cells if cell.arm is not Arm.SOURCES)
    sizes = sorted({cell.proof.num_test for cell in plan.cells if cell.arm is not Arm.SOURCES})
    asked = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    said = [
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} and {asked} test questions a target: gains over chance below "
        f"{worst * 100:.0f} points may go unseen with one seed."
    ]
    if len(seeds) < 5:
        said.append(
            "So few seeds tell little about how results vary from training to training: where they differ much, intervals are too narrow and p-values too small."
        )
    uncovered = [contrast.contrast.target for contrast in effects.contrasts if not contrast.contrast.fully_covered]
    if uncovered:
        said.append(
            "Not every element is shown by a related subset for " + ", ".join(uncovered) + ": a gain there is transfer "
            "between subsets, not recombination of known elements, and the rule gives no verdict."
        )
    if plan.data.source == "phantom":
        said.append(
            "Images are procedural phantoms: they show what the instrument can tell apart, not what a model does on patients."
        )
    if effects.missing:
        said.append(
            f"{len(effects.missing)} of {len(plan.cells)} cells are missing; they are listed below and left out of every mean."
        )
    return tuple(said)


def _explain_methods(plan: Plan) -> tuple[str, ...]:
    seeds = sorted({cell.seed for cell in plan.cells if cell.seed is not None})
    trained = sorted({cell.proof.num_train for cell in plan.cells if cell.arm is Arm.RELATED})
    size = str(trained[0]) if len(trained) == 1 else f"{trained[0]} to {trained[-1]}"
    recipe = plan.finetunes[0].recipe
    form = "the option's letter" if plan.backbone.answer == "letter" else "the option's text"
    return (
        f"Design: {plan.contrasts[0].design}. {len(plan.contrasts)} held-out questions over {len(plan.subsets)} subsets. "
        f"Related and unrelated arms train on equally many samples ({size}), spread evenly over subsets and labels; no training "
        f"set but the ceiling's holds a subset with the target's triplet. Seeds {', '.join(map(str, seeds))} draw the samples and their order.",
        f"Model: {plan.backbone.name} (weights {plan.backbone.revision}), {recipe.trainable} weights fine-tuned with AdamW, learning rate "
        f"{recipe.learning_rate:g} with cosine decay, {recipe.epochs:g} epoch(s), {recipe.batch_size} samples a step; the loss is taken "
        f"at the answer. Questions are single-choice with up to four options in random order; the model answers with {form}, the option "
        f"with the highest likelihood counts.",
        f"Statistics: {plan.rule.confidence:.0%} percentile intervals from {plan.rule.resamples:,} bootstrap draws that resample "
        f"questions (patients or look-alike groups as wholes, where known) and seeds, crossed; gains are paired on identical questions, "
        f"and on the seed. Pooled gains resample the held-out questions too.",
    )
