"""Whatever bytes a listing or an image has: it is read, or refused in words."""

from __future__ import annotations

import csv
import io
import json
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from cg_lab.data.groups import group_rows
from cg_lab.data.json_lists import read_json_list
from cg_lab.data.pictures import UnreadableError, decode
from cg_lab.data.release import read_release
from cg_lab.data.rows import clean_text
from cg_lab.data.sources.manifest import read_manifest
from cg_lab.data_settings import DataSettings
from cg_lab.errors import UserError
from cg_lab.mat import Subset
from tests.data.making_films import make_film

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FACTORS = ("modality", "area", "task")
KNOWN = {
    "ct-lung-04": Subset(
        name="ct-lung-04", elements=(("CT",), ("Lung",), ("x",)), num_options=2, num_train=1, num_test=1
    )
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["id", "image", "caption", "Question-choice", "Answer-choice", "split", "group", "other"])
RECORDS = st.lists(
    st.dictionaries(NAMES, VALUES | st.sampled_from(["A", "a.png", "x\nA: x\nB: y"])) | VALUES, max_size=6
)
CELLS = st.text() | st.sampled_from(["a.png", "../a.png", "0 0 1 1", "test", "CT", ""])


thorough = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
FIELDS = [
    "id", "image", "images", "file_name", "conversations", "messages", "label", "patient", "group", "image_id",
    "category_id", "bbox", "iscrowd", "name", "modality", "from", "value",
]  # fmt: skip
NUMBERS = [
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel", "WindowWidth",
    "WindowCenter", "PixelPaddingValue", "RescaleSlope", "PixelRepresentation",
]  # fmt: skip
COMMON = {
    "name": "x", "targets": None, "seed": 0, "split": "own", "test_share": 0.25, "max_train": 9, "max_test": None,
    "min_per_label": 1, "look_alikes": "moved", "instructions": None, "factors": list(FACTORS),
}  # fmt: skip
ELEMENTS = {"elements": {"modality": "CT", "area": "Lung", "task": "T"}}
LEVELS = {**ELEMENTS, "levels": ["label"], "subsets": None}
SOURCES: dict[str, tuple[str, dict[str, object], str, str]] = {
    "manifest": ("m.csv", ELEMENTS, "table", "m.csv"),
    "findings": ("m.csv", {**ELEMENTS, "labels": ["label"]}, "table", "m.csv"),
    "catalog": (
        "m.csv",
        dict.fromkeys(("images", "boxes", "release", "aliases", "tied")) | {"questions": "ours"}, "table", "m.csv",
    ),
    "conversations": ("l.json", ELEMENTS, "json", "l.json"),
    "coco": ("l.json", ELEMENTS, "json", "l.json"),
    "voc": ("xml", ELEMENTS, "xml", "xml/a.xml"),
    "imagefolder": ("f", LEVELS, "png", "f/a/1.png"),
    "dicom": ("f", LEVELS, "dicom", "f/a/1.dcm"),
    "dicom_table": ("f/m.csv", ELEMENTS, "dicom", "f/a/1.dcm"),
    "nifti": ("f", LEVELS, "nifti", "f/a/1.nii"),
    "archive": ("a.zip", LEVELS, "zip", "a.zip"),
    "webdataset": ("a.tar", {**ELEMENTS, "labels": None}, "tar", "a.tar"),
    "medmnist": ("s", {"size": 28, "sets": None, "facts": None}, "npz", "s/pneumoniamnist.npz"),
}  # fmt: skip
"""Of each source: its path, its own settings, what is broken, and where that lies."""


