"""The report as a browser shows it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cg_lab.reporting.write import open_templates
from tests.browsing import CHROMIUM, FLAGS

PAGE = Path(__file__).resolve().parents[2] / "experiments" / "phantom_two_source" / "report.html"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; make test installs it")
def test_the_page_is_shown_whole_without_a_network(tmp_path: Path) -> None:
    assert CHROMIUM
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", PAGE.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    for heading in ("Accuracy by arm", "Gains of related training", "Verdicts", "What was held out", "Provenance"):
        assert heading in shown
    assert shown.count("<svg") == 4


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; make test installs it")
def test_tables_sort_by_a_click_and_filter_by_words(tmp_path: Path) -> None:
    """Let a script of the test's own click and type, and look at the page that is left."""
    assert CHROMIUM
    page = open_templates().get_template("report.html.j2")
    source = Path(str(page.filename)).read_text(encoding="utf-8")
    script = source[source.index("<script>") : source.index("</script>") + len("</script>")]
    rows = "".join(
        f"<tr><td>{name}</td><td>{gain}</td></tr>" for name, gain in zip("abcdefghi", range(90, 0, -10), strict=True)
    )
    act = (
        "<script>document.querySelectorAll('th button')[1].click();"
        "const field = document.querySelector('input[type=search]'); field.value = '0';"
        "field.dispatchEvent(new Event('input')); field.value = 'a 9';"
        "field.dispatchEvent(new Event('input'));</script>"
    )
    (tmp_path / "page.html").write_text(
        "<!doctype html><main><div><table class='sortable'><thead><tr><th>name</th><th>gain</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></main>{script}{act}"
    )
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        (tmp_path / "page.html").as_uri(),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    assert re.findall(r"<tr[^>]*><td>(\w)</td>", shown) == list("ihgfedcba")
    assert 'aria-sort="ascending"' in shown
    assert re.findall(r"<tr><td>(\w)</td>", shown) == ["a"]  # the others are hidden
