"""What pydantic refuses, told by where it is in the data, the value, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cg_lab.errors import suggest

UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
LISTS = ("tuple_type", "list_type", "set_type", "frozen_set_type")
CHOICES = ("enum", "literal_error")
WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dataclass_type": "a group of settings",
    "dict_type": "a group of settings",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-', a letter or a digit first",
    "string_too_short": "at least one character",
    "string_type": "a text",
}
"""What would be right, where pydantic speaks of its own types and of parsing."""
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""The only pattern that has words above."""
LONGEST = 120
"""Characters of a value that are shown."""
MOST_MEANT = 12
"""Numbers of a range that are written as a list."""


def describe_faults(faults: Sequence[Any], raw: Any) -> list[str]:
    """Tell all of pydantic's faults, but for lists that count as empty since what they hold is refused."""
    holders = {fault["loc"][:-1] for fault in faults}
    return [_describe(fault, raw) for fault in faults if fault["type"] != "too_short" or fault["loc"] not in holders]


def _describe(fault: Any, raw: Any) -> str:
    path = ".".join(_trace(fault["loc"], raw)) or "(top)"
    kind, given = fault["type"], fault.get("input")
    if kind in UNKNOWN:
        return f"{path}: unknown key"
    if kind in MISSING:
        return f"{path}: missing"
    shown = _show(given)
    if kind in CHOICES:
        known = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        return f"{path}: no {shown}; {suggest(str(given), known)}"
    if kind == "value_error":
        return f"{path}: {fault['ctx']['error']}, not {shown}"
    return f"{path}: {_say_right(fault)}, not {shown}"


def _say_right(fault: Any) -> str:
    """Say what would be right."""
    kind, given = fault["type"], fault.get("input")
    if kind in LISTS:
        return "should be a list" + ("" if given is None else f", such as [{_list_meant(str(given))}]")
    is_named = kind != "string_pattern_mismatch" or fault["ctx"]["pattern"] == NAME_PATTERN
    if kind in WORDS and is_named:
        return f"should be {WORDS[kind]}"
    return f"{fault['msg'][:1].lower()}{fault['msg'][1:]}".removeprefix("input ")


def _show(value: Any) -> str:
    """Show a value as it is written in YAML.

    >>> _show("a"), _show(None), _show(True), _show([1])
    ("'a'", 'null', 'true', '[1]')
    """
    shown = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return shown if len(shown) < LONGEST else shown[: LONGEST - 3] + "..."


def _list_meant(text: str) -> str:
    """Give the items of a list that was written otherwise.

    >>> _list_meant("3"), _list_meant("0-3"), _list_meant("[0,1]"), _list_meant("ct-brain-mass")
    ('3', '0,1,2,3', '0,1', 'ct-brain-mass')
    """
    ends = re.fullmatch(r"(\d{1,3})[-:](\d{1,3})", text)
    if ends and 0 < int(ends[2]) - int(ends[1]) < MOST_MEANT:
        return ",".join(map(str, range(int(ends[1]), int(ends[2]) + 1)))
    return text.strip("[]()")


def _trace(place: tuple[int | str, ...], raw: Any) -> list[str]:
    """Give the keys that lead to a place in data, without the names of types that pydantic puts between them."""
    path: list[str] = []
    for number, part in enumerate(place):
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            if number < len(place) - 1 or not isinstance(raw, dict):
                continue
        path.append(str(part))
    return path
