"""What a table of images is like: counts, balance, groups, look-alikes, shortcuts, lengths of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from cg_lab.data.samples import DataSource, Sample, Split, ask, ask_boxes
from cg_lab.data.table import Shortcut, TableSource
from cg_lab.mat import Kind, Subset
from cg_lab.questions import AnyQuestion, Question, format_question
from cg_lab.study import AnswerForm

MOST_ASKED = 500
"""Questions of a subset whose length is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetCheck:
    """What one subset is like."""

    subset: Subset
    counts: dict[str, int]
    """Rows by side: train, test, spare, moved."""
    fewest: int
    """Training samples of the rarest label."""
    most: int
    """Of the most frequent one."""
    num_groups: int
    within: int
    """Images with a look-alike in the subset."""
    between: int
    """With one in another subset."""
    words: tuple[float, int]
    """Of a question with its options: mean, most."""
    longest_label: int
    """Characters."""
    shortcut: Shortcut | None


def check_subsets(source: DataSource, subsets: tuple[Subset, ...]) -> Iterator[SubsetCheck]:
    """Look at one subset after the other; no more than one is held at a time."""
    for subset in subsets:
        train, test = source.read_samples(subset.name, Split.TRAIN), source.read_samples(subset.name, Split.TEST)
        labels = Counter(sample.label for sample in train)
        lengths = [
            _count_words(ask_about(source, subset, sample))
            for sample in (*test, *train)[: MOST_ASKED if subset.kind is not Kind.FILLER else 0]
        ]
        about = source.about if isinstance(source, TableSource) else None
        within, between = about.look_alikes.get(subset.name, (0, 0)) if about else (0, 0)
        counts = {"train": len(train), "test": len(test)}
        if about is not None:
            counts |= {side: about.shares.get(f"{subset.name}/{side}", (0, 0))[1] for side in ("spare", "moved")}
        yield SubsetCheck(
            subset=subset,
            counts=counts,
            fewest=min(labels.values(), default=0),
            most=max(labels.values(), default=0),
            num_groups=len({sample.group for sample in (*train, *test)} - {None}),
            within=within,
            between=between,
            words=(fmean(lengths), max(lengths)) if lengths else (0.0, 0),
            longest_label=max((len(label) for label in subset.labels), default=0),
            shortcut=next((one for one in about.shortcuts if one.subset == subset.name), None) if about else None,
        )
        if isinstance(source, TableSource):
            source.forget(subset.name)


def ask_about(source: DataSource, subset: Subset, sample: Sample) -> AnyQuestion:
    """Ask about a sample's finding, or where it is."""
    return ask_boxes(source, sample) if subset.kind is Kind.DETECTION else ask(source, sample)


def _count_words(question: AnyQuestion) -> int:
    text = format_question(question, AnswerForm.LETTER) if isinstance(question, Question) else question.text
    return len(text.split())
