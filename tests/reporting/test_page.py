"""The report as a browser shows it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cg_lab.arms import Arm
from cg_lab.reporting.write import ReportFiles, write_report
from cg_lab.results import Layout
from tests.browsing import CHROMIUM, FLAGS, Page, browsing
from tests.reporting.answering import answer_by_arm, plan_study, write_answers

PAGE = Path(__file__).resolve().parents[2] / "experiments" / "phantom_two_source" / "report.html"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; make test installs it"),
]
NUMBERS = "[...document.querySelectorAll('table.sortable')].find(e => e.tHead.innerText.includes('seeds'))"
ROWS = f"[...{NUMBERS}.tBodies[0].rows].filter(e => e.checkVisibility()).map(e => [...e.cells].map(e => e.innerText))"
SHOWN_WITHIN_MS = 1000
MOST_TRIES = 10
MOST_BYTES = 500_000
"""Of the report of the default study, without its images."""
TAKEN = "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.timing.loadEventEnd - \
performance.timing.navigationStart]"
A4_PX = 718
"""Width of a sheet between a browser's usual margins."""
WIDER = "[...document.querySelectorAll('body, .scroll')].filter(e => e.scrollWidth > e.clientWidth).length"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    """Report a small finished study, with images."""
    layout = Layout(tmp_path_factory.mktemp("results"))
    plan = plan_study(layout, "targets=[ct-brain-mass,us-kidney-bleed,xray-lung-side]", "data.test_per_subset=40")
    write_answers(layout, plan, answer_by_arm)
    return write_report(layout, plan.study)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def report(browser: Page, files: ReportFiles) -> Page:
    """Open the report anew."""
    show(browser, files.html)
    return browser


def show(page: Page, path: Path, *, width: int = 1100, media: str = "screen") -> None:
    page.call("Emulation.setEmulatedMedia", media=media)
    page.resize(width, 900)
    page.open(path.as_uri())
    page.wait("document.readyState === 'complete'")


def test_the_page_is_shown_whole_without_a_network(tmp_path: Path) -> None:
    assert CHROMIUM
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", PAGE.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    for heading in ("Accuracy by arm", "Gains of related training", "Verdicts", "What was held out", "Provenance"):
        assert heading in shown
    assert shown.count("<svg") == PAGE.read_text(encoding="utf-8").count("<svg") >= 8


def test_the_first_screen_has_the_question_the_answer_and_the_figure_that_carries_it(browser: Page) -> None:
    browser.resize(1400, 800)
    browser.open(PAGE.as_uri())
    browser.wait("document.readyState === 'complete'")
    shown = "[...document.querySelectorAll('.question, .answer, main > figure .figure')].slice(0, 3)"
    ends = browser.evaluate(f"{shown}.map(e => e.getBoundingClientRect().bottom)")
    assert ends == sorted(ends)
    assert ends[-1] <= 800
    first = "document.querySelector('main > figure svg')"
    rows = browser.evaluate(f"[...{first}.querySelectorAll('text')].map(e => e.textContent)")
    names = [text for text in rows if text in {"zero-shot", "unrelated", "related", "ceiling"} or "alone" in text]
    assert [name.split()[0] for name in names[:6]] == ["zero-shot", "unrelated", "alone", "alone", "related", "ceiling"]


def test_the_report_of_the_default_study_is_small_and_shown_within_a_second(browser: Page) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(re.sub(r"data:image/[^'\")]+", "", text).encode()) < MOST_BYTES
    assert text.index("<svg") < text.index("<h2")  # what the first paint shows
    taken: list[list[float]] = []
    while len(taken) < MOST_TRIES and not (taken and max(taken[-1]) < SHOWN_WITHIN_MS):  # others may have the machine
        show(browser, PAGE, width=1400)
        browser.wait("performance.timing.loadEventEnd > 0")
        taken.append(browser.evaluate(TAKEN))
    assert max(taken[-1]) < SHOWN_WITHIN_MS, taken


def test_contents_lead_to_every_part_and_stay_in_reach(report: Page) -> None:
    heads = report.evaluate("[...document.querySelectorAll('h2')].map(e => e.textContent)")
    assert report.evaluate("[...document.querySelectorAll('.contents a')].map(e => e.textContent)") == heads
    report.evaluate("document.querySelector('.contents a[href=\"#verdicts\"]').click()")
    report.wait("Math.abs(document.querySelector('#verdicts').getBoundingClientRect().top) < 200")
    top = report.evaluate("document.querySelector('.contents').getBoundingClientRect().top")
    assert 0 <= top < 5
    below = "document.querySelector('.contents').getBoundingClientRect().bottom"
    assert report.evaluate(f"document.querySelector('#verdicts').getBoundingClientRect().top >= {below} - 1")


def test_a_click_on_a_head_sorts_up_and_another_down(report: Page, files: ReportFiles) -> None:
    accuracies = [
        f"{round(arm.accuracy.estimate * 100)} %"
        for contrast in files.effects.contrasts
        for arm in contrast.arms
        if arm.accuracy
    ]
    column = [row[4] for row in report.evaluate(ROWS)]
    assert column == accuracies
    rising = sorted(accuracies, key=lambda text: int(text.split()[0]))
    assert column not in (rising, rising[::-1])
    for expected in (rising, rising[::-1]):
        report.click(f"{NUMBERS}.tHead.rows[0].cells[4].querySelector('button')")
        assert [row[4] for row in report.evaluate(ROWS)] == expected
    assert report.evaluate(f"{NUMBERS}.tHead.rows[0].cells[4].getAttribute('aria-sort')") == "descending"


