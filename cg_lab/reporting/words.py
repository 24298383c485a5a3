"""What a study found, in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.effects import ContrastEffect, StudyEffects
from cg_lab.analysis.verdict import Verdict
from cg_lab.arms import CONTROLS, Arm
from cg_lab.percentages import percent
from cg_lab.planning.criterion import CRITERION
from cg_lab.planning.plan import Plan
from cg_lab.planning.training_length import tell_unlearned
from cg_lab.registration import Registration, find_additions
from cg_lab.reporting.methods import explain_methods
from cg_lab.reporting.names import name_questions
from cg_lab.results import AnswerSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The words of a report."""

    question: str
    answer: str
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    methods: tuple[str, ...]


def tell_story(
    effects: StudyEffects,
    metrics: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    imported: Mapping[str, tuple[AnswerSource, ...]] = MappingProxyType({}),
) -> Story:
    """Put a study in words: what was asked, what was and was not found, and how far it reaches.

    `metrics` are those of its evaluations, `imported` the files that answers come from, by their ids.
    """
    return Story(
        question=_ask(effects.plan),
        answer=_answer(effects),
        findings=_tell_contrasts(effects),
        limits=_limit(effects),
        methods=explain_methods(effects.plan, metrics, imported),
    )


def shares(interval: Interval) -> str:
    """Write a share with its interval.

    >>> shares(Interval(estimate=0.5, low=0.41, high=0.6, p_value=1.0))
    '50 %, 41 % to 60 %'
    """
    return f"{percent(interval.estimate)}, {percent(interval.low)} to {percent(interval.high)}"


def signed(interval: Interval) -> str:
    """Write a gain with its interval, in percentage points that a table's head names.

    >>> signed(Interval(estimate=0.03, low=-0.01, high=0.07, p_value=0.1))
    '+3 [-1, +7]'
    """
    return f"{_sign(interval.estimate)} [{_sign(interval.low)}, {_sign(interval.high)}]"


def points(interval: Interval) -> str:
    """Write a gain with its interval, in percentage points; ends near zero keep their sign.

    >>> points(Interval(estimate=0.063, low=-0.004, high=0.13, p_value=1.0))
    '+6 points [-0.4, +13]'
    """
    return signed(interval).replace(" ", " points ", 1)


def _sign(share: float) -> str:
    """Write a difference in percentage points, with a decimal where it would be rounded to zero."""
    value = share * 100
    return f"{value:+.1f}" if 0.05 <= abs(value) < 0.5 else f"{round(value):+d}"


def _ask(plan: Plan) -> str:
    first = plan.contrasts[0]
    models = " and ".join(dict.fromkeys(backbone.name for backbone in plan.backbones))
    do = "Does" if len(plan.backbones) == 1 else "Do"
    target = " ".join(first.view)
    if first.main is None or not any(cell.finetunes for cell in plan.cells):
        return f"How well {do.lower()} {models} answer about {target} and others without any training?"
    if first.sees_target:
        return (
            f"{do} {models} gain from being trained on many subsets together, and does that reach {target} and others?"
        )
    if 0 < len(first.related) <= 3:
        sources = " and ".join(plan.find_subset(first, name).words for name in first.related)
    else:
        sources = f"{len(first.related)} subsets that show its elements"
    return (
        f"{do} {models} recombine what {'it' if do == 'Does' else 'they'} learned? For example: trained on {sources}, "
        f"{'is it' if do == 'Does' else 'are they'} better on {target}, which was held out?"
    )


