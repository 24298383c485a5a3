"""What axe-core finds on the report and on the page of answers: nothing, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from cg_lab.reporting.write import write_report
from cg_lab.results import Layout
from tests.browsing import CHROMIUM, Page, browsing
from tests.reporting.answering import answer_by_arm, plan_study, write_answers

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; make test installs it"),
]
RUN = """
axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(result => {
  window.found = result.violations.map(e => [e.id, e.nodes.length, ...e.nodes.slice(0, 3).map(
    node => node.html.slice(0, 200) + ' ' + node.failureSummary.slice(0, 300))])
})
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        page.resize(1400, 800)
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report a small finished study, with images."""
    layout = Layout(tmp_path_factory.mktemp("results"))
    plan = plan_study(layout, "targets=[ct-brain-mass,us-kidney-bleed,xray-lung-side]", "data.test_per_subset=24")
    write_answers(layout, plan, answer_by_arm)
    return write_report(layout, plan.study).html


def find_faults(page: Page) -> list[list[str]]:
    """Let axe look at the page that is open, with all that can be unfolded unfolded."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    script = (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    page.call("Runtime.evaluate", expression=script)
    page.call("Runtime.evaluate", expression=RUN)
    page.wait("window.found !== undefined")
    return page.evaluate("window.found")


def show(page: Page, path: Path, scheme: str) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.open(path.as_uri())
    page.wait("document.readyState === 'complete'")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("light", 390)])
def test_axe_finds_nothing_on_a_report(browser: Page, report: Path, scheme: str, width: int) -> None:
    browser.resize(width, 800)
    show(browser, report, scheme)
    assert find_faults(browser) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page_of_answers(browser: Page, report: Path, scheme: str) -> None:
    browser.resize(1400, 800)
    show(browser, report.parent / "answers" / "index.html", scheme)
    browser.wait("document.querySelector('tbody img')")
    assert find_faults(browser) == []


def test_axe_finds_what_is_there(browser: Page, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<html><body><img src='x.png'><p style='color: #ccc'>pale</p></body></html>")
    show(browser, page, "light")
    assert {"image-alt", "color-contrast", "html-has-lang"} <= {fault[0] for fault in find_faults(browser)}
