"""Whatever bytes a listing or an image has: it is read, or refused in words."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from cg_lab.data.json_lists import read_json_list
from cg_lab.data.pictures import UnreadableError, decode
from cg_lab.data.release import read_release
from cg_lab.data.rows import clean_text
from cg_lab.data.sources.manifest import read_manifest
from cg_lab.errors import UserError
from cg_lab.mat import Subset

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


@quick
@given(st.binary(max_size=400), st.integers(0, 3000), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))
def test_any_bytes_are_an_image_or_told_why_not(noise: bytes, place: int, form: str) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 40)).save(buffer, form)
    whole = buffer.getvalue()
    for payload in (noise, whole[:place] + noise + whole[place + len(noise) :], whole[:place]):
        with suppress(UnreadableError):
            assert decode(payload).image.mode in {"L", "RGB"}
