"""The page on writing a design is followed to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_page_on_writing_a_design_works_as_written(tmp_path: Path) -> None:
    page = (DOCS / "own_design.md").read_text(encoding="utf-8")
    files = re.findall(r"```(?:python|yaml) (\S+)\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in files] == ["my_designs/nearest.py", "my_conf/design/nearest.yaml"]
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = re.search(r"^\$ PYTHONPATH=\. python (.*)$", page, re.MULTILINE)
    assert command is not None
    done = subprocess.run(
        [sys.executable, *command.group(1).split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f".:{DOCS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "design my_designs.nearest, 64 subsets" in done.stdout
    assert "cells" in done.stdout
