"""Images in the page itself."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cg_lab.reporting.examples import MOST_EXAMPLES
from cg_lab.reporting.thumbnails import MOST_BYTES, SIDE, make_thumbnail


def decode(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_small_image_keeps_every_pixel() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 40), dtype=np.uint8))
    made = make_thumbnail(image)
    assert made.uri.startswith("data:image/png;")
    assert made.is_exact
    assert np.array_equal(np.asarray(decode(made.uri)), np.asarray(image))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_large_image_is_scaled_and_even_noise_stays_small(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (900, 600, len(mode)), dtype=np.uint8)
    made = make_thumbnail(Image.fromarray(pixels.squeeze()))
    assert (made.width, made.height) == (149, SIDE)
    assert decode(made.uri).size == (made.width, made.height)
    assert len(made.uri) * MOST_EXAMPLES < 600_000
    assert len(base64.b64decode(made.uri.partition(",")[2])) <= MOST_BYTES


def test_an_even_image_is_a_png_as_that_is_smaller() -> None:
    assert make_thumbnail(Image.new("RGB", (400, 400))).uri.startswith("data:image/png;")
