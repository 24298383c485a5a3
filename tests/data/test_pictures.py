"""Image files: every odd one is read by rule, or told why not."""

from __future__ import annotations

import struct
import time
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.data.pictures import MAX_PIXELS, Folder, UnreadableError, decode, hash_pixels


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(*shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def claim(width: int, height: int) -> bytes:
    """Write a PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "zero bytes"),
        (b"not an image", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (encode(noise(64, 64, 3), "JPEG")[:600], "(?i)truncated"),
        (encode(noise(64, 64, 3), "PNG")[:600], "truncated|broken"),
        (claim(20_000, 20_000), f"too many pixels, at most {MAX_PIXELS}"),
        (claim(9_000, 8_000), f"9000 x 8000 pixels, at most {MAX_PIXELS}"),
        (claim(2**31 - 1, 2**31 - 1), "too many pixels"),
        (claim(100, 100), "truncated|broken|not enough"),
    ],
)
def test_what_is_no_image_is_told_why(payload: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        decode(payload)


def test_a_large_image_within_the_bound_is_read() -> None:
    image = decode(encode(Image.new("L", (8000, 7999)), compress_level=1)).image
    assert image.size == (8000, 7999)


def test_modes_become_gray_or_rgb() -> None:
    colour = noise(8, 9, 3)
    clear = colour.convert("RGBA")
    clear.putalpha(0)
    expected = {
        "gray": (noise(8, 9), "L"),
        "one bit": (Image.new("1", (9, 8), 1), "L"),
        "palette": (colour.quantize(8), "RGB"),
        "gray and alpha": (noise(8, 9).convert("LA"), "L"),
        "clear": (clear, "RGB"),
        "rgb": (colour, "RGB"),
    }
    for name, (image, mode) in expected.items():
        assert decode(encode(image)).image.mode == mode, name
    cmyk = decode(encode(colour.convert("CMYK"), "TIFF")).image
    assert cmyk.mode == "RGB"
    assert np.abs(np.asarray(cmyk, int) - np.asarray(colour, int)).max() <= 2
    assert not np.asarray(decode(encode(clear)).image).any()  # what is transparent is black


def test_sixteen_bits_are_scaled_from_the_darkest_to_the_brightest() -> None:
    deep = Image.fromarray(np.array([[100, 200], [300, 1100]], np.uint16))
    assert np.asarray(decode(encode(deep)).image).tolist() == [[0, 26], [51, 255]]
    flat = Image.fromarray(np.full((2, 2), 4000, np.uint16))
    assert not np.asarray(decode(encode(flat)).image).any()
    real = Image.fromarray(np.array([[np.nan, 0.5], [1.0, 0.0]], np.float32))
    assert np.asarray(decode(encode(real, "TIFF")).image).tolist() == [[0, 128], [255, 0]]


def test_images_are_turned_upright() -> None:
    image = noise(6, 10, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    turned = decode(encode(image, "PNG", exif=exif)).image
    assert turned.size == (6, 10)
    assert turned.tobytes() == image.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_the_first_of_several_frames_is_taken() -> None:
    pages = [Image.new("L", (5, 5), shade) for shade in (10, 20, 30)]
    buffer = BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    picture = decode(buffer.getvalue())
    assert picture.frames > 1
    assert picture.image.getpixel((0, 0)) == 10


def test_frames_beyond_the_second_are_not_gone_through() -> None:
    header = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    began = time.monotonic()
    assert decode(header + 300_000 * frame + b";").frames > 1
    assert time.monotonic() - began < 0.3


def test_what_is_seen_counts_and_not_how_it_is_stored() -> None:
    gray = noise(8, 9)
    assert hash_pixels(gray) == hash_pixels(gray.convert("RGB"))
    assert hash_pixels(gray) == hash_pixels(decode(encode(gray, "TIFF")).image)
    assert hash_pixels(gray) != hash_pixels(gray.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert hash_pixels(noise(8, 9)) != hash_pixels(Image.fromarray(np.asarray(gray).reshape(9, 8)))


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(encode(noise(4, 4)))
    (tmp_path / "data/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data/own.png").write_bytes(encode(noise(4, 4)))
    (tmp_path / "data/inner.png").symlink_to(tmp_path / "data/own.png")
    (tmp_path / "data/nothing.png").symlink_to(tmp_path / "gone.png")
    folder = Folder(tmp_path / "data")
    assert folder.open("inner.png").image.size == (4, 4)
    for name, reason in (
        ("link.png", "outside the data folder"),
        ("../secret.png", "outside the data folder"),
        ("nothing.png", "outside|missing"),
        ("gone.png", "missing"),
        (".", "outside the data folder|folder"),
    ):
        with pytest.raises(UnreadableError, match=reason):
            folder.open(name)
    assert set(folder.find(["own.png", "link.png", "nothing.png", "gone.png"])) == {"own.png", "link.png"}
