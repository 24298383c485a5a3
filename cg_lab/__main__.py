"""`python -m cg_lab`."""

from __future__ import annotations

import sys

from cg_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
