"""Take the pictures of docs/report.md and docs/browse.md: python -m tests.reporting.photograph REPORT.HTML."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browsing import Page, browsing

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SCREEN, PHONE = (1400, 800), (390, 844)
SHEET = (718, 1046)
"""Pixels of an A4 sheet between a browser's usual margins."""


def keep(page: Page, name: str, *, scheme: str = "light", media: str = "screen", sight: str = "none") -> None:
    """Keep what is visible, as a scheme of colours, a medium and a kind of sight have it."""
    page.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.call("Emulation.setEmulatedVisionDeficiency", type=sight)
    page.settle()
    Image.open(io.BytesIO(page.photograph())).convert("RGB").save(IMAGES / f"{name}.png", optimize=True)


def scroll(page: Page, heading: str) -> None:
    """Bring a heading to the top, below contents that stay there."""
    page.evaluate(f"[...document.querySelectorAll('h2, h3')].find(e => e.textContent === '{heading}').scrollIntoView()")


if __name__ == "__main__":
    report = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder, browsing(Path(folder)) as page:
        page.call("Emulation.setScrollbarsHidden", hidden=True)
        page.resize(*SCREEN)
        page.open(report.as_uri())
        page.wait("document.readyState === 'complete'")
        keep(page, "report")
        keep(page, "report-grey", sight="achromatopsia")
        keep(page, "report-dark", scheme="dark")
        scroll(page, "Gains of related training")
        keep(page, "report-gains")
        page.resize(*PHONE)
        page.evaluate("scrollTo(0, 0)")
        keep(page, "report-phone")
        scroll(page, "CT Brain Mass")
        keep(page, "report-phone-examples")
        page.resize(*SHEET)
        page.evaluate("scrollTo(0, 0)")
        keep(page, "report-print", media="print")
        page.resize(*SCREEN)
        page.open((report.parent / "answers" / "index.html").as_uri() + "#result-3-0=mixed")
        page.wait("document.querySelector('tbody img')")
        keep(page, "answers")
        keep(page, "answers-dark", scheme="dark")
