"""The arms of a held-out question."""

from __future__ import annotations

from enum import StrEnum


class Arm(StrEnum):
    """What the scored model was trained on, or what it was shown."""

    ZERO_SHOT = "zero_shot"
    """The untouched backbone (Med-MAT's Baseline)."""
    UNRELATED = "unrelated"
    """As many samples from subsets that share no element with the target (Med-MAT's Baseline+)."""
    PARTIAL = "partial"
    """As many samples from subsets that share just one element with the target (CrossMed's Unrelated)."""
    RELATED = "related"
    """The combination that should explain the target (Med-MAT's Trained)."""
    WITHOUT = "without"
    """The related subsets without those that share one factor's element; the cell's variant names the factor."""
    ALL_DATA = "all_data"
    """Related and unrelated subsets together."""
    MULTI_TASK = "multi_task"
    """All in-distribution subsets together, the target's own data among them where it is one."""
    CEILING = "ceiling"
    """The target's own training data (Med-MAT's Single-task Training)."""
    SHUFFLED = "shuffled"
    """The related combination with labels dealt anew within each subset: what images without truth do."""
    BLIND = "blind"
    """The related model, shown a blank image: what the text alone gives away."""
    SOURCES = "sources"
    """The related model on the test questions of its own sources: whether it learned what it should recombine."""


MAIN_ARMS = (Arm.RELATED, Arm.MULTI_TASK)
"""Arms whose training a held-out question asks about; a question has one of them."""
