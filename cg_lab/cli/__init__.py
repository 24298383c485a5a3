"""Verbs on the command line; each verb imports what it needs and no more."""

from __future__ import annotations

import sys

from cg_lab.cli.arguments import parse_arguments
from cg_lab.cli.configuration import show_configuration
from cg_lab.config import list_ignored
from cg_lab.errors import InterruptedByUserError, UserError, is_denied, is_disk_trouble
from cg_lab.passwords import hide_passwords


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Returns
    -------
    Exit status: 0 done, 1 some cells failed, 2 the user's input is wrong, 130 interrupted.

    """
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        for note in list_ignored(arguments.request):
            print(f"note: {note}", file=sys.stderr)
        return show_configuration(arguments) if arguments.cfg or arguments.info else arguments.run(arguments)
    except UserError as error:
        print(f"error: {hide_passwords(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        if is_denied(error):
            print(
                f"error: {error.filename} can't be written ({error.strerror}); who may only read has status, explain, "
                "logs and the report that is there",
                file=sys.stderr,
            )
            return 2
        if not is_disk_trouble(error):
            raise
        print(f"error: {error}; what is finished is kept, make room and give the same command again", file=sys.stderr)
        return 1
    except InterruptedByUserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
