"""What a person does in MLflow's UI: open the cells, filter, tick, compare."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cg_lab.results import Layout
from tests.browsing import Page

SERVE = """
import sys
from pathlib import Path
from cg_lab.results import Layout
from cg_lab.tracking import run_ui
sys.exit(run_ui(Layout(Path(sys.argv[1])), port=5650, tell=lambda line: print(line, flush=True)))
"""


@contextmanager
def serving(layout: Layout, study: str) -> Iterator[str]:
    """Run the UI as `python -m cg_lab ui` does, and give the link that it prints for a study."""
    command = [sys.executable, "-c", SERVE, str(layout.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(line.split(": ", 1)[1].strip() for line in process.stdout if line.startswith(f"  {study}: "))
        finally:
            process.terminate()
            process.wait(30)


def open_cells(page: Page, link: str) -> None:
    """Open the table of cells, without the assistant and the note on shared views."""
    page.resize(1500, 700)
    page.open("about:blank")
    page.open(link)
    page.wait("document.querySelector('[row-id] a')")
    dismiss(page)


def dismiss(page: Page) -> None:
    """Close the assistant and the note on shared views."""
    for part in ("mlflow.assistant.chat_panel.close", "mlflow.experiment_page.shared_view.dismiss"):
        button = f"document.querySelector('[data-component-id=\"{part}\"]')"
        if page.evaluate(button):
            page.click(button)


def filter_runs(page: Page, words: str, num_found: int) -> None:
    """Type a filter, and wait until so many runs are left."""
    page.click("document.querySelector('[data-testid=search-box]')")
    page.write(words)
    page.wait(f"/\\b{num_found} matching run/.test(document.body.innerText)", page.press_enter)


def list_rows(page: Page) -> list[list[str]]:
    """Give the cells of each row that is shown, in no order, without the columns of names."""
    rows = "document.querySelectorAll('.ag-center-cols-container [row-id]')"
    return page.evaluate(f"[...{rows}].map(row => [...row.querySelectorAll('[col-id]')].map(e => e.innerText))")


def tick(page: Page, name: str) -> None:
    """Select the run with a name."""
    row = f"[...document.querySelectorAll('[row-id] a')].find(link => link.innerText == '{name}').closest('[row-id]')"
    box = f"document.querySelector(`[row-id=\"${{{row}.getAttribute('row-id')}}\"] .ag-selection-checkbox input`)"
    page.wait(f"{box}.checked", lambda: page.click(box))


def compare(page: Page) -> None:
    """Open the page that compares the selected runs."""
    page.click("[...document.querySelectorAll('button')].find(button => button.innerText == 'Compare')")
    page.wait("/Comparing \\d+ Runs/.test(document.body.innerText)")


def list_axes(page: Page) -> dict[str, list[str]]:
    """Give the words at each axis of the parallel coordinates, once they are drawn."""
    page.wait("document.querySelector('.parcoords-line-layers canvas, .parcoords canvas, .js-plotly-plot canvas')")
    axes = "[...document.querySelectorAll('.js-plotly-plot .y-axis')]"
    words = "[...axis.querySelectorAll('.axis text')].map(e => e.textContent)"
    return page.evaluate(
        f"Object.fromEntries({axes}.map(axis => [axis.querySelector('.axis-title').textContent, {words}]))"
    )
