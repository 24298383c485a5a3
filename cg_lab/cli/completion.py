"""What a command line may go on with, for the completion of shells."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cg_lab.arms import Arm
from cg_lab.cli.arguments import build_parser, list_actions
from cg_lab.cli.verb_options import EXPORT_FORMATS
from cg_lab.config.folder import list_choices

TAKE_STUDIES = frozenset({"view", "bundle", "export", "report", "studies"})
"""Verbs that take studies by name."""
BEFORE, WORD = "CG_LAB_BEFORE", "CG_LAB_WORD"
"""Variables in which a shell hands over the words before, a line each, and the one at hand."""


def read_script(shell: str) -> str:
    """Read what a shell evaluates to complete our command lines."""
    return (Path(__file__).parent / "shells" / f"{shell}.sh").read_text(encoding="utf-8")


def answer_query(environment: Mapping[str, str]) -> str:
    """Give what the word at hand may become, a line each; a space at the end where it is complete."""
    before = [word for word in environment.get(BEFORE, "").split("\n") if word]
    return "".join(f"{found}\n" for found in complete(before, environment.get(WORD, "")))


def complete(before: Sequence[str], word: str) -> list[str]:
    """List what a word may become.

    >>> complete([], "st"), complete(["plan"], "design=two")
    (['status ', 'studies '], ['design=two_source '])

    Parameters
    ----------
    before
        The words before it, from the verb on.
    word
        As far as it is written.

    Returns
    -------
    Whole words; a space at the end where one is complete.

    """
    _, commands = build_parser()
    if not before:
        found: Iterable[str] = [f"{verb} " for verb in (*commands, "--help", "--version")]
    elif before[0] not in commands:
        found = []
    elif word.startswith("-"):
        actions = list_actions(commands[before[0]])
        found = [f"{option} " for action in actions for option in action.option_strings if option.startswith("--")]
    elif "=" in word:
        found = _list_values(before, word)
    else:
        found = _list_words(commands[before[0]], before, word)
    return sorted({one for one in found if one.startswith(word)})


def _list_words(command: argparse.ArgumentParser, before: Sequence[str], word: str) -> Iterator[str]:
    """List values of an option, or arguments and keys."""
    actions = list_actions(command)
    option = next((action for action in actions if before[-1] in action.option_strings), None)
    if option is not None and option.nargs != 0:
        yield from (f"{value} " for value in _list_option_values(option, before))
        if option.nargs is None:
            return
    given = [part for part in before[1:] if "=" not in part and not part.startswith("-")]
    for action in actions:
        if action.choices and not action.option_strings and not given:
            yield from (f"{choice} " for choice in action.choices if choice != "query")
    if before[0] in TAKE_STUDIES and (before[0] != "studies" or given):
        yield from (f"{study} " for study in _list_studies(before))
    if before[0] != "completion":
        yield from _list_keys(before, word)


def _list_option_values(option: argparse.Action, before: Sequence[str]) -> Iterable[str]:
    from cg_lab.execution.selection import State

    named = {"state": list(State), "arm": list(Arm), "design": list_choices()["design"], "to": EXPORT_FORMATS}
    return (
        option.choices or named.get(option.dest) or (_list_studies(before) if option.dest in {"diff", "into"} else ())
    )


def _list_keys(before: Sequence[str], word: str) -> Iterator[str]:
    """List groups and keys, those inside of a group once it is named."""
    from cg_lab.config.keys import list_defaults

    sign = word[: len(word) - len(word.lstrip("+~"))]
    groups = list_choices()
    yield from (f"{sign}{group}=" for group in groups)
    for key in list_defaults(before):
        first, dot, _ = key.partition(".")
        yield f"{sign}{key}=" if "." in word or not dot else f"{sign}{first}."


def _list_values(before: Sequence[str], word: str) -> Iterator[str]:
    """List the choices of a group, names of studies, or true and false, after the last comma of a multirun's."""
    key, _, value = word.partition("=")
    name, earlier = key.lstrip("+~"), "".join(value.rpartition(",")[:2])
    values: Iterable[str] = list_choices().get(name, ())
    if name == "study":
        values = _list_studies(before)
    elif not values:
        from cg_lab.config.keys import list_defaults

        values = ("true", "false") if isinstance(list_defaults(before).get(name), bool) else ()
    yield from (f"{key}={earlier}{one} " for one in values)


def _list_studies(before: Sequence[str]) -> tuple[str, ...]:
    from cg_lab.results import Layout

    given = [part.partition("=")[2] for part in before if part.startswith("results_dir=")]
    return Layout(Path(given[-1] if given else "results").expanduser()).list_studies()
