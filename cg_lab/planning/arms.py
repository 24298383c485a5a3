"""The arms of a held-out question."""

from __future__ import annotations

from enum import StrEnum


class Arm(StrEnum):
    """What the scored model was trained on, or what it was shown."""

    ZERO_SHOT = "zero_shot"
    """The untouched backbone (the paper's Baseline)."""
    UNRELATED = "unrelated"
    """As many samples from subsets that share no element with the target (Baseline+)."""
    RELATED = "related"
    """The combination that covers the target's elements (Trained)."""
    ALL_DATA = "all_data"
    """Related and unrelated subsets together."""
    CEILING = "ceiling"
    """The target's own training data."""
    BLIND = "blind"
    """The related model, shown a blank image: what the text alone gives away."""
    SOURCES = "sources"
    """The related model on the test questions of its own sources: whether it learned what it should recombine."""
