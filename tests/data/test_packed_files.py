"""Archives and shards: what is left out is told, and nothing unpacks to more than is stated."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.catalog import Catalog
from cg_lab.cli import main
from cg_lab.config import read_study
from cg_lab.data import archives
from cg_lab.data.rows import Tally
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError

ELEMENTS = "data.elements={modality: CT, area: Lung, task: Mass}"


def draw(number: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (9, 9), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def read(folder: Path, *overrides: str) -> Catalog:
    return read_catalog(read_study([*overrides, ELEMENTS]).data, folder / "kept")


def tell(catalog: Catalog) -> dict[str, int]:
    return {note.reason: note.count for note in catalog.notes if "group" not in note.reason}


def write_tar(path: Path, members: dict[str, bytes], links: tuple[str, ...] = ()) -> None:
    with tarfile.open(path, "w") as file:
        for name, payload in members.items():
            told = tarfile.TarInfo(name)
            told.size = len(payload)
            file.addfile(told, io.BytesIO(payload))
        for name in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(link)


def make_members(**more: bytes) -> dict[str, bytes]:
    return {f"{'ab'[number % 2]}/{number}.png": draw(number) for number in range(24)} | more


@pytest.mark.parametrize("is_read_again", [False, True])
def test_what_an_archive_leaves_out_is_counted(is_read_again: bool, tmp_path: Path) -> None:
    outside = {
        "/a/abs.png": draw(50),
        "../a/up.png": draw(51),
        "C:\\a\\drive.png": draw(52),
        f"a/{'n' * 250}.png": b"x",
    }
    write_tar(tmp_path / "set.tar", make_members(**outside), links=("a/link.png",))
    overrides = ("data=archive", f"data.path={tmp_path}/set.tar", "data.levels=[label]")
    catalog = read(tmp_path, *overrides)
    if is_read_again:
        catalog = read(tmp_path, *overrides, "data.seed=1")
    assert tell(catalog) == {
        "name leads out of the archive, left out": 3,
        "name has more than 200 bytes, left out": 1,
        "link in an archive, left out": 1,
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_twice_in_an_archive_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for payload in (b"first", b"last"):
            file.writestr("a.png", payload)
    tally = Tally("a.zip")
    root = archives.unpack(tmp_path / "a.zip", tmp_path / "copies", lambda name: True, tally=tally)
    assert (root / "a.png").read_bytes() == b"last"
    assert tally.counts == {"name is in the archive again, the last file counts": 1}


@pytest.mark.parametrize(("number", "status", "said"), [(28, 1, "make room"), (13, 2, "can't be written")])
def test_a_disk_that_takes_no_more_is_not_the_archives_fault(
    number: int,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tar(tmp_path / "films.tar", make_members())
    call = ["data", "check", "data=archive", f"data.path={tmp_path / 'films.tar'}", ELEMENTS,
            "data.levels=[label]", f"results_dir={tmp_path / 'results'}"]  # fmt: skip

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number), "kept")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_copy", fail)
        assert main(call) == status
    told = capsys.readouterr().err
    assert said in told
    assert "can't be unpacked" not in told
    assert main(call) == 0


def test_an_archive_without_images_says_what_it_may_hold(tmp_path: Path) -> None:
    write_tar(tmp_path / "set.tar", {"a/1.dcm": b"x"})
    with pytest.raises(UserError, match=r"no image in '.*set.tar'.* with data=dicom"):
        read(tmp_path, "data=archive", f"data.path={tmp_path}/set.tar", "data.levels=[label]")


def write_bomb(path: Path, kind: bytes, size: int, packer: Callable[..., io.BufferedIOBase]) -> None:
    """Write a tar file whose one member, or whose header, has so many zeros."""
    told = tarfile.TarInfo("readme.txt")
    told.type, told.size = kind, size
    with packer(path, "wb") as file:
        file.write(told.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


@pytest.mark.parametrize("packer", [gzip.open, bz2.open, lzma.open], ids=["gzip", "bz2", "xz"])
@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME], ids=["file", "pax", "name"]
)
def test_what_is_not_wanted_of_a_tar_file_is_bounded_too(
    kind: bytes, packer: Callable[..., io.BufferedIOBase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MAX_HEADER_BYTES", 1 << 20)
    write_bomb(tmp_path / "bomb.tar", kind, 48 << 20, packer)
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"unpacks to more than|says \d+ bytes of one file"):
            archives.unpack(tmp_path / "bomb.tar", tmp_path / "copies", lambda name: name.endswith(".png"))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 5


def test_a_tar_file_that_is_damaged_behind_its_first_files_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "set.tar", make_members())
    payload = bytearray((tmp_path / "set.tar").read_bytes())
    payload[5120:5632] = b"x" * 512
    (tmp_path / "set.tar").write_bytes(payload)
    with pytest.raises(UserError, match="can't be unpacked .damaged at byte 5120"):
        archives.unpack(tmp_path / "set.tar", tmp_path / "copies", lambda name: True)


def make_samples(*endings: str) -> dict[str, bytes]:
    texts = {
        ".txt": lambda number: b"ab"[number % 2 :][:1],
        ".json": lambda number: json.dumps({"patient": number // 3}).encode(),
    }
    return {
        f"v1.0/{number}{ending}": texts[ending](number) if ending in texts else draw(number + 50 * place)
        for place, ending in enumerate(endings)
        for number in range(24)
    }


def test_members_of_a_shard_come_in_any_order_and_nothing_else_is_a_sample(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", make_samples(".json", ".PNG", ".txt") | {"v1.0/._1.png": b"x"})
    catalog = read(tmp_path, "data=webdataset", f"data.path={tmp_path}")
    assert tell(catalog).keys() <= {"shares a patient or film with a test image, kept out of training"}
    assert catalog.subsets[0].has_groups


def test_a_sample_of_several_images_is_left_out_and_a_mask_is_none(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", make_samples(".png", ".mask.png", ".txt") | {"v1.0/3.left.png": draw(99)})
    catalog = read(tmp_path, "data=webdataset", f"data.path={tmp_path}/0.tar")
    assert tell(catalog) == {"sample with several images, left out": 1, "mask of a sample, left out": 23}
    with bz2.open(tmp_path / "1.tar.bz2", "wb") as file:
        file.write((tmp_path / "0.tar").read_bytes())
    (tmp_path / "0.tar").unlink()
    assert tell(read(tmp_path, "data=webdataset", f"data.path={tmp_path}")) == tell(catalog)


def test_why_no_sample_is_left_is_told(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", make_samples(".txt"))
    with pytest.raises(UserError, match="no image is left(.|\n)*24 x sample without an image"):
        read(tmp_path, "data=webdataset", f"data.path={tmp_path}")
