"""What a report says of its examples; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cg_lab.reporting.examples import Pick, Reason

LEFT_OUT = "Images were left out, as --no-images or report_images=false asks for."


def tell_why(pick: Pick, main: str) -> tuple[str, str]:
    """Say why a test question is shown, and from how many it was chosen.

    >>> tell_why(Pick(place=0, reason=Reason.MISTAKEN, num_like=31), "related")
    ('related wrong, and surest of it', 'the surest of 31')
    """
    of = "the only one" if pick.num_like == 1 else f"the {_RANKS[pick.reason]} of {pick.num_like}"
    return _KINDS[pick.reason].format(main=main), of


_KINDS = {
    Reason.GAINED: "{main} right, unrelated wrong",
    Reason.MISTAKEN: "{main} wrong, and surest of it",
    Reason.TYPICAL: "typical",
}
_RANKS = {Reason.GAINED: "middle one", Reason.MISTAKEN: "surest", Reason.TYPICAL: "median"}


def tell_rule(shown: int, total: int, each: int) -> str:
    """Say which held-out questions have examples.

    >>> tell_rule(12, 30, 1).partition("numbers only: ")[2]
    'of 12 of 30 held-out questions, at even steps along their list, a test question of one kind each, in turn.'

    Parameters
    ----------
    shown, total
        Held-out questions with examples, and all.
    each
        Examples of a held-out question, at most.

    """
    whose = f"{shown} of {total} held-out questions, at even steps along their list"
    if shown == total:
        whose = f"all {total} held-out questions" if total > 1 else "the held-out question"
    kinds = {1: "a test question of one kind each, in turn", 2: "test questions of two kinds each, in turn"}
    return (
        f"Chosen by a rule that is the same in every study and sees numbers only: of {whose}, "
        f"{kinds.get(each, 'a test question of each kind')}."
    )


def tell_kinds(reasons: Collection[Reason], main: str, *, has_options: bool, has_boxes: bool) -> tuple[str, ...]:
    """Say how a test question of each kind is chosen.

    Parameters
    ----------
    reasons
        Kinds that are shown.
    main
        The arm that is asked about.
    has_options, has_boxes
        What answers are.

    """
    scores = ["the right option's probability"] * has_options + ["how well boxes fit"] * has_boxes
    score = " or ".join(scores)
    rules = {
        Reason.GAINED: f"of all such test questions the middle one by {score}",
        Reason.MISTAKEN: "of all that it answers wrong the one with the most confident answer",
        Reason.TYPICAL: f"of all the median by {score}",
    }
    return tuple(f"{_KINDS[reason].format(main=main)}: {rules[reason]}" for reason in Reason if reason in reasons)


def tell_bars(*, is_written: bool) -> str:
    """Say what the bars are."""
    said = (
        "Bars are the probability of each option in percent, mean over seeds; the full bar and the bold number are "
        "what an arm chooses, ✓ and ✗ whether that is right."
    )
    return said + (
        " Of answers that were parsed from what a model wrote, bars are the share of seeds that gave them."
        if is_written
        else ""
    )


BOXES = (
    "Boxes are those of the first seed. IoU is the intersection over union of the areas under found and true boxes; ✓ "
    "stands for one of at least 50 %."
)


def tell_missing(reasons: Sequence[str], total: int) -> str:
    """Say why images are absent; nothing if none is.

    >>> tell_missing(["image 'a.png' is gone", "image 'b.png' is gone"], 12)
    "2 of 12 images can't be shown: image 'a.png' is gone; and 1 more."

    Parameters
    ----------
    reasons
        Of each example without an image.
    total
        All examples.

    """
    if not reasons:
        return ""
    first, *others = dict.fromkeys(reasons)
    what = "The images" if len(reasons) == total else f"{len(reasons)} of {total} images"
    return f"{what} can't be shown: {first}" + (f"; and {len(others)} more." if others else ".")