def _answer(effects: StudyEffects) -> str:
    """Say first what was registered, then what came later: claims of both are never counted together."""
    counts = Counter(contrast.word for contrast in effects.contrasts)
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
        f"{count} {'are' if count > 1 else 'is'} '{word}'"
        for word, count in sorted(counts.items(), key=lambda part: _rank(part[0]))
        if word != Verdict.COMPOSES and (count < total or word not in ALREADY_SAID)
    ]
    pooled = [f"{points(part.gain)} over {part.over.traits.words}" for part in effects.pooled if part.over in CONTROLS]
    least = effects.num_compose
    if least > counts[Verdict.COMPOSES]:
        start += f" That it does so in at least {least} of them is shown, without saying in which."
    lead = "Of the others" if counts[Verdict.COMPOSES] else "Of these"
    mean = f" The mean gain of related training is {' and '.join(pooled)}." if pooled else ""
    return f"{warn_of_ceilings(effects)} {start}".lstrip() + (f" {lead}, {', '.join(others)}." if others else "") + mean


def warn_of_ceilings(effects: StudyEffects) -> str:
    """Say of which questions not even the ceiling left a guess, which is told before any verdict; empty if of none."""
    ceilings = ((part.contrast.id, part.arm(Arm.CEILING)) for part in effects.contrasts)
    learned = {name: arm.accuracy.low > arm.chance for name, arm in ceilings if arm and arm.accuracy}
    return tell_unlearned(effects.plan, learned)


ALREADY_SAID = frozenset({str(Verdict.NO_EVIDENCE), str(Verdict.CANNOT_SAY)})
"""By the start of the answer, where it is so of all questions."""


def _rank(word: str) -> int:
    """Give the order in which words are told."""
    order = (Verdict.COMPOSES, Verdict.TRANSFERS, Verdict.NO_EVIDENCE, Verdict.HARMS, Verdict.CANNOT_SAY)
    return next(place for place, verdict in enumerate(order) if word.startswith(verdict))


def tell_registration(plan: Plan, registration: Registration | None) -> tuple[str, ...]:
    """Say what was fixed before anything ran, and what was not."""
    if registration is None:
        return ("When the plan was frozen is not on record.",)
    when = f"{registration.frozen[:16].replace('T', ' at ')} UTC"
    said = [
        f"The plan was frozen on {when}{', before any of its results was there' if registration.num_known == 0 else ''}."
    ]
    if registration.num_known:
        said.append(f"By then other studies had left results for {registration.num_known} of its evaluations.")
    added = sum(contrast.id not in set(registration.contrasts) for contrast in plan.contrasts)
    further = ([f"{added} held-out question{'s' if added > 1 else ''}"] if added else []) + list(
        find_additions(registration, plan)
    )
    if further:
        said.append(f"Added when results were there, and exploratory: {'; '.join(further)}.")
    if plan.criterion and plan.criterion != CRITERION:
        said.append("The rule of this version of cg_lab, below, is not the one that the plan was frozen with.")
    return tuple(said)


FEW_SEEDS = {
    1: "One seed says nothing about how results vary from training to training: numbers are about this very model, and there is no verdict.",
    2: "Two seeds tell little about how results vary from training to training, so that there is no verdict.",
    3: "So few seeds make intervals wide where results vary from training to training.",
}
MERGING = (
    "Composed: each source's adapters were trained on its share of what joint training sees, so that all together saw as many samples. Composed alone: "
    "those of the sources alone, which together saw several times as many. Nothing was trained on the merge. A share is told where "
    "joint training gains over unrelated training with confidence; above 100 % merging did better."
)
MOST_TOLD = 24
"""Held-out questions that are put in words; the tables have all."""


def _tell_contrasts(effects: StudyEffects) -> tuple[str, ...]:
    names = name_questions(effects.plan)
    told = [_tell_contrast(contrast, names[contrast.contrast.id]) for contrast in effects.contrasts[:MOST_TOLD]]
    left = len(effects.contrasts) - len(told)
    return (*told, f"{left} more stand in the tables below.") if left else tuple(told)


