"""What a study is going to compare, and the rule that turns it into verdicts; both are frozen in plan.json."""

from __future__ import annotations

CRITERION = (
    "composes: the related model beats the untouched backbone, the unrelated model and its own blind run, each on "
    "identical questions; the largest of the three p-values (t tests over seeds and questions) is adjusted over all "
    "held-out questions (Holm) and must stay at or below 1 - confidence. "
    "harms: the related model falls below both the untouched backbone and the unrelated model by the same test. "
    "cannot say: a cell is missing, the target is trained on by intent, an element of the target is covered by no "
    "related subset, one related subset alone shows all of them, the target's own training data does not lift the "
    "model above the untouched backbone, so that nothing could have been recombined, or there are two seeds, which "
    "tell too little about how trainings differ (one gives a verdict about that very model). "
    "no evidence: everything else."
)
COMPARISONS = (
    "for each held-out question, related over zero-shot, unrelated and blind, on identical questions",
    "for each held-out question, ceiling over zero-shot, as the condition of a verdict",
    "over all held-out questions, the mean gains of related over zero-shot, unrelated and blind",
)
"""All else in a report is exploratory."""