def test_words_typed_above_a_table_leave_the_rows_that_hold_them_all(report: Page) -> None:
    assert len(report.evaluate(ROWS)) == 12
    report.click(f"{NUMBERS}.parentNode.previousElementSibling")
    report.write("kidney related")
    assert [row[:2] for row in report.evaluate(ROWS)] == [
        ["US Kidney Bleed", name] for name in ("unrelated", "related")
    ]
    report.write("")
    assert len(report.evaluate(ROWS)) == 12


def test_a_mark_that_is_pointed_at_says_what_it_stands_for(report: Page, files: ReportFiles) -> None:
    contrast = next(part for part in files.effects.contrasts if part.target.name == "us-kidney-bleed")
    related = contrast.arm(Arm.RELATED)
    assert related
    assert related.accuracy
    low, middle, high = (
        f"{round(value * 100)} %" for value in (related.accuracy.low, related.accuracy.estimate, related.accuracy.high)
    )
    said = f"US Kidney Bleed, related: {middle}, {low} to {high}"
    mark = f"[...document.querySelectorAll('.tip')].findLast(e => e.getAttribute('aria-label') === '{said}')"
    assert report.evaluate("document.querySelector('#tip').checkVisibility()") is False
    report.click(mark)
    assert (
        report.evaluate("document.querySelector('#tip').checkVisibility() && document.querySelector('#tip').innerText")
        == said
    )
    report.settle()
    assert report.evaluate("document.querySelector('#tip').checkVisibility()") is False


def test_on_a_phone_tables_and_figures_scroll_and_the_page_does_not(browser: Page, files: ReportFiles) -> None:
    show(browser, files.html, width=390)
    assert browser.evaluate("innerWidth") == 390
    assert browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.evaluate(WIDER) > 0  # tables are wider than a phone, within what scrolls


def test_on_a_phone_the_figure_that_carries_the_answer_stands_whole_in_one_column(
    browser: Page, files: ReportFiles
) -> None:
    show(browser, files.html, width=390)
    drawn = "[...document.querySelectorAll('.by-question svg')].map(e => e.getBoundingClientRect())"
    assert len(browser.evaluate(f"{drawn}.map(e => e.top)")) == len(set(browser.evaluate(f"{drawn}.map(e => e.top)")))
    assert max(browser.evaluate(f"{drawn}.map(e => e.right)")) < 390
    assert min(browser.evaluate(f"{drawn}.map(e => e.width)")) > 300


def test_nothing_is_cut_off_on_paper(browser: Page, files: ReportFiles) -> None:
    show(browser, files.html, width=A4_PX, media="print")
    assert browser.evaluate(WIDER) == 0
    assert browser.evaluate("document.querySelector('input[type=search]').checkVisibility()") is False


def test_heads_of_tables_are_letters_on_paper_so_that_each_sheet_repeats_them(
    browser: Page, files: ReportFiles
) -> None:
    drawn = "[...document.querySelectorAll('th button')].map(e => getComputedStyle(e).display)"
    show(browser, files.html, width=A4_PX)
    assert "contents" not in browser.evaluate(drawn)
    show(browser, files.html, width=A4_PX, media="print")
    assert set(browser.evaluate(drawn)) == {"contents"}


def test_contents_are_seen_whole_on_the_first_screen(browser: Page, files: ReportFiles) -> None:
    show(browser, files.html, width=1400)
    ends = "document.querySelector('.contents').getBoundingClientRect().bottom"
    assert browser.evaluate(ends) <= 800


def test_the_page_is_printed_to_pdf(tmp_path: Path, files: ReportFiles) -> None:
    assert CHROMIUM
    sheets = tmp_path / "report.pdf"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={sheets}"]
    subprocess.run([*command, files.html.as_uri()], capture_output=True, timeout=90, check=True)
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", sheets.read_bytes())) <= 20


def test_the_browser_asks_for_nothing_but_the_file(browser: Page, files: ReportFiles, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.html"
    elsewhere.write_text("<script>const note = 1</script><img src='http://127.0.0.1:9/a.png'><p id=tip>")
    assert "http://127.0.0.1:9/a.png" in list_requests(browser, elsewhere)  # such a request would be seen
    asked = list_requests(browser, files.html)
    assert files.html.as_uri() in asked
    assert any(address.startswith("data:image/png") for address in asked)
    assert [address for address in asked if not address.startswith("data:")] == [files.html.as_uri()]


def list_requests(page: Page, path: Path) -> list[str]:
    """Open a file and give the addresses of all that the browser asks for."""
    found: list[str] = []
    read = page._read

    def listen() -> dict[str, Any]:
        message = read()
        if message.get("method") == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
        return message

    page._read = listen
    page.call("Network.enable")
    show(page, path)
    page.call("Network.disable")
    page._read = read
    return found
