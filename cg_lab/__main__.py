"""`python -m cg_lab`."""

from __future__ import annotations

import gc
import sys

from cg_lab.cli import main

if __name__ == "__main__":
    if sys.argv[1:2] == ["plan"]:
        gc.disable()  # a short process that makes no cycles; looking for some takes a twentieth of its time
    sys.exit(main())
