"""Ctrl-C that arrives while Python tidies up, or in a library that hands it on as something else."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

PAUSE_S = 0.05
"""Until it is said again; at once it would be lost in the same place."""


def repeat_lost_interrupts() -> None:
    """Say a Ctrl-C again that came in a finalizer or a weak reference's callback, which no exception leaves."""
    sys.unraisablehook = _repeat


def _repeat(unraisable: UnraisableHookArgs) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(PAUSE_S, signal.pthread_kill, (main, signal.SIGINT))
    timer.daemon = True
    timer.start()


def is_interrupt(error: Exception) -> bool:
    """Tell whether a fault is a Ctrl-C that a library of compiled code has put into words of its own.

    >>> is_interrupt(ValueError("Error building validator: KeyboardInterrupt: ")), is_interrupt(ValueError("no"))
    (True, False)
    """
    return KeyboardInterrupt.__name__ in str(error)
