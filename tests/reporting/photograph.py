"""Take the pictures of docs/report.md and docs/browse.md: python -m tests.reporting.photograph REPORT.HTML."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browsing import Page, browsing

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
NUM_COLORS = 256


def keep(page: Page, name: str, *, size: tuple[int, int], scheme: str = "light", heading: str = "") -> None:
    """Keep what is visible from a heading on, or from the top."""
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.resize(*size)
    found = f"[...document.querySelectorAll('h2, h3')].find(e => e.textContent === '{heading}')"
    page.evaluate(f"scrollTo(0, {found}.offsetTop)" if heading else "scrollTo(0, 0)")
    page.settle()
    image = Image.open(io.BytesIO(page.photograph())).convert("RGB")
    image.quantize(NUM_COLORS).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, browsing(Path(folder)) as page:
        page.call("Emulation.setScrollbarsHidden", hidden=True)
        page.open(Path(sys.argv[1]).resolve().as_uri())
        page.wait("document.readyState === 'complete'")
        keep(page, "report", size=(1100, 1200))
        keep(page, "report-dark", size=(1100, 1200), scheme="dark", heading="Gains of related training")
        keep(page, "report-phone", size=(390, 844), heading="CT Brain Mass")
        page.open((Path(sys.argv[1]).resolve().parent / "answers" / "index.html").as_uri() + "#result-2-0=mixed")
        page.wait("document.querySelector('tbody img')")
        keep(page, "answers", size=(1400, 800))
