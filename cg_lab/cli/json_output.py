"""Values as the JSON that `--json` prints; docs/json.md says what stands in it."""

from __future__ import annotations

import json
import sys

from cg_lab.serialize import to_plain


def print_json(value: object) -> None:
    """Print a value as JSON."""
    json.dump(to_plain(value), sys.stdout, indent=1, ensure_ascii=False)
    print()
