"""What a user can cause or fix, and how it is told."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
"""Full, over quota, broken, or a network file system that lost its server."""
DISK_WORDS = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed", "iostream error")
"""How libraries tell of it that hide the number."""


class UserError(Exception):
    r"""A fault in what the user gave; its text alone is shown, with exit status 2.

    The text says what was wrong, the value, where it came from and what would be right. What files and users gave
    may stand in it as it is: characters that steer a terminal or that no file can hold are written as escapes.

    >>> print(UserError("no column 'a\x1b[2J'"))
    no column 'a\x1b[2J'
    """

    def __str__(self) -> str:
        """Give the text as a terminal can show it."""
        return "".join(
            character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
            for character in super().__str__()
        )


class IgnoredSettingWarning(UserWarning):
    """A setting that changes nothing here; the command line shows it as a note."""


class UnaskableError(UserError):
    """A held-out question, or a whole design, that these data can't answer; what else was asked for goes on."""


class InterruptedByUserError(Exception):
    """Ctrl-C or a request to stop; what was finished is kept, with exit status 130."""


def list_faults(title: str, faults: Iterable[str]) -> UserError:
    """Gather all faults of one input into one error.

    >>> print(list_faults("study.yaml has 2 faults", ["seeds: empty", "targets: no 'CT'"]))
    study.yaml has 2 faults:
      - seeds: empty
      - targets: no 'CT'
    """
    return UserError(f"{title}:\n" + "\n".join(f"  - {fault}" for fault in faults))


def suggest(value: str, known: Iterable[str]) -> str:
    """Name what would be right: the known values, and the nearest one if the value looks like a slip.

    >>> suggest("Xray", ["CT", "X-ray"])
    "known: CT, X-ray. Did you mean 'X-ray'?"
    """
    names = sorted(set(known))
    shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    by_fold = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(value.casefold(), by_fold, n=1, cutoff=0.6)
    hint = f" Did you mean '{by_fold[near[0]]}'?" if near else ""
    return f"known: {shown or 'none'}.{hint}"


def is_disk_trouble(error: BaseException) -> bool:
    """Tell whether an exception comes from a disk that is full or out of reach.

    >>> is_disk_trouble(OSError(28, "No space left on device")), is_disk_trouble(OSError(2, "No such file"))
    (True, False)
    """
    if isinstance(error, OSError) and error.errno in DISK_TROUBLE:
        return True
    return any(words in str(error) for words in DISK_WORDS)


def is_denied(error: OSError) -> bool:
    """Tell whether somebody may not write where he was to.

    >>> is_denied(PermissionError(13, "Permission denied")), is_denied(OSError(30, "Read-only file system"))
    (True, True)
    """
    return error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
