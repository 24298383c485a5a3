"""What a study is going to compare, and the rule that turns it into verdicts; both are frozen in plan.json."""

from __future__ import annotations

CRITERION = (
    "transfers: the related model beats the untouched backbone, the unrelated model and its own blind run, each on "
    "identical questions (t tests over seeds and questions, of which the largest p-value counts); a single source may "
    "be why. "
    "composes: it also beats each of its sources alone, trained on as many samples; the combination does what no part "
    "of it does. "
    "harms: the related model falls below both the untouched backbone and the unrelated model. "
    "All registered held-out questions share one level, 1 - confidence, for any false claim of any word: a question "
    "tests transfers or harms first, then composes, and hands its share on to the others once its last claim is made; "
    "planned looks have parts of the level that add up to it, and a question gets no more seeds at a look once its "
    "last claim is made or its gain is surely smaller than one that matters. What was not registered before results "
    "were there is exploratory, and the word says so. "
    "cannot say: a cell is missing, the target is trained on by intent, an element of the target is covered by no "
    "related subset, one related subset alone shows all of them, the target's own training data does not lift the "
    "model above the untouched backbone, so that nothing could have been recombined, or the related arm has fewer than "
    "three seeds. "
    "no evidence: everything else, with the comparisons that were not resolved."
)
COMPARISONS = (
    "for each held-out question, related over zero-shot, unrelated and blind, on identical questions",
    "for each held-out question whose sources are planned alone, related over each of them",
    "for each held-out question, ceiling over zero-shot, as the condition of a verdict",
    "over all held-out questions, the mean gains of related over zero-shot, unrelated and blind",
)
"""All else in a report is exploratory."""
