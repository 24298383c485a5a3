"""Verbs on the command line; each verb imports what it needs and no more."""

from __future__ import annotations

import sys
import warnings

from cg_lab.cli.arguments import parse_arguments
from cg_lab.cli.configuration import show_configuration
from cg_lab.cli.interrupts import is_interrupt
from cg_lab.errors import IgnoredSettingWarning, InterruptedByUserError, UserError, is_denied, is_disk_trouble
from cg_lab.passwords import hide_passwords


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Returns
    -------
    Exit status: 0 done, 1 some cells failed, 2 the user's input is wrong, 130 interrupted.

    """
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("always", IgnoredSettingWarning)
            return show_configuration(arguments) if arguments.cfg or arguments.info else arguments.run(arguments)
    except UserError as error:
        print(f"error: {hide_passwords(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        return _tell_trouble(error)
    except InterruptedByUserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 130
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, Exception) and not is_interrupt(error):
            raise
        print("\nstopped", file=sys.stderr)
        return 130


def _tell_trouble(error: OSError) -> int:
    """Say what a user can do about files and disks, and give the exit status; raises what is none of these."""
    status = 2
    if is_denied(error):
        told = (
            f"{error.filename} can't be written ({error.strerror}); who may only read has status, explain, logs and "
            "the report that is there"
        )
    elif isinstance(error, NotADirectoryError):
        told = f"{error.filename}: a part of this path is a file, not a folder; give another"
    elif is_disk_trouble(error):
        told, status = f"{error}; what is finished is kept, make room and give the same command again", 1
    else:
        raise error
    print(f"error: {told}", file=sys.stderr)
    return status


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    """Show what the user should know as a note, and everything else as Python does."""
    if issubclass(category, IgnoredSettingWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr, end="")
