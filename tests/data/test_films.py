"""DICOM as scanners, archives and anonymisers really write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data import film_headers, films
from cg_lab.data.film_headers import read_tags
from cg_lab.data.films import decode_film
from cg_lab.data.pictures import Folder, UnreadableError, decode
from cg_lab.data.samples import Split
from cg_lab.data.sources import open_source, read_catalog
from tests.data.making_films import make_film

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")

STORED = np.array([[0, 100], [200, 1000]], np.uint16)


def save(film: Dataset, path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    film.save_as(path, enforce_file_format=True)
    return path.read_bytes()


def show(folder: Path, pixels: NDArray[np.generic] = STORED, frame: int = 0, **tags: object) -> NDArray[np.uint8]:
    return np.asarray(decode_film(save(make_film(pixels, **tags), folder / "film.dcm"), frame).image)


def hold(**values: object) -> Sequence:
    inner = Dataset()
    for name, value in values.items():
        setattr(inner, name, value)
    return Sequence([inner])


@pytest.mark.parametrize("width", [0, -5])
def test_a_window_without_width_is_none(width: int, tmp_path: Path) -> None:
    assert (show(tmp_path, WindowCenter=500, WindowWidth=width) == show(tmp_path)).all()


def test_a_window_narrower_than_one_is_taken_exactly(tmp_path: Path) -> None:
    values = np.array([[0, 1], [2, 3]], np.uint16)
    assert show(tmp_path, values, WindowCenter=1.5, WindowWidth=0.5).tolist() == [[0, 0], [255, 255]]
    assert show(tmp_path, values, WindowCenter=2, WindowWidth=1).tolist() == [[0, 0], [128, 255]]


def test_padding_is_black_and_sets_no_range(tmp_path: Path) -> None:
    values = np.array([[-2000, 0], [50, 100]], np.int16)
    assert show(tmp_path, values, PixelPaddingValue=-2000).tolist() == [[0, 0], [127, 255]]
    inverted = show(tmp_path, values, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    assert inverted.tolist() == [[0, 255], [128, 0]]
    ranged = np.array([[-2000, -1900], [0, 100]], np.int16)
    shown = show(tmp_path, ranged, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1900)
    assert shown.tolist() == [[0, 0], [0, 255]]


def test_rescale_and_window_stand_in_functional_groups_too(tmp_path: Path) -> None:
    frames = np.stack([STORED, STORED])
    film = make_film(frames, NumberOfFrames=2)
    shared, first, second = Dataset(), Dataset(), Dataset()
    shared.PixelValueTransformationSequence = hold(RescaleSlope=2, RescaleIntercept=-100, RescaleType="US")
    first.FrameVOILUTSequence = hold(WindowCenter=100, WindowWidth=400)
    second.FrameVOILUTSequence = hold(WindowCenter=1000, WindowWidth=2000)
    film.SharedFunctionalGroupsSequence = Sequence([shared])
    film.PerFrameFunctionalGroupsSequence = Sequence([first, second])
    payload = save(film, tmp_path / "film.dcm")
    shown = [np.asarray(decode_film(payload, frame).image).tolist() for frame in (0, 1)]
    plain = [
        show(tmp_path, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=center, WindowWidth=width).tolist()
        for center, width in ((100, 400), (1000, 2000))
    ]
    assert shown == plain


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"3000000 ", "claims 3000000 frames, at most 20000 are read"),
        (b"50", "claims 50 frames and has pixels for 1"),
        (b"abc ", "NumberOfFrames is no number"),
    ],
)
def test_the_number_of_frames_is_never_believed(value: bytes, reason: str, tmp_path: Path) -> None:
    from pydicom.dataelem import RawDataElement

    film = make_film(STORED)
    tag = Tag(0x28, 8)
    film._dict[tag] = RawDataElement(tag, "IS", len(value), value, 0, is_implicit_VR=False, is_little_endian=True)
    save(film, tmp_path / "film.dcm")
    with pytest.raises(UnreadableError, match=reason):
        read_tags(tmp_path / "film.dcm")
    with pytest.raises(UnreadableError, match=reason):
        decode((tmp_path / "film.dcm").read_bytes())


@pytest.mark.parametrize(
    ("kind", "modality", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "a segmentation, no image"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE", "no image; leave it out"),
        ("1.2.840.10008.5.1.4.1.1.7", "SR", "no image; leave it out"),
    ],
)
def test_what_is_made_from_images_is_told_from_them(kind: str, modality: str, reason: str, tmp_path: Path) -> None:
    save(make_film(STORED, SOPClassUID=kind, Modality=modality), tmp_path / "film.dcm")
    with pytest.raises(UnreadableError, match=reason):
        read_tags(tmp_path / "film.dcm")


def test_a_missing_decoder_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*told: object, **more: object) -> None:
        raise RuntimeError("Unable to decompress")

    monkeypatch.setattr(films, "pixel_array", fail)
    monkeypatch.setattr(films, "find_spec", lambda name: None)
    path = Path(pydicom.__file__).parent / "data/test_files/JPEGLSNearLossless_08.dcm"
    with pytest.raises(UnreadableError, match=r"packed as JPEG.*needs a decoder: pip install 'cg_lab\[dicom\]'"):
        decode_film(path.read_bytes(), 0)


def test_all_files_that_pydicom_ships_are_read_or_refused_with_the_cure() -> None:
    shipped = Path(pydicom.__file__).parent / "data"
    paths = [path for path in shipped.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc", ".json"}]
    cures = ("leave it out", "get the file anew", "no DICOM file", "split the file", "pip install")
    read = 0
    refused: dict[str, str] = {}
    for path in paths:
        try:
            tags = read_tags(path)
            image = decode_film(path.read_bytes(), tags.frames - 1).image
        except UnreadableError as error:
            refused[path.name] = str(error)
        else:
            read += 1
            assert image.mode in {"L", "RGB"}
            assert "SEG" not in tags.modality
            assert "RTDOSE" not in tags.modality
    assert read > 80
    assert {name: reason for name, reason in refused.items() if not any(cure in reason for cure in cures)} == {}


def check(folder: Path, make: Callable[[int], Dataset], *overrides: str, count: int = 16) -> Catalog:
    for number in range(count):
        save(make(number), folder / "films" / "T" / "ab"[number % 2] / f"{number}.dcm")
    study = read_study(["data=dicom", f"data.path={folder}/films", "data.test_share=0.25", *overrides])
    return read_catalog(study.data, folder / "kept")


def draw(number: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, shape or (8, 8), dtype=np.uint8)


@pytest.mark.parametrize("patient", ["", "ANON"])
def test_frames_of_a_file_stand_on_one_side_without_any_patient(patient: str, tmp_path: Path) -> None:
    def clip(number: int) -> Dataset:
        return make_film(draw(number, 4, 8, 8), patient=patient, NumberOfFrames=4)

    catalog = check(tmp_path, clip, count=8)
    source = open_source(catalog, tmp_path / "kept")
    groups = [{sample.group for sample in source.read_samples(catalog.names[0], split)} for split in Split]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 8
    assert None not in groups[0] | groups[1]


@pytest.mark.parametrize("name", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_studies_and_series_stand_on_one_side(name: str, tmp_path: Path) -> None:
    catalog = check(tmp_path, lambda number: make_film(draw(number), patient="", **{name: f"1.2.{number // 4 + 1}"}))
    source = open_source(catalog, tmp_path / "kept")
    groups = [{sample.group for sample in source.read_samples(catalog.names[0], split)} for split in Split]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 4


def test_free_text_reaches_no_name_file_log_or_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = "Knie von Erika M"
    check(tmp_path, lambda number: make_film(draw(number), BodyPartExamined=secret, Modality="Erika"))
    caplog.clear()  # pydicom tells of it when such files are written
    study = read_study(["data=dicom", f"data.path={tmp_path}/films", "data.test_share=0.5"])
    catalog = read_catalog(study.data, tmp_path / "kept")
    assert "erika" not in caplog.text.lower()
    assert catalog.subsets[0].triplet == "unknown modality:unknown area:T"
    written = b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert secret.encode() not in written
    assert b"erika" not in written.lower()
    assert "erika" not in (repr(catalog) + "".join(capfd.readouterr())).lower()


@pytest.mark.parametrize("name", ["{}.dcm", "IM{}", "1.2.840.{}", "{}.001"])
def test_dicom_named_in_a_manifest_is_read_and_grouped_by_its_patients(name: str, tmp_path: Path) -> None:
    lines = ["image,label,modality,area,task"]
    for number in range(16):
        save(make_film(draw(number), patient=f"Erika{number // 2}"), tmp_path / name.format(number))
        lines.append(f"{name.format(number)},{'ab'[number % 2]},CT,Lung,T")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    catalog = read_catalog(read_study(["data=manifest", f"data.path={tmp_path}/m.csv"]).data, tmp_path / "kept")
    assert catalog.subsets[0].num_train + catalog.subsets[0].num_test == 16
    assert catalog.subsets[0].has_groups
    written = b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert b"Erika" not in written


def test_dicom_that_is_called_an_image_is_not_read_without_its_patient(tmp_path: Path) -> None:
    save(make_film(draw(0)), tmp_path / "a.PNG")
    with pytest.raises(UnreadableError, match="call it .dcm"):
        Folder(tmp_path).open("a.PNG")


def test_a_deflated_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_headers, "MAX_BYTES", 1_000_000)
    film = make_film(np.zeros((2000, 2000), np.uint8))
    film.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    payload = save(film, tmp_path / "film.dcm")
    assert len(payload) < 100_000
    with pytest.raises(UnreadableError, match="unpacks to more than 1000000 bytes"):
        decode_film(payload, 0)
