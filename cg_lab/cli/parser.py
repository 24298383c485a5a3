"""An argparse parser that says in one line what is wrong, as all messages here do."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from cg_lab.errors import UserError, suggest

REST = "KEY=VALUE"
"""How the rest of a command line is called, of which nothing need be given."""
_MISSING = re.compile(r"the following arguments are required: (?P<names>.*)")
_OF_ONE = re.compile(r"argument (?P<name>.+?): (?P<fault>.*)", re.DOTALL)
_CHOICE = re.compile(r"invalid choice: '(?P<value>.*?)' \(choose", re.DOTALL)
_NUMBER = re.compile(r"invalid \w+ value: (?P<value>.*)", re.DOTALL)


class OneLineParser(argparse.ArgumentParser):
    """Refuses with a user's error in place of a usage and an exit."""

    def error(self, message: str) -> NoReturn:
        """Say what is missing or wrong, and what would be right."""
        verb = self.prog.rpartition(" ")[2]
        if missing := _MISSING.fullmatch(message):
            names = [name for name in missing["names"].split(", ") if name != REST]
            raise UserError(f"`{verb}` needs {' and '.join(map(self._describe, names))}")
        if not (found := _OF_ONE.fullmatch(message)):
            raise UserError(f"`{verb}`: {message}")
        name, fault = found["name"], found["fault"]
        if choice := _CHOICE.match(fault):
            action = self._find(name)
            known = [str(each) for each in action.choices or ()] if action else []
            shown = name if name.startswith("-") else f"`{verb}`"
            raise UserError(f"{shown}: no '{choice['value']}'; {suggest(choice['value'], known)}")
        if number := _NUMBER.match(fault):
            raise UserError(f"{name}: should be a whole number, not {number['value']}")
        if fault.startswith("expected"):
            raise UserError(f"{name}: a value is missing: {self._describe(name)}")
        raise UserError(f"{name}: {fault}")

    def _find(self, name: str) -> argparse.Action | None:
        """Find an argument by how argparse names it in messages."""
        for action in self._actions:
            if name in {"/".join(action.option_strings), *action.option_strings, action.metavar, action.dest}:
                return action
        return None

    def _describe(self, name: str) -> str:
        """Write an argument as it is given, with what it is."""
        action = self._find(name)
        if action is None:
            return name
        told = (
            action.metavar if isinstance(action.metavar, str) else "|".join(map(str, action.choices or (action.dest,)))
        )
        given = f"{name} {told}" if action.option_strings else told
        return f"{given} ({action.help.partition(':')[0] if action.choices else action.help})" if action.help else given


def read_positive(text: str) -> int:
    """Read a count of at least one.

    Raises
    ------
    argparse.ArgumentTypeError
        For all else.

    """
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"should be a whole number from 1 on, not '{text}'")
    return int(text)