def make_seeds() -> dict[str, bytes]:
    """Make one sound file of each form."""
    image, film, archive, shard, arrays = (io.BytesIO() for _ in range(5))
    Image.linear_gradient("L").resize((12, 12)).save(image, "PNG")
    make_film(np.arange(64, dtype=np.uint16).reshape(8, 8)).save_as(film, enforce_file_format=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/1.png", image.getvalue())
    with tarfile.open(fileobj=shard, mode="w") as tar:
        for name, payload in (("1.png", image.getvalue()), ("1.txt", b"yes"), ("1.json", b'{"patient": "7"}')):
            told = tarfile.TarInfo(name)
            told.size = len(payload)
            tar.addfile(told, io.BytesIO(payload))
    np.savez(arrays, train_images=np.zeros((2, 28, 28), np.uint8), train_labels=np.zeros((2, 1), np.uint8))
    header = struct.pack("<i36x8h", 348, 3, 4, 4, 4, 1, 1, 1, 1)
    return {
        "table": b"image,label,patient\na.png,yes,1\n",
        "json": b'[{"image": "a.png", "conversations": [{"from": "human", "value": "x"},'
        b' {"from": "gpt", "value": "y"}]}]',
        "xml": b"<annotation><filename>a.png</filename><object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        b"<xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>",
        "png": image.getvalue(), "dicom": film.getvalue(), "zip": archive.getvalue(), "tar": shard.getvalue(),
        "npz": arrays.getvalue(), "nifti": header + bytes(352 - len(header)) + bytes(64),
    }  # fmt: skip


SEEDS = make_seeds()


def write_around(folder: Path) -> None:
    """Write what a broken file stands beside."""
    (folder / "f/a").mkdir(parents=True)
    (folder / "a.png").write_bytes(SEEDS["png"])
    (folder / "f/a/1.dcm").write_bytes(SEEDS["dicom"])
    (folder / "f/m.csv").write_text("image,label\n1,yes\n")


@contextmanager
def holding(name: str, payload: bytes) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(payload)
        yield Path(folder)


@quick
@given(st.binary(max_size=300) | st.text(alphabet='[]{},:"\\ \n0e-NaInfityulr\ufeff', max_size=60).map(str.encode))
def test_any_bytes_are_a_list_or_refused(payload: bytes) -> None:
    with holding("list.json", payload) as folder:
        try:
            found = list(read_json_list(folder / "list.json"))
        except UserError:
            return
        assert found == json.loads(payload.decode("utf-8-sig")) or "NaN" in payload.decode("utf-8-sig")


@quick
@given(RECORDS, st.booleans(), st.booleans())
def test_any_records_are_read_or_counted(records: list[object], with_questions: bool, escaped: bool) -> None:
    text = json.dumps(records, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    with holding("Subset-04-train.json", text) as folder:
        try:
            reading = read_release(folder, FACTORS, KNOWN, with_questions=with_questions)
        except UserError:
            return
        rows = reading.rows
        assert len(rows) <= len(records)
        assert all(clean_text(label) for label in rows.label)
        assert all(".." not in Path(origin).parts and not origin.startswith("/") for origin in rows.origin)
        for row, question in rows.question.items():
            assert question.options[question.answer] in {rows.label[row]} | set(question.options)


@quick
@given(st.lists(st.lists(CELLS, min_size=1, max_size=9), max_size=6), st.binary(max_size=20), st.booleans())
def test_any_table_is_read_or_refused(lines: list[list[str]], tail: bytes, has_header: bool) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if has_header:
        writer.writerow(["image", "label", *FACTORS, "group", "split", "box", "mask"])
    writer.writerows(lines)
    with holding("manifest.csv", text.getvalue().encode("utf-8", "surrogatepass") + tail) as folder:
        try:
            reading = read_manifest(folder / "manifest.csv", FACTORS)
        except UserError:
            return
        assert reading.faults or len(reading.rows)


@quick
@given(st.binary(max_size=200), st.sampled_from(["manifest.csv", "manifest.parquet"]))
def test_any_bytes_are_a_table_or_refused(payload: bytes, name: str) -> None:
    with holding(name, payload) as folder, pytest.raises(UserError):
        read_manifest(folder / name, FACTORS)


def compose(name: str, folder: Path) -> DataSettings:
    """Make the settings of a source as if its configuration had been composed."""
    from cg_lab.data.sources import parse_data

    return parse_data({**COMMON, **SOURCES[name][1], "source": name, "path": str(folder / SOURCES[name][0])}, where="x")


def read_any(name: str, folder: Path) -> None:
    """Read what a folder holds, within limits of time and memory: it is read or refused in words."""
    from cg_lab.data.sources import load_source

    began = time.monotonic()
    tracemalloc.start()
    try:
        settings = compose(name, folder)
        with suppress(UserError):
            reading = load_source(name).read(settings, folder / "kept")
            group_rows(reading, settings.group)  # type: ignore[arg-type, attr-defined]
            pictures = reading.place.open()  # type: ignore[union-attr]
            for origin in pictures.find(dict.fromkeys(reading.rows.origin)):  # type: ignore[union-attr]
                with suppress(UnreadableError):
                    pictures.open(origin)
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 20


TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["a.png", "../a.png", "/etc/passwd", "1", "0", "-1", "", "nan", "x|y", "1e308", "p1", "P\x07", "none", "0.5"]
)


@thorough
@pytest.mark.parametrize("name", sorted(SOURCES))
@given(st.data())
def test_any_bytes_are_read_by_each_source_or_refused(name: str, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([SEEDS[SOURCES[name][2]], b""]))
    place, noise = data.draw(st.integers(0, max(len(whole), 1))), data.draw(st.binary(max_size=60))
    cut = data.draw(st.booleans())
    payload = whole[:place] + noise + (b"" if cut else whole[place + len(noise) :])
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        target = folder / SOURCES[name][3]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(payload)
        read_any(name, folder)


@thorough
@pytest.mark.parametrize("name", ["manifest", "findings", "dicom_table"])
@given(st.lists(st.sampled_from(["image", "label", "Group", "split", "patient_id", "id", "box", "Edema"]), unique=True),
       st.lists(st.lists(TEXTS, min_size=1, max_size=9), max_size=5), st.sampled_from(",;\t"))  # fmt: skip
def test_any_cells_are_read_by_each_source_of_tables_or_refused(
    name: str, header: list[str], lines: list[list[str]], delimiter: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([header, *lines])
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        (folder / SOURCES[name][0]).write_text(text.getvalue(), encoding="utf-8")
        read_any(name, folder)


@thorough
@pytest.mark.parametrize("name", ["coco", "conversations"])
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES | TEXTS, max_size=6), max_size=4), st.data())
def test_any_fields_are_read_by_each_source_of_json_or_refused(
    name: str, records: list[dict[str, object]], data: st.DataObject
) -> None:
    lists = st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES | TEXTS, max_size=4) | VALUES, max_size=3)
    whole = {part: data.draw(lists) for part in ("annotations", "categories")} | {"images": records}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        value: object = whole if name == "coco" else records
        (folder / SOURCES[name][0]).write_text(json.dumps(value), encoding="utf-8")
        read_any(name, folder)


@thorough
@given(st.dictionaries(st.sampled_from(NUMBERS), st.integers(-(2**31), 2**31 - 1), max_size=4), st.booleans())
def test_any_numbers_in_a_dicom_file_are_read_or_refused(numbers: dict[str, int], signed: bool) -> None:
    film = make_film(np.arange(64, dtype=np.int16 if signed else np.uint16).reshape(8, 8))
    for field, value in numbers.items():
        with suppress(Exception):
            setattr(film, field, value)
    buffer = io.BytesIO()
    try:
        film.save_as(buffer, enforce_file_format=True)
    except Exception:  # noqa: BLE001  (pydicom writes no such number)
        return
    with suppress(UnreadableError):
        assert decode(buffer.getvalue()).image.mode in {"L", "RGB"}


@quick
@given(st.binary(max_size=400), st.integers(0, 3000), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))
def test_any_bytes_are_an_image_or_told_why_not(noise: bytes, place: int, form: str) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 40)).save(buffer, form)
    whole = buffer.getvalue()
    for payload in (noise, whole[:place] + noise + whole[place + len(noise) :], whole[:place]):
        with suppress(UnreadableError):
            assert decode(payload).image.mode in {"L", "RGB"}
