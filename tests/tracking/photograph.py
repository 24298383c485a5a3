"""Take the pictures of docs/mlflow.md: python -m tests.tracking.photograph RESULTS STUDY."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from cg_lab.results import Layout
from cg_lab.tracking import sync_study
from tests.browsing import Page, browsing
from tests.tracking.clicking import compare, dismiss, filter_runs, list_axes, open_cells, serving, tick

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
TARGET = "us-breast-mass"
SCREEN = (1400, 800)


def take_pictures(page: Page, link: str) -> None:
    """Click through the pages, and keep what is visible of each."""
    open_cells(page, link)
    page.resize(*SCREEN)
    filter_runs(page, "tags.arm = 'related'", 20)
    _keep(page, "mlflow-cells")
    open_cells(page, link.replace("=cells", "=means"))
    page.resize(*SCREEN)
    _keep(page, "mlflow-means")
    page.open(link.replace("=cells", "=losses&compareRunsMode=CHART"))
    page.wait("document.querySelector('.js-plotly-plot .scatterlayer')")
    dismiss(page)
    _keep(page, "mlflow-losses")
    open_cells(page, link)
    page.resize(*SCREEN)
    filter_runs(page, f"tags.target = '{TARGET}' and params.seed = '0'", 10)
    for arm in ("unrelated", "related", "ceiling"):
        tick(page, f"{TARGET} {arm} s0")
    _compare(page)
    for section in ("Visualizations", "Run details"):
        _click(page, section)
    for place in (0, 1):
        page.click(f"document.querySelectorAll('[role=switch]')[{place}]")
    page.evaluate("[...document.querySelectorAll('*')].findLast(e => e.innerText == 'Parameters').scrollIntoView()")
    _keep(page, "mlflow-compare")
    open_cells(page, link)
    filter_runs(page, f"tags.target = '{TARGET}' and tags.arm != 'sources'", 27)
    page.click("document.querySelector('input[aria-label=\"Select all runs\"]')")
    _compare(page)
    for name in list_axes(page).keys() - {"arm", "accuracy"}:
        _remove_axis(page, name)
    _keep(page, "mlflow-parallel")


def _compare(page: Page) -> None:
    compare(page)
    page.click("document.querySelector('[data-component-id=\"mlflow_header.toggle_sidebar_button\"]')")


def _click(page: Page, words: str) -> None:
    page.click(f"[...document.querySelectorAll('[role=button], button')].find(e => e.innerText.trim() == '{words}')")


def _remove_axis(page: Page, name: str) -> None:
    part = f"[...document.querySelectorAll('*')].findLast(e => e.innerText == '{name}' && e.querySelector('svg'))"
    page.click(f"{part}.querySelector('svg')")
    page.wait(f"!{part}")


def _keep(page: Page, name: str) -> None:
    page.settle()
    Image.open(io.BytesIO(page.photograph())).convert("RGB").save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    layout, study = Layout(Path(sys.argv[1])), sys.argv[2]
    sync_study(layout, study)
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(layout, study) as link, browsing(Path(folder)) as page:
        take_pictures(page, link)
