"""Find values that are probably one thing in two spellings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

SHORTEST = 5
"""Letters below which a slip of one letter is no sign of anything (CT, MRI, US)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """One occurrence of a value."""

    factor: str
    value: str
    line: int


def find_near_misses(
    found: Iterable[Spelling], aliases: Mapping[str, Mapping[str, str]], *, slips: bool = True
) -> Iterator[str]:
    """Describe values of one factor that differ only in case, spaces and hyphens, or by one letter.

    Parameters
    ----------
    found
        Every occurrence, with its line.
    aliases
        Declared spellings; a value that is an alias of itself is known to be distinct.
    slips
        Whether a difference of one letter counts too.

    """
    first: dict[str, dict[str, int]] = {}
    for spelling in found:
        first.setdefault(spelling.factor, {}).setdefault(spelling.value, spelling.line)
    for factor, lines in first.items():
        known = aliases.get(factor, {})
        values = sorted(lines, key=lambda value: (lines[value], value))
        for number, value in enumerate(values):
            for earlier in values[:number]:
                if known.get(value) == value and known.get(earlier) == earlier:
                    continue
                first_form, second_form = _fold(earlier), _fold(value)
                if first_form == second_form or (slips and _differ_by_one(first_form, second_form)):
                    yield (
                        f"line {lines[value]}: {factor} '{value}' looks like '{earlier}' (line {lines[earlier]}); "
                        f"write one of them, or declare aliases.{factor}={{{value}: {earlier}}}, or, if they are two, "
                        f"{{{value}: {value}, {earlier}: {earlier}}}"
                    )
                    break


def _fold(value: str) -> str:
    return "".join(character for character in value.casefold() if character.isalnum())


def _differ_by_one(first: str, second: str) -> bool:
    """Tell whether one letter was changed, added, lost, or swapped with its neighbour; digits are never slips."""
    if min(len(first), len(second)) < SHORTEST - 1 or max(len(first), len(second)) < SHORTEST:
        return False
    short, long = sorted((first, second), key=len)
    start = 0
    while start < len(short) and short[start] == long[start]:
        start += 1
    rest_short, rest_long = short[start:], long[start:]
    if any(character.isdigit() for character in (rest_short[:1], rest_long[:1])):
        return False
    if len(short) == len(long):
        swapped = rest_short[:2] == rest_long[:2][::-1] and rest_short[2:] == rest_long[2:]
        return swapped or rest_short[1:] == rest_long[1:]
    return len(long) - len(short) == 1 and rest_short == rest_long[1:]