def _tell_contrast(contrast: ContrastEffect, name: str) -> str:
    related, ceiling = contrast.main, contrast.arm(Arm.CEILING)
    if related is None or related.accuracy is None:
        return f"{name}: {contrast.word} ({contrast.reason})."
    said = [
        f"{name}: {contrast.word}. The {related.arm.traits.words} model reached {percent(related.accuracy.estimate)}"
    ]
    named = {part.over for part in contrast.decision.unresolved}  # by the reason, with their p-values
    gains = {arm: gain for arm, gain in related.gains.items() if arm.traits.words not in named}
    if related.arm is Arm.MULTI_TASK and Arm.CEILING in gains:
        said.append(f", {points(gains[Arm.CEILING])} over training on the target alone")
    over = [
        f"{points(gains[arm])} over {arm.traits.words}{' training' if arm.traits.model == 'own' else ''}"
        for arm in CONTROLS
        if arm in gains
    ]
    said += [f", {' and '.join(over)}"] if over else []
    if Arm.BLIND in gains:
        said.append(f"; with the image it is {points(gains[Arm.BLIND])} better than without")
    if contrast.lost:
        lost = ", ".join(f"{shares(share)}, without its {factor}" for factor, share in contrast.lost.items())
        said.append(f"; of its gain over unrelated training this much is lost: {lost}")
    for merge in contrast.merges:
        said.append(f"; merged ({merge.arm.traits.words}) it is {points(merge.over_main)} over joint training")
        said += [f", and keeps {shares(merge.kept)}, of that one's gain over unrelated training"] if merge.kept else []
    learned = [arm.accuracy.estimate for arm in contrast.arms if arm.accuracy and not arm.arm.traits.asks_target]
    if learned:
        low, high = percent(min(learned)), percent(max(learned))
        said.append(f". On its own sources it reached {low if low == high else f'{low} to {high}'}")
    if ceiling and ceiling.accuracy:
        said.append(f"; training on the target itself reached {percent(ceiling.accuracy.estimate)}")
    said.append(f"; a guess reaches {percent(contrast.chance)}. Reason: {contrast.reason}.")
    return "".join(said)


def _limit(effects: StudyEffects) -> tuple[str, ...]:
    plan = effects.plan
    seeds = {cell.seed for cell in plan.cells if cell.seed is not None}
    worst = max(cell.proof.detectable or 0 for cell in plan.cells if cell.arm.traits.asks_target)
    sizes = sorted({cell.proof.num_test for cell in plan.cells if cell.arm.traits.asks_target})
    asked = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    trained = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} and " if seeds else ""
    said = [
        f"{trained}{asked} test questions a target: gains over chance below {worst * 100:.0f} points may go unseen with one seed."
    ]
    gains = sorted(part.detectable for part in effects.contrasts if part.detectable is not None)
    if gains:
        which = (
            f" in the median held-out question ({gains[0] * 100:.0f} to {gains[-1] * 100:.0f})"
            if len(gains) > 1
            else ""
        )
        said.append(
            f"Given how seeds and questions varied, a true gain over unrelated training of {median(gains) * 100:.0f} points "
            f"would have been resolved with 80 % power{which}."
        )
    if 0 < len(seeds) < 5:
        said.append(FEW_SEEDS.get(len(seeds), FEW_SEEDS[3]))
    uncovered = dict.fromkeys(
        contrast.contrast.target for contrast in effects.contrasts if not contrast.contrast.fully_covered
    )
    if uncovered:
        said.append(
            f"Not every element is shown by a related subset for {_list_few(uncovered)}: a gain there is transfer "
            "between subsets, not recombination of known elements, and the rule gives no verdict."
        )
    whole = dict.fromkeys(name for names in plan.whole_sources.values() for name in names)
    if whole:
        said.append(
            f"{_list_few(whole)} alone shows the whole combination that is asked for in {len(plan.whole_sources)} held-out "
            "questions, by a further tag: a gain there is transfer, and the rule gives no verdict."
        )
    if any(catalog.data.source == "phantom" for catalog in plan.catalogs):
        said.append(
            "Images are procedural phantoms: they show what the instrument can tell apart, not what a model does on patients."
        )
    if effects.missing:
        said.append(
            f"{len(effects.missing)} of {len(plan.cells)} cells are missing; they are listed below and left out of every mean."
        )
    return tuple(said)


def _list_few(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
