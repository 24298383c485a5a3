"""Forms of requests, one module each: how a question is put to a server, and how its reply is read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from cg_lab.dotted_modules import load_module
from cg_lab.endpoint_settings import ServedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a conversation: an example's question, its answer, or the question itself, which is the last."""

    role: Literal["user", "assistant"]
    text: str
    image: bytes | None = None
    """A PNG; None for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server said, as it is kept."""

    text: str
    """What the model wrote; empty if it was kept from answering."""
    tops: tuple[tuple[str, float], ...] = ()
    """Likeliest tokens in the place of the answer's first that is not blank, and their natural log-probabilities;
    empty if the server gives none."""
    model: str = ""
    """The server's own name of what answered."""
    fingerprint: str = ""
    """Of its weights and software, where it gives one."""
    num_read: int = 0
    num_written: int = 0
    """Tokens that are paid for, as the server counts them."""
    ending: tuple[tuple[str, float], ...] = ()
    """Last tokens of a prompt that ends with an option, and their natural log-probabilities; empty if the server gives
    none. What options of a question have in common stands before them, or is their beginning."""
    num_before: int = 0
    """Tokens of that prompt in front of `ending`."""


class Format(Protocol):
    """What the module of a form of requests offers."""

    PATH: str
    """Behind the server's address, as in `/chat/completions`."""

    def write_request(self, model: ServedModel, turns: tuple[Turn, ...], *, with_log_probs: bool) -> dict[str, Any]:
        """Write the body of a request; equal questions give equal bodies, by which their answers are kept.

        If the last turn is the assistant's, it is an option to be scored as it stands, and nothing is to be written.
        """
        ...

    def read_reply(self, reply: dict[str, Any]) -> Reply:
        """Read a reply of status 200; a `ValueError`, `LookupError` or `TypeError` says that it is none."""
        ...


def load_format(name: str) -> Format:
    """Load the module of a form of requests: one of this package, or a dotted module of one's own.

    Raises
    ------
    UserError
        If there is none, or it lacks a part.

    """
    needs = ("PATH", "write_request", "read_reply")
    return cast("Format", load_module(name, sys.modules[__name__], needs, setting="model.format"))
