"""Names of arms, levels and held-out questions, as people read them."""

from __future__ import annotations

from cg_lab.arms import Arm
from cg_lab.planning.plan import Contrast, Plan

LEVEL_NAMES = {
    "size_curve": "training samples",
    "target_curve": "samples of the target",
    "coverage": "combinations shown of each value",
    "distance": "elements that differ from the nearest training subset",
    "divergence": "compound divergence",
    "few_shot": "examples for each label",
}


def name_arm(arm: Arm, variant: str) -> str:
    """Name an arm for people.

    >>> name_arm(Arm.WITHOUT, "task")
    'without task'
    """
    return f"{arm.traits.words} {variant}".strip()


def name_questions(plan: Plan) -> dict[str, str]:
    """Name each held-out question as shortly as tells it from others: target, direction, level, sources, setting."""
    names = {contrast.id: " ".join(contrast.view) for contrast in plan.contrasts}
    for detail in (_tell_direction, _tell_level, _tell_sources, _tell_setting):
        told: dict[str, set[str]] = {}
        for contrast in plan.contrasts:
            told.setdefault(names[contrast.id], set()).add(detail(contrast))
        names = {
            contrast.id: name + (detail(contrast) if len(told[name]) > 1 else "")
            for contrast in plan.contrasts
            for name in [names[contrast.id]]
        }
    return names


def _tell_direction(contrast: Contrast) -> str:
    return f" ({contrast.direction})" if contrast.direction else ""


def _tell_level(contrast: Contrast) -> str:
    return "" if contrast.level is None else f" at {contrast.level:g}"


def _tell_sources(contrast: Contrast) -> str:
    return f" from {' + '.join(contrast.related)}" if len(contrast.related) <= 3 else ""


def _tell_setting(contrast: Contrast) -> str:
    return f", {contrast.setting}" if contrast.setting else ""
