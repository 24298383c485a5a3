"""The report as a browser shows it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
PAGE = Path(__file__).resolve().parents[2] / "experiments" / "phantom_two_source" / "report.html"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; make test installs it")
def test_the_page_is_shown_whole_without_a_network(tmp_path: Path) -> None:
    assert CHROMIUM
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", PAGE.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    for heading in ("Accuracy by arm", "Gains of related training", "Verdicts", "What was held out", "Provenance"):
        assert heading in shown
    assert shown.count("<svg") == 4
