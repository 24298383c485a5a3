"""`python -m cg_lab`."""

from __future__ import annotations

import gc
import sys

from cg_lab.cli import main
from cg_lab.cli.interrupts import repeat_lost_interrupts

if __name__ == "__main__":
    if sys.argv[1:2] in (["plan"], ["status"], ["studies"], ["gc"]):
        gc.disable()  # short processes that make few cycles; looking for some takes up to a fifth of their time
    repeat_lost_interrupts()
    sys.exit(main())
