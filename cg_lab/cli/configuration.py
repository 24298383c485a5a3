"""The configuration as composed, printed as Hydra's own `--cfg`, `--package`, `--resolve` and `--info` do."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from cg_lab.passwords import hide_passwords

if TYPE_CHECKING:
    from cg_lab.cli.arguments import Arguments


def show_configuration(arguments: Arguments) -> int:
    """Print every configuration, resolved; or the part of it, or what is said of it, that was asked for."""
    from cg_lab.config import compose, print_as_hydra, to_yaml

    if arguments.cfg == "job" and arguments.package is None:
        for number, composed in enumerate(compose(arguments.request)):
            sys.stdout.write("---\n" if number else "")
            sys.stdout.write(f"# {composed.name}\n" if composed.name else "")
            sys.stdout.write(hide_passwords(to_yaml(composed.plain)))
        return 0
    with redirect_stdout(StringIO()) as printed:
        print_as_hydra(
            arguments.request,
            cfg=arguments.cfg,
            package=arguments.package,
            is_resolved=arguments.resolves or arguments.cfg == "job",
            info=arguments.info,
        )
    sys.stdout.write(hide_passwords(printed.getvalue()))
    return 0
