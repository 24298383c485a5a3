"""Whatever bytes a listing or an image has: it is read, or refused in words."""

from __future__ import annotations

import csv
import gzip
import io
import json
import resource
import signal
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import escape

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from PIL import Image

from cg_lab.data.json_lists import read_json_list
from cg_lab.data.pictures import UnreadableError, decode
from cg_lab.data.release import read_release
from cg_lab.data.rows import clean_text
from cg_lab.data.sources.manifest import read_manifest
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
CATALOGUE = dict.fromkeys(("images", "boxes", "release", "aliases", "tied")) | {"questions": "ours"}
CONVERSATIONS = {**ELEMENTS, "questions": "own"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file that one source reads, and that is broken here; what else the source needs is sound."""

    source: str
    path: str
    seed: str
    """Which of `SEEDS` is broken."""
    broken: str = ""
    """Where it lies, if not at `path`."""
    own: Mapping[str, object] = field(default_factory=lambda: ELEMENTS)


TARGETS = {
    "manifest": Target(source="manifest", path="m.csv", seed="table"),
    "manifest Parquet": Target(source="manifest", path="m.parquet", seed="parquet"),
    "manifest boxes": Target(
        source="manifest", path="a.csv", seed="boxes", broken="b.csv", own={**ELEMENTS, "boxes": "b.csv"}
    ),
    "manifest DICOM": Target(source="manifest", path="d.csv", seed="dicom", broken="a.dcm"),
    "manifest mask": Target(source="manifest", path="k.csv", seed="png", broken="mask.png"),
    "findings": Target(source="findings", path="m.csv", seed="table", own={**ELEMENTS, "labels": ["label"]}),
    "catalog": Target(source="catalog", path="c.csv", seed="catalogue", own=CATALOGUE),
    "catalog YAML": Target(source="catalog", path="c.yaml", seed="yaml", own=CATALOGUE),
    "catalog release": Target(
        source="catalog", path="s.csv", seed="release", broken="r/Subset--04-train.json",
        own={**CATALOGUE, "release": "r", "questions": "own"},
    ),
    "conversations": Target(source="conversations", path="l.json", seed="json", own=CONVERSATIONS),
    "conversations lines": Target(source="conversations", path="l.jsonl", seed="lines", own=CONVERSATIONS),
    "coco": Target(source="coco", path="l.json", seed="coco"),
    "voc": Target(source="voc", path="xml", seed="xml", broken="xml/a.xml"),
    "imagefolder": Target(source="imagefolder", path="f", seed="png", broken="f/a/1.png", own=LEVELS),
    "imagefolder metadata": Target(
        source="imagefolder", path="f", seed="metadata", broken="f/metadata.jsonl", own=LEVELS
    ),
    "imagefolder mask": Target(
        source="imagefolder", path="f", seed="png", broken="f/a/2_mask.png", own={**LEVELS, "masks": "boxes"}
    ),
    "dicom": Target(source="dicom", path="f", seed="dicom", broken="f/a/1.dcm", own=LEVELS),
    "dicom_table": Target(source="dicom_table", path="f/m.csv", seed="dicom", broken="f/a/1.dcm"),
    "nifti": Target(source="nifti", path="n", seed="nifti", broken="n/a/1.nii", own=LEVELS),
    "nifti packed": Target(source="nifti", path="n", seed="nifti packed", broken="n/a/1.nii.gz", own=LEVELS),
    "archive zip": Target(source="archive", path="a.zip", seed="zip", own=LEVELS),
    "archive tar": Target(source="archive", path="a.tar.gz", seed="tar packed", own=LEVELS),
    "webdataset": Target(source="webdataset", path="a.tar", seed="tar"),
    "medmnist": Target(
        source="medmnist", path="s", seed="npz", broken="s/own.npz",
        own={"size": 28, "sets": None, "facts": "facts.csv"},
    ),
    "medmnist facts": Target(
        source="medmnist", path="s", seed="facts", broken="facts.csv",
        own={"size": 28, "sets": None, "facts": "facts.csv"},
    ),
}  # fmt: skip
"""Every reader of `cg_lab.data`."""
HUB = {
    "huggingface": Target(
        source="huggingface", path="h", seed="parquet", broken="h/train.parquet",
        own={**ELEMENTS, "config": None, "revision": None, "splits": ["train"], "streaming": False, "max_rows": None,
             "columns": {"image": "image", "label": "label"}, "subsets": None},
    ),
}  # fmt: skip
"""The one whose files the datasets library reads, which takes its time."""


def make_seeds() -> dict[str, bytes]:
    """Make one sound file of each form."""
    image, film, archive, shard, arrays, parquet = (io.BytesIO() for _ in range(6))
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
    pq.write_table(pa.table({"image": ["a.png"] * 9, "label": ["yes"] * 9, "patient": [*range(9)]}), parquet)
    header = nibabel.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    volume = header.binaryblock + bytes(4) + bytes(range(64))
    record = (
        b'{"image": "a.png", "conversations": [{"from": "human", "value": "x?\\nA. y\\nB. z"}, '
        b'{"from": "gpt", "value": "(A)"}]}'
    )
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
    }  # fmt: skip
    return {
        "table": b"image,label,patient\na.png,yes,1\n",
        "boxes": b"image,label,x,y,width,height\na.png,yes,1,1,4,4\n",
        "catalogue": b"name,modality,area,task,labels,num_train,num_test\na,CT,Lung,T,x;y,5,5\n",
        "facts": b"name,modality,area,task,labels\nown,CT,Lung,T,x;y\n",
        "yaml": b"factors: [modality, area, task]\nsubsets:\n  - {name: a, modality: CT, area: Lung, task: T, "
        b"labels: [x, y], num_train: 10, num_test: 10}\n",
        "release": b'[{"id": 1, "image": "a.png", "caption": "x", "Question-choice": "Q\\nA: x\\nB: y", '
        b'"Answer-choice": "A"}]',
        "json": b"[" + record + b"]", "lines": record + b"\n" + record, "coco": json.dumps(coco).encode(),
        "metadata": b'{"file_name": "a/1.png", "patient": 3}\n', "parquet": parquet.getvalue(),
        "tar packed": gzip.compress(shard.getvalue()), "nifti packed": gzip.compress(volume),
        "xml": b"<annotation><filename>a.png</filename><object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        b"<xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>",
        "png": image.getvalue(), "dicom": film.getvalue(), "zip": archive.getvalue(), "tar": shard.getvalue(),
        "npz": arrays.getvalue(), "nifti": volume,
    }  # fmt: skip


SEEDS = make_seeds()


def write_around(folder: Path) -> None:
    """Write what a broken file stands beside."""
    for name in ("f/a", "n/a", "s", "r", "xml"):
        (folder / name).mkdir(parents=True)
    for name, seed in (("a.png", "png"), ("r/a.png", "png"), ("f/a/2.png", "png"), ("f/a/1.dcm", "dicom"),
                       ("s/own.npz", "npz"), ("facts.csv", "facts")):  # fmt: skip
        (folder / name).write_bytes(SEEDS[seed])
    (folder / "f/m.csv").write_text("image,label\n1,yes\n")
    (folder / "a.csv").write_text("image,label\na.png,yes\n")
    (folder / "d.csv").write_text("image,label\na.dcm,yes\n")
    (folder / "k.csv").write_text("image,label,mask\na.png,yes,mask.png\n")
    (folder / "s.csv").write_text("name,modality,area,task,labels,num_train,num_test\nct-lung-04,CT,Lung,x,x;y,1,1\n")


@contextmanager
def holding(name: str, payload: bytes) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(payload)
        with within_limits():
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


MOST_SECONDS, MOST_MEGABYTES = 10, 300
"""What reading one small broken file may cost."""


@contextmanager
def within_limits() -> Iterator[None]:
    """Stop what hangs, and fail what takes memory, whoever asks the system for it."""

    def stop(number: int, frame: object) -> None:
        raise AssertionError(f"not read in {MOST_SECONDS} s (signal {number}) at {frame}")

    before = signal.signal(signal.SIGALRM, stop)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MOST_MEGABYTES << 10


def read_any(name: str, folder: Path) -> None:
    """Read what a folder holds as a plan does: it is read, or refused in lines that a terminal can show."""
    from cg_lab.data.sources import parse_data, read_catalog

    target = (TARGETS | HUB)[name]
    paths = {key: str(folder / str(value)) for key, value in target.own.items() if key in {"boxes", "release", "facts"}
             and value is not None}  # fmt: skip
    raw = {**COMMON, **target.own, **paths, "source": target.source, "path": str(folder / target.path)}
    with within_limits():
        try:
            read_catalog(parse_data(raw, where="x"), folder / "kept")
        except UserError as error:
            text = str(error)
            assert all(line.isprintable() for line in text.split("\n"))
            text.encode()


TEXTS = st.text(alphabet=st.characters(exclude_categories=[]), max_size=12) | st.sampled_from(
    [
        "a.png",
        "../a.png",
        "/etc/passwd",
        "1",
        "0",
        "-1",
        "",
        "nan",
        "x|y",
        "1e308",
        "p1",
        "P\x07",
        "none",
        "0.5",
        "\ud800/a.png",
        "a" * 5000,
        "a\\b.png",
        "\x1b[2J",
    ]
)


@thorough
@pytest.mark.parametrize("name", sorted(TARGETS))
@given(st.data())
def test_any_bytes_are_read_by_each_source_or_refused(name: str, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([SEEDS[TARGETS[name].seed], b""]))
    place, noise = data.draw(st.integers(0, max(len(whole), 1))), data.draw(st.binary(max_size=60))
    cut = data.draw(st.booleans())
    payload = whole[:place] + noise + (b"" if cut else whole[place + len(noise) :])
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        (folder / (TARGETS[name].broken or TARGETS[name].path)).write_bytes(payload)
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
        (folder / TARGETS[name].path).write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
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
        (folder / TARGETS[name].path).write_text(json.dumps(value), encoding="utf-8")
        read_any(name, folder)


@thorough
@given(st.dictionaries(st.sampled_from(NUMBERS), st.integers(-(2**31), 2**31 - 1), max_size=4), st.booleans())
def test_any_numbers_in_a_dicom_file_are_read_or_refused(numbers: dict[str, int], signed: bool) -> None:
    film = make_film(np.arange(64, dtype=np.int16 if signed else np.uint16).reshape(8, 8))
    for name, value in numbers.items():
        with suppress(Exception):
            setattr(film, name, value)
    buffer = io.BytesIO()
    try:
        film.save_as(buffer, enforce_file_format=True)
    except Exception:  # noqa: BLE001  (pydicom writes no such number)
        return
    with suppress(UnreadableError), within_limits():
        assert decode(buffer.getvalue()).image.mode in {"L", "RGB"}


@thorough
@given(
    st.dictionaries(st.sampled_from(["filename", "name", "xmin", "ymin", "xmax", "ymax", "bndbox", "object"]), TEXTS)
)
def test_any_texts_in_annotations_are_read_or_refused(texts: dict[str, str]) -> None:
    fields = {"filename": "a.png", "name": "x", "xmin": "1", "ymin": "1", "xmax": "4", "ymax": "4", **texts}
    inner = "".join(f"<{name}>{escape(fields[name])}</{name}>" for name in ("xmin", "ymin", "xmax", "ymax"))
    found = f"<object><name>{escape(fields['name'])}</name><bndbox>{inner}</bndbox></object>"
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        text = f"<annotation><filename>{escape(fields['filename'])}</filename>{found}</annotation>"
        (folder / "xml/a.xml").write_bytes(text.encode(errors="surrogatepass"))
        read_any("voc", folder)


@thorough
@given(st.dictionaries(st.sampled_from(["dim", "datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter",
                                        "sform_code", "srow_x", "pixdim", "quatern_b"]),
                       st.integers(-(2**15), 2**15 - 1), max_size=4),
       st.sampled_from(["nifti", "nifti packed"]))  # fmt: skip
def test_any_numbers_in_a_volume_are_read_or_refused(numbers: dict[str, int], name: str) -> None:
    header = nibabel.Nifti1Header(SEEDS["nifti"][:348], check=False)
    for field_name, value in numbers.items():
        with suppress(ValueError, OverflowError):
            header[field_name] = value
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        payload = header.binaryblock + SEEDS["nifti"][348:]
        payload = gzip.compress(payload) if name == "nifti packed" else payload
        (folder / TARGETS[name].broken).write_bytes(payload)
        read_any(name, folder)


@thorough
@given(TEXTS, st.sampled_from(["'|u1'", "'<i8'", "'<U9'", "'|O'", "[('a','<i8')]", "((((", "None"]))
def test_any_header_of_an_array_is_read_or_refused(shape: str, kind: str) -> None:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': ({shape},), }}\n".encode(errors="surrogatepass")
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(99)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        for name in ("train_images.npy", "train_labels.npy"):
            with (
                zipfile.ZipFile(io.BytesIO(SEEDS["npz"])) as before,
                zipfile.ZipFile(folder / "s/own.npz", "w") as file,
            ):
                for told in before.infolist():
                    file.writestr(told, member if told.filename == name else before.read(told))
            read_any("medmnist", folder)


@thorough
@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
                tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE]), st.integers(0, 2**40))  # fmt: skip
@pytest.mark.parametrize("name", ["archive tar", "webdataset"])
def test_any_member_of_a_tar_file_is_read_or_refused(name: str, names: list[str], kind: bytes, size: int) -> None:
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w", errors="surrogatepass") as file:
        for text in names:
            told = tarfile.TarInfo(f"{text.encode(errors='replace').decode()}.png")
            told.size = len(SEEDS["png"])
            file.addfile(told, io.BytesIO(SEEDS["png"]))
        last = tarfile.TarInfo("a/1.png")
        last.type, last.linkname = kind, "/etc/passwd"
        file.addfile(last)
    payload = shard.getvalue()
    last.size = size
    payload += last.tobuf() + bytes(1024)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_around(folder)
        (folder / TARGETS[name].path).write_bytes(payload)
        read_any(name, folder)


@pytest.mark.slow
@settings(max_examples=4, phases=[Phase.generate], deadline=None, suppress_health_check=[*HealthCheck])
@given(st.integers(0, 600), st.binary(min_size=1, max_size=40), st.booleans())
def test_any_bytes_of_a_set_of_the_hub_are_read_or_refused(place: int, noise: bytes, cut: bool) -> None:
    whole = SEEDS["parquet"]
    with TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", f"{temporary}/cache")
        folder = Path(temporary)
        (folder / "h").mkdir()
        (folder / "h/train.parquet").write_bytes(whole[:place] + noise + (b"" if cut else whole[place + len(noise) :]))
        read_any("huggingface", folder)


def test_every_source_has_its_target() -> None:
    from cg_lab.data.sources import list_sources

    drawn_or_parts = {"phantom", "joined"}
    assert {target.source for target in TARGETS.values()} | HUB.keys() == {*list_sources()} - drawn_or_parts


@quick
@given(st.binary(max_size=400), st.integers(0, 3000), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))
def test_any_bytes_are_an_image_or_told_why_not(noise: bytes, place: int, form: str) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 40)).save(buffer, form)
    whole = buffer.getvalue()
    for payload in (noise, whole[:place] + noise + whole[place + len(noise) :], whole[:place]):
        with suppress(UnreadableError), within_limits():
            assert decode(payload).image.mode in {"L", "RGB"}
