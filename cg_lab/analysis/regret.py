"""How far a recommended mixture stayed below the best of the simple rules that were trained beside it."""

from __future__ import annotations

from dataclasses import dataclass

from cg_lab.analysis.bootstrap import Interval
from cg_lab.analysis.effects import StudyEffects
from cg_lab.arms import Arm

OWN_RULES = (Arm.ALL_RELATED, Arm.NEAREST_SUBSETS, Arm.SINGLE)
"""What one would train on without a recommendation, and no design offers but those that try one."""
RULES = (*OWN_RULES, Arm.ALL_DATA, Arm.UNRELATED)
"""All that a recommendation is held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """The best rule of one held-out question."""

    question: str
    """Id."""
    rule: Arm
    accuracy: float
    """Of the rule."""
    recommended: float
    """Accuracy of the recommended mixture."""
    gain: Interval
    """Of the rule over the recommended mixture, by questions and seeds. The rule is picked by its result, so that this
    is too high: below 0 no rule did better."""


def measure_regret(effects: StudyEffects) -> tuple[Regret, ...]:
    """Find the best rule of each question of a recommendation, in the plan's order."""
    found: list[Regret] = []
    for effect in effects.contrasts:
        main = effect.main
        rules = [arm for arm in effect.arms if arm.arm in RULES and arm.accuracy and Arm.RELATED in arm.gains]
        if main is None or main.accuracy is None or not any(rule.arm in OWN_RULES for rule in rules):
            continue
        best = max(rules, key=lambda arm: arm.gains[Arm.RELATED].estimate)
        assert best.accuracy is not None
        found.append(
            Regret(
                question=effect.contrast.id,
                rule=best.arm,
                accuracy=best.accuracy.estimate,
                recommended=main.accuracy.estimate,
                gain=best.gains[Arm.RELATED],
            )
        )
    return tuple(found)
