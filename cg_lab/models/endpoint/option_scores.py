"""Log-probabilities of options, from what a server says of letters or of prompts that end with an option; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cg_lab.models.endpoint.formats import Reply
from cg_lab.questions import LETTERS

BEFORE = " \t\r\n\u0120\u2581"
"""What stands before a letter in tokens, as text or as tokenizers write a blank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterScores:
    """Log-probabilities of a question's letters."""

    log_probs: tuple[float, ...]
    num_unlisted: int
    """Letters that are not among the tokens listed: they have the least log-probability listed, which theirs can't
    exceed."""


def score_letters(tops: Sequence[tuple[str, float]], num_options: int) -> LetterScores | None:
    """Score letters by the likelier of their spellings, with or without a blank; None if none is listed.

    >>> score_letters([("B", -0.1), (" B", -3.0), ("The", -4.0)], 2)
    LetterScores(log_probs=(-4.0, -0.1), num_unlisted=1)
    >>> score_letters([("I", -0.1), ("Sorry", -3.0)], 2) is None
    True
    """
    found: dict[str, float] = {}
    for token, log_prob in tops:
        letter = token.strip(BEFORE)
        if len(letter) == 1 and letter in LETTERS[:num_options]:
            found[letter] = max(log_prob, found.get(letter, log_prob))
    if not found:
        return None
    least = min(log_prob for _, log_prob in tops)
    return LetterScores(
        log_probs=tuple(found.get(letter, least) for letter in LETTERS[:num_options]),
        num_unlisted=num_options - len(found),
    )


def score_texts(replies: Sequence[Reply]) -> tuple[float, ...] | None:
    """Score the options of a question by prompts that end with each: what they share is the question and counts not.

    Returns
    -------
    The natural log-likelihood of each option with its turn's end; None if the server gives none, or if not even the
    beginning of what is kept of the prompts is the same.

    >>> ends = [Reply(text="", ending=(("1", -9.0), (token, score))) for token, score in (("2", -0.5), ("3", -1.0))]
    >>> score_texts(ends)
    (-0.5, -1.0)

    """
    begin = max(reply.num_before for reply in replies)
    ends = [reply.ending[begin - reply.num_before :] for reply in replies]
    columns = zip(*ends, strict=False)
    shared = next(
        (place for place, column in enumerate(columns) if len({token for token, _ in column}) > 1),
        min(map(len, ends)),
    )
    if not shared:
        return None
    return tuple(sum(log_prob for _, log_prob in end[shared:]) for end in ends)
