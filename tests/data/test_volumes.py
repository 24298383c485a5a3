"""NIfTI volumes and arrays as scanners and scripts write them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data import volumes
from cg_lab.data.pictures import UnreadableError
from cg_lab.data.sources import read_catalog
from cg_lab.data.volumes import Volumes, read_extent
from cg_lab.errors import UserError


def write(path: Path, values: np.ndarray, codes: str = "RAS") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = inv_ornt_aff(axcodes2ornt(codes), values.shape[:3])
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA"])
def test_slices_are_those_of_the_volume_as_it_lies(codes: str, tmp_path: Path) -> None:
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    path = write(tmp_path / "a.nii.gz", values, codes)
    upright = nibabel.as_closest_canonical(nibabel.load(path))
    assert read_extent(path).shape == upright.shape
    shown = np.asarray(Volumes(tmp_path).open("a.nii.gz#2/1/0/255").image)
    assert (shown == np.rot90(np.asarray(upright.dataobj)[:, :, 1])).all()


def test_a_header_is_all_that_is_read_to_list_a_volume(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", np.zeros((8, 8, 8), np.int16), "LPS")
    path.write_bytes(path.read_bytes()[:400])
    assert read_extent(path).shape == (8, 8, 8)
    with pytest.raises(UnreadableError, match="cut short"):
        Volumes(tmp_path).open("a.nii#2/1")


def read(folder: Path, *overrides: str) -> Catalog:
    elements = "data.elements={modality: CT, area: Lung, task: Mass}"
    settings = ["data=nifti", f"data.path={folder}/n", "data.levels=[label]", elements, *overrides]
    return read_catalog(read_study(settings).data, folder / "kept")


def write_folder(folder: Path, *shape: int) -> None:
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 99, shape).astype(np.int16)
        write(folder / f"n/{'ab'[number % 2]}/{number}.nii.gz", noise)


def tell(catalog: Catalog) -> dict[str, int]:
    return {note.reason: note.count for note in catalog.notes if "group" not in note.reason}


def test_masks_and_further_volumes_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, 6, 6, 6, 3)
    write(tmp_path / "n/a/0_seg.nii.gz", np.ones((6, 6, 6), np.uint8))
    assert tell(read(tmp_path)) == {
        "mask of the volume beside it, left out": 1, "file has several volumes, the first is used": 12,
    }  # fmt: skip


def test_a_window_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, 6, 6, 6)
    with pytest.raises(UserError, match=r"data.window: \[240.0, -160.0\] shows nothing; the lower value comes first"):
        read(tmp_path, "data.window=[240,-160]")


@pytest.mark.filterwarnings("error")
def test_what_is_no_volume_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableError, match="complex64 of shape .4, 4, 4. is no volume of numbers"):
        read_extent(write(tmp_path / "a.nii", np.zeros((4, 4, 4), np.complex64)))
    path = write(tmp_path / "b.nii", np.zeros((4, 4, 4), np.int16))
    payload = bytearray(path.read_bytes())
    payload[280:328] = struct.pack("<12f", *[float("nan")] * 12)
    path.write_bytes(payload)
    with pytest.raises(UnreadableError, match="affine matrix has no numbers"):
        read_extent(path)
    monkeypatch.setattr(volumes, "MAX_VOXELS", 100)
    header = nibabel.Nifti1Header()
    header.set_data_shape((5, 5, 5, 900))
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    with pytest.raises(UnreadableError, match="at most 100 voxels are read"):
        read_extent(tmp_path / "c.nii.gz")


# Arrays


def test_a_table_of_sets_without_a_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text("name,modality,area,task,labels\n")
    overrides = ["data=medmnist", f"data.path={tmp_path}", f"data.facts={tmp_path}/facts.csv"]
    with pytest.raises(UserError, match="data.facts: no line below the header"):
        read_catalog(read_study(overrides).data, tmp_path / "kept")


def make_member(shape: str, kind: str = "'<i8'") -> bytes:
    """Write the header of an array that says what it likes."""
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def pack(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (make_member("(10000000000000, 1)"), "Unable to allocate"),
        (make_member("(((((((", "'<i8'"), "EOF in multi-line statement|invalid"),
        (make_member("(2,1)", "[('a','<i8')]") + bytes(16), "not a number an image"),
        (pack(np.zeros((2, 1, 1), int)), "not a number an image"),
        (pack(np.array(3)), "not a number an image"),
        (pack(np.zeros((5, 1), int)), "2 images for 5 labels of side train"),
        (None, "no train_labels, val_labels or test_labels"),
    ],
)
def test_arrays_that_say_what_can_not_be_are_one_line(labels: bytes | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text("name,modality,area,task,labels\nown,X-ray,Chest,Findings,a;b\n")
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("train_images.npy", pack(np.zeros((2, 28, 28), np.uint8)))
        if labels is not None:
            file.writestr("train_labels.npy", labels)
    overrides = ["data=medmnist", f"data.path={tmp_path}", f"data.facts={tmp_path}/facts.csv"]
    with pytest.raises(UserError, match=message):
        read_catalog(read_study(overrides).data, tmp_path / "kept")
