"""Why jobs of a study were given up, once for each reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from textwrap import shorten, wrap

from rich.console import Console

from cg_lab.passwords import hide_passwords
from cg_lab.results import Layout, read_failure

MOST_REASONS = 6
MOST_LENGTH = 400
"""Characters of a reason that are printed."""
_VARYING = re.compile(r"\b[0-9a-f]{12,}\b|\d+")
"""Ids and numbers, in which reasons that are alike differ."""


def print_failures(console: Console, job_ids: Iterable[str], layout: Layout, study: str, where: str) -> None:
    """Print why jobs were given up, the most frequent reason first, and what to type next.

    Parameters
    ----------
    console, layout, study
        Where to, and of which study.
    job_ids
        Of all of its jobs.
    where
        Overrides that name its results folder, behind a space; empty for the usual one.

    """
    reasons: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for job_id in sorted(job_ids):
        if failure := read_failure(layout, job_id):
            told = " ".join(hide_passwords(failure.message).split())
            reasons.setdefault((failure.kind, _VARYING.sub("#", told)), []).append((job_id, told))
    if not reasons:
        return
    ranked = sorted(reasons.items(), key=lambda item: -len(item[1]))
    for (kind, _), jobs in ranked[:MOST_REASONS]:
        count = f"{len(jobs)} {'job' if len(jobs) == 1 else 'jobs'}"
        reason = shorten(jobs[0][1], MOST_LENGTH, placeholder=" ...")
        for line in _wrap(f"{count}, {kind}: {reason}", console):
            console.print(line, markup=False, soft_wrap=True)
    if len(ranked) > MOST_REASONS:
        console.print(
            f"... and {len(ranked) - MOST_REASONS} reasons more: python -m cg_lab status study={study}{where}"
        )
    first = ranked[0][1][0][0]
    console.print(f"all of it: python -m cg_lab explain {first} study={study}{where}", soft_wrap=True)
    console.print(f"again:     python -m cg_lab retry --failed study={study}{where}\n", soft_wrap=True)


def _wrap(text: str, console: Console) -> Iterator[str]:
    lines = wrap(text, max(console.width - 2, 20), break_long_words=False, break_on_hyphens=False)
    yield from (line if number == 0 else f"  {line}" for number, line in enumerate(lines))
