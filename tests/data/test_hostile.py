"""Files that mean harm, or are wrong in ways that cost memory or time: one line each, before anything is unpacked."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cg_lab.cli import main
from cg_lab.config import read_study
from cg_lab.data import archives, arrays
from cg_lab.data.pictures import Folder, UnreadableError, decode
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError

YAML = "subsets:\n  - {name: a, modality: CT, area: Lung, task: T, labels: [x, y], num_train: 10, num_test: 10}\n"
LAUGHS = "".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 10))


def read(folder: Path, *overrides: str) -> None:
    read_catalog(read_study(list(overrides)).data, folder / "kept")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('factors: !!python/object/apply:os.system ["true"]\n', "line 1: tag '.*os.system' is not read"),
        ("aliases: " + "[" * 3000 + "]" * 3000 + "\n", "line 1: nested more than 20 deep"),
        ("aliases:\n  l0: &l0 [x]\n" + LAUGHS, "aliases unfold to more than 1000000 values"),
        ("aliases: &a {x: *a}\n", "alias '.a' stands in itself"),
        ("aliases: !mine {}\n", "tag '!mine' is not read"),
    ],
)
def test_yaml_beyond_the_limits_is_one_line(
    head: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(head + YAML)
    began = time.monotonic()
    with pytest.raises(UserError, match=message):
        read(tmp_path, "data=catalog", f"data.path={tmp_path}/c.yaml")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("form", ["EPS", "PDF", "ICO", "SGI", "TGA"])
def test_formats_that_are_not_on_the_list_are_not_opened(form: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, form)
    with pytest.raises(UnreadableError, match="not an image"):
        decode(buffer.getvalue())


def test_links_out_of_a_folder_and_what_is_no_file_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "out.png")
    (tmp_path / "in/link.png").symlink_to(tmp_path / "out.png")
    (tmp_path / "in/folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "in/pipe.png")
    folder = Folder(tmp_path / "in")
    for name in ("link.png", "folder/out.png", "../out.png"):
        with pytest.raises(UnreadableError, match="lies outside the data folder"):
            folder.open(name)
    with pytest.raises(UnreadableError, match="no file"):
        folder.open("pipe.png")
    assert "pipe.png" not in folder.find(["pipe.png"])


def test_a_set_of_the_hub_reads_no_file_outside_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    Image.new("L", (4, 4), 77).save(tmp_path / "private.png")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = [{"bytes": None, "path": str(tmp_path / "private.png")}] * 8
    table = pa.table({"image": rows, "label": [0, 1] * 4}, schema=features.arrow_schema)
    (tmp_path / "set").mkdir()
    pq.write_table(table, tmp_path / "set/train.parquet")
    with pytest.raises(UserError, match="no image is left"):
        read(tmp_path, "data=huggingface", f"data.path={tmp_path}/set", "data.min_per_label=1",
             "data.elements={modality: CT, area: Lung, task: T}")  # fmt: skip
    assert not [path for path in (tmp_path / "kept/copies").rglob("*") if path.is_file() and path.suffix == ""
                and path.stat().st_size == (tmp_path / "private.png").stat().st_size]  # fmt: skip


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, payload in members.items():
            file.writestr(name, payload)


def test_archives_leave_nothing_outside_and_nothing_too_large(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"../out.png": b"x", "/abs.png": b"x", "a/b.png": b"x", "c:\\d\\..\\..\\e.png": b"x"})
    root = archives.unpack(tmp_path / "a.zip", tmp_path / "copies", lambda name: name.endswith(".png"))
    assert [str(path.relative_to(root)) for path in root.rglob("*.png")] == ["a/b.png"]
    assert not (tmp_path / "out.png").exists()
    write_zip(tmp_path / "bomb.zip", {"a.png": bytes(1_000_000)})
    with pytest.raises(UserError, match="'a.png' unpacks to 1000000 bytes, at most 1000 are read"):
        archives.unpack(tmp_path / "bomb.zip", tmp_path / "copies", lambda name: True, most_bytes=1000)
    with tarfile.open(tmp_path / "links.tar", "w") as file:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    root = archives.unpack(tmp_path / "links.tar", tmp_path / "copies", lambda name: True)
    assert not list(root.glob("*.png"))


NAMELESS = b"PK\1\2" + bytes(42) + b"PK\5\6" + struct.pack("<4HIIH", 0, 0, 1, 1, 46, 0, 0)
"""A zip file with one file that has no name."""


@pytest.mark.parametrize("payload", [b"", b"PK\3\4 no zip", bytes(1024), b"x" * 600, NAMELESS])
def test_damaged_archives_are_refused_in_words(payload: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(payload)
    with pytest.raises(UserError, match="can't be unpacked|no image in"):
        read(tmp_path, "data=archive", f"data.path={tmp_path}/a.zip")


def test_an_array_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sets").mkdir()
    images, labels = np.zeros((99, 99, 99), np.uint8), np.zeros((99, 1), np.uint8)
    np.savez_compressed(tmp_path / "sets/own.npz", train_images=images, train_labels=labels)
    (tmp_path / "facts.csv").write_text("name,modality,area,task,labels\nown,X-ray,Chest,Findings,a;b\n")
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 100_000)
    with pytest.raises(UserError, match="train_images.npy unpacks to 970427 bytes, at most 100000 are read"):
        read(tmp_path, "data=medmnist", f"data.path={tmp_path}/sets", f"data.facts={tmp_path}/facts.csv")


def test_two_arrays_of_one_name_size_and_time_are_two_copies(tmp_path: Path) -> None:
    from cg_lab.data.arrays import Arrays

    shown = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        np.savez(folder / "own.npz", train_images=np.full((2, 4, 4), number, np.uint8))
        os.utime(folder / "own.npz", ns=(1, 1))
        shown.append(Arrays(folder, tmp_path / "unpacked").open("own.npz/train/0").image.getpixel((0, 0)))
    assert shown == [1, 2]


def test_a_changed_folder_of_the_hub_library_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    contents = []
    for offset in (0, 100):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
        noise = [np.random.default_rng(offset + n).integers(0, 256, (8, 8), dtype=np.uint8) for n in range(16)]
        columns = {"image": [Image.fromarray(one) for one in noise], "label": [n % 2 for n in range(16)]}
        datasets.Dataset.from_dict(columns, features).to_parquet(str(tmp_path / "set/train.parquet"))
        study = read_study(["data=huggingface", f"data.path={tmp_path}/set", "data.min_per_label=1",
                            "data.elements={modality: CT, area: Lung, task: T}"])  # fmt: skip
        contents.append(read_catalog(study.data, tmp_path / "kept").data)
    assert contents[0] != contents[1]


def test_the_documented_columns_of_a_set_are_taken(tmp_path: Path) -> None:
    study = read_study(["data=huggingface", "data.path=x", "data.columns={image: image, label: label, group: patient}"])
    assert study.data.columns["group"] == "patient"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [pa.binary(), pa.list_(pa.string())])
def test_bytes_and_lists_in_parquet_are_their_texts(kind: pa.DataType, tmp_path: Path) -> None:
    labels: list[object] = []
    for number in range(16):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        label = ("no", "yes")[number % 2]
        labels.append(label.encode() if kind == pa.binary() else [label])
    table = pa.table(
        {"image": [f"{number}.png" for number in range(16)], "label": pa.array(labels, kind),
         **{name: [name] * 16 for name in ("modality", "area", "task")}}
    )  # fmt: skip
    pq.write_table(table, tmp_path / "m.parquet")
    study = read_study(["data=manifest", f"data.path={tmp_path}/m.parquet"])
    assert read_catalog(study.data, tmp_path / "kept").subsets[0].labels == ("no", "yes")


def test_a_source_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "data=manifest", "data.path=x", "data.source=manifets"]) == 2
    assert "no module 'manifets'" in capsys.readouterr().err
