"""The other sources: arrays, class folders, DICOM, sets of the hub, and several of them together."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.film_headers import hash_path
from cg_lab.data.films import Films
from cg_lab.data.samples import DataSource, Split
from cg_lab.data.sources import medmnist, open_source, read_catalog
from cg_lab.errors import UserError
from tests.data.making_films import PRIVATE, make_film


def read(kept: Path, *overrides: str) -> tuple[Catalog, DataSource]:
    catalog = read_catalog(read_study(list(overrides)).data, kept)
    return catalog, open_source(catalog, kept)


def count(catalog: Catalog, reason: str) -> int:
    return sum(note.count for note in catalog.notes if reason in note.reason)


def draw(number: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, shape or (24, 24), dtype=np.uint8)


# MedMNIST


def write_set(folder: Path, name: str, labels: NDArray[np.uint8], sides: tuple[int, int, int], *shape: int) -> None:
    """Write a set whose first images train, the next validate, and the last test."""
    folder.mkdir(exist_ok=True)
    images = np.stack([draw(number, *shape) for number in range(len(labels))])
    ends = np.cumsum(sides)
    arrays: dict[str, NDArray[np.uint8]] = {}
    for side, first, last in zip(("train", "val", "test"), [0, *ends], ends, strict=False):
        arrays[f"{side}_images"], arrays[f"{side}_labels"] = images[first:last], labels[first:last]
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def test_published_sides_are_kept_and_validation_images_stay_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(120, dtype=np.uint8)[:, None] % 2
    write_set(tmp_path / "mnist", "pneumoniamnist", labels, (80, 20, 20), 28, 28)
    digest = hashlib.md5((tmp_path / "mnist/pneumoniamnist.npz").read_bytes()).hexdigest()
    with pytest.raises(
        UserError, match=r"pneumoniamnist.npz: its MD5 is not the published 28209eda62fecd6e6a2d98b1501bb15f"
    ):
        read(tmp_path / "kept", "data=medmnist", f"data.path={tmp_path}/mnist")
    facts = (
        (Path(medmnist.__file__).parents[1] / "medmnist/sets.csv")
        .read_text()
        .replace("28209eda62fecd6e6a2d98b1501bb15f", digest)
    )
    (tmp_path / "facts.csv").write_text(facts)
    monkeypatch.setattr(medmnist, "FACTS", tmp_path / "facts.csv")
    catalog, source = read(tmp_path / "kept", "data=medmnist", f"data.path={tmp_path}/mnist")
    (subset,) = catalog.subsets
    assert (subset.name, subset.triplet) == ("pneumoniamnist", "X-ray:Lung:Pneumonia")
    assert (subset.labels, subset.num_train, subset.num_test) == (("normal", "pneumonia"), 80, 20)
    shown = {image.tobytes() for image in source.read_images(source.read_samples(subset.name, Split.TEST))}
    assert shown == {draw(number, 28, 28).tobytes() for number in range(100, 120)}


def test_the_facts_of_the_twelve_sets_are_whole() -> None:
    with medmnist.FACTS.open(encoding="utf-8", newline="") as file:
        facts = list(csv.DictReader(file))
    assert len(facts) == 12
    for fact in facts:
        assert all(re.fullmatch(r"[0-9a-f]{32}", fact[f"md5_{size}"]) for size in medmnist.SIZES)
        assert len(fact["labels"].split(";")) >= 2
    assert len({fact["md5_28"] for fact in facts}) == 12


def test_several_labels_are_joined_with_commas_and_none_is_no_finding(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 12, np.uint8)
    write_set(tmp_path / "mnist", "own", labels, (32, 0, 16), 16, 16, 3)
    (tmp_path / "facts.csv").write_text("name,modality,area,task,labels\nown,X-ray,Chest,Findings,edema;mass\n")
    catalog, _ = read(
        tmp_path / "kept", "data=medmnist", f"data.path={tmp_path}/mnist", f"data.facts={tmp_path}/facts.csv",
        "data.min_per_label=4",
    )  # fmt: skip
    assert catalog.subsets[0].labels == ("edema", "edema, mass", "mass", "no finding")
    assert count(catalog, "no published MD5") == 1


@pytest.mark.parametrize(
    ("labels", "payload", "message"),
    [
        (np.full((8, 1), 7, np.uint8), None, "label 7, and 2 names of labels"),
        (np.zeros((8, 3), np.uint8), None, "3 labels an image, and 2 names"),
        (np.zeros((8, 1), np.uint8), b"PK no zip", "damaged, or no MedMNIST file"),
        (np.zeros((8, 1), np.uint8), b"", "damaged, or no MedMNIST file"),
    ],
)
def test_arrays_that_can_not_be_are_refused(
    labels: NDArray[np.uint8], payload: bytes | None, message: str, tmp_path: Path
) -> None:
    write_set(tmp_path / "mnist", "own", labels, (4, 0, 4), 8, 8)
    if payload is not None:
        (tmp_path / "mnist/own.npz").write_bytes(payload)
    (tmp_path / "facts.csv").write_text("name,modality,area,task,labels\nown,X-ray,Chest,Findings,edema;mass\n")
    with pytest.raises(UserError, match=message):
        read(tmp_path, "data=medmnist", f"data.path={tmp_path}/mnist", f"data.facts={tmp_path}/facts.csv")


def test_a_folder_without_sets_names_the_files_that_it_should_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has files such as pathmnist_64.npz"):
        read(tmp_path, "data=medmnist", f"data.path={tmp_path}", "data.size=64")
    with pytest.raises(UserError, match="no set 'pathmnits'.*Did you mean 'pathmnist'"):
        read(tmp_path, "data=medmnist", f"data.path={tmp_path}", "data.sets=[pathmnits]")


# Class folders


def write_images(folder: Path, names: list[str], each: int = 8) -> None:
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(draw(1000 * place + number)).save(folder / name / f"{number}.png")


def test_levels_say_what_folders_mean(tmp_path: Path) -> None:
    write_images(tmp_path / "images", [f"CT/v1/Lung/{label}" for label in ("benign", "malignant")])
    (tmp_path / "images/CT/v1/Lung/benign/.hidden.png").write_bytes(b"")
    (tmp_path / "images/stray.png").write_bytes(b"")
    overrides = ["data=imagefolder", f"data.path={tmp_path}/images", "data.levels=[modality,_,area,label]"]
    catalog, _ = read(tmp_path / "kept", *overrides, "data.elements={task: Cancer}", "data.test_share=0.25")
    (subset,) = catalog.subsets
    assert (subset.name, subset.triplet) == ("ct-lung-cancer", "CT:Lung:Cancer")
    assert (subset.num_train, subset.num_test) == (12, 4)
    assert count(catalog, "lies in fewer than 4 folders") == 1


def test_sides_and_groups_stand_in_folders_or_beside_the_images(tmp_path: Path) -> None:
    write_images(tmp_path / "images", [f"{side}/{label}" for side in ("train", "test") for label in ("no", "yes")])
    (tmp_path / "images/metadata.csv").write_text(
        "file_name,group\n" + "".join(f"{side}/no/0.png,anna\n" for side in ("train", "test"))
    )
    elements = "data.elements={modality: CT, area: Lung, task: Mass}"
    catalog, source = read(
        tmp_path / "kept", "data=imagefolder", f"data.path={tmp_path}/images", "data.levels=[split,label]", elements
    )
    (subset,) = catalog.subsets
    assert (subset.num_train, subset.num_test) == (15, 16)
    assert {sample.group for sample in source.read_samples(subset.name, Split.TEST)} == {"anna", None}
    assert count(catalog, "shares a patient or film with a test image") == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.levels=[modality,area,task]"], "no level is the label"),
        (["data.levels=[label]"], "factor 'modality' is neither a level nor in data.elements"),
        (["data.levels=[modality,area,task,label,organ]"], "level 'organ' is none of modality, area, task"),
        (["data.levels=[modality,area,task,label,label]"], "'label' is there twice"),
        (["data.elements={modality: CT}"], "'modality' is there twice"),
        (["data.elements={organ: Lung}"], "data.elements.organ: no such factor"),
    ],
)
def test_levels_that_say_too_little_or_too_much_are_refused(overrides: list[str], message: str, tmp_path: Path) -> None:
    write_images(tmp_path / "images", ["CT/Lung/Mass/no"], 1)
    with pytest.raises(UserError, match=message):
        read(tmp_path, "data=imagefolder", f"data.path={tmp_path}/images", *overrides)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no image below"):
        read(tmp_path, "data=imagefolder", f"data.path={tmp_path}")
    with pytest.raises(UserError, match="no folder '/nowhere'"):
        read(tmp_path, "data=imagefolder", "data.path=/nowhere")


# DICOM


def show(film: FileDataset, folder: Path, frame: int = 0) -> NDArray[np.uint8]:
    """Give a film's frame as it is read."""
    film.save_as(folder / "film.dcm", enforce_file_format=True)
    return np.asarray(Films(folder).open(f"{hash_path('film.dcm')}#{frame}").image)


def test_hounsfield_units_are_windowed(tmp_path: Path) -> None:
    stored = np.array([[0, 824], [1024, 1224]], np.uint16)  # -1024, -200, 0 and 200 HU
    film = make_film(stored, RescaleSlope=1, RescaleIntercept=-1024, BitsStored=12, HighBit=11)
    assert show(film, tmp_path).tolist() == [[0, 172], [213, 255]]  # no window: from darkest to brightest
    film.WindowCenter, film.WindowWidth = 0, 400
    shown = show(film, tmp_path)
    assert shown[0].tolist() == [0, 0]
    assert abs(int(shown[1, 0]) - 128) <= 1
    assert shown[1, 1] == 255


def test_a_lookup_table_of_interest_is_applied(tmp_path: Path) -> None:
    film = make_film(np.array([[0, 1], [2, 3]], np.uint8))
    table = Dataset()
    table.LUTDescriptor = [4, 0, 8]
    table.add_new("LUTData", "OW", np.array([255, 100, 50, 0], np.uint16).tobytes())
    film.VOILUTSequence = Sequence([table])
    assert show(film, tmp_path).tolist() == [[255, 100], [50, 0]]


def test_films_that_are_stored_inverted_are_shown_bright_where_film_is_bright(tmp_path: Path) -> None:
    pixels = np.array([[0, 255], [128, 64]], np.uint8)
    plain = show(make_film(pixels), tmp_path)
    assert show(make_film(pixels, PhotometricInterpretation="MONOCHROME1"), tmp_path).tolist() == (255 - plain).tolist()


def test_signed_pixels_frames_palettes_and_colour_are_read(tmp_path: Path) -> None:
    assert show(make_film(np.array([[-100, 0], [100, 300]], np.int16)), tmp_path).tolist() == [[0, 64], [127, 255]]
    frames = np.stack([draw(1, 8, 8), draw(2, 8, 8)])
    film = make_film(frames, NumberOfFrames=2)
    first, second = show(film, tmp_path, 0), show(film, tmp_path, 1)
    assert (first != second).any()
    colour = draw(3, 8, 8, 3)
    assert (show(make_film(colour), tmp_path) == colour).all()
    film = make_film(np.array([[0, 1], [2, 1]], np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for name, values in (("Red", [0, 255, 0]), ("Green", [0, 0, 255]), ("Blue", [9, 0, 0])):
        setattr(film, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
        setattr(
            film,
            f"{name}PaletteColorLookupTableData",
            np.array(values, np.uint16).astype(np.uint16).__mul__(256).tobytes(),
        )
    assert show(film, tmp_path).tolist() == [[[0, 0, 9], [255, 0, 0]], [[0, 255, 0], [255, 0, 0]]]


def write_films(folder: Path) -> Path:
    for place, label in enumerate(("normal", "nodule")):
        for number in range(12):
            path = folder / "Nodule" / label / PRIVATE[0] / f"{PRIVATE[1]}_{number}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            film = make_film(draw(100 * place + number), patient=f"{PRIVATE[1]}/{place}/{number // 2}")
            film.save_as(path, enforce_file_format=True)
    (folder / "Nodule/normal" / PRIVATE[0] / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    (folder / f"{PRIVATE[0]}.txt").write_text("no film")
    return folder


def test_no_name_id_or_date_of_a_patient_gets_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither into a table, nor a note, nor onto the terminal; folders and file names may hold them too."""
    write_films(tmp_path / "films")
    overrides = ["data=dicom", f"data.path={tmp_path}/films", "data.test_share=0.25"]
    catalog, source = read(tmp_path / "kept", *overrides)
    (subset,) = catalog.subsets
    assert subset.triplet == "CT:Chest:Nodule"
    assert subset.has_groups
    assert (subset.num_train, subset.num_test) == (16, 6)  # two more share a patient with a test film
    assert count(catalog, "no DICOM image") == 2
    groups = [{sample.group for sample in source.read_samples(subset.name, split)} for split in Split]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 12
    assert len(source.read_images(source.read_samples(subset.name, Split.TEST))) == 6
    told = capfd.readouterr()
    written = b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())
    for secret in PRIVATE:
        assert secret.encode() not in written, secret
        assert secret not in told.out + told.err + repr(catalog), secret


def test_the_same_patient_in_all_films_makes_no_groups(tmp_path: Path) -> None:
    write_films(tmp_path / "films")
    for path in (tmp_path / "films").rglob("PAT*.dcm"):
        film = pydicom.dcmread(path)
        film.PatientID = "ANONYMOUS"
        film.save_as(path)
    catalog, _ = read(tmp_path / "kept", "data=dicom", f"data.path={tmp_path}/films")
    assert not catalog.subsets[0].has_groups
    assert count(catalog, "the same in all files") == 1


# Sets of the hub, from a folder


def write_hub_set(folder: Path) -> None:
    import datasets

    names = ["benign", "malignant"]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names), "patient": datasets.Value("string")}
    )
    for side, offset, rows in (("train", 0, 40), ("test", 100, 10)):
        columns = {
            "image": [Image.fromarray(draw(offset + number)) for number in range(rows)],
            "label": [number % 2 for number in range(rows)],
            "patient": [f"{side}{number // 2}" for number in range(rows)],
        }
        (folder / "data").mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(columns, features).to_parquet(str(folder / "data" / f"{side}-0.parquet"))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_set_of_the_hub_is_read_once_and_needs_no_library_then(
    streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hub_set(tmp_path / "set")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    overrides = [
        "data=huggingface", f"data.path={tmp_path}/set", "data.splits=[train,test]", f"data.streaming={streaming}",
        "+data.columns.group=patient", "data.elements={modality: CT, area: Lung, task: Cancer}", "data.min_per_label=4",
    ]  # fmt: skip
    catalog, source = read(tmp_path / "kept", *overrides)
    (subset,) = catalog.subsets
    assert (subset.labels, subset.num_train, subset.num_test) == (("benign", "malignant"), 40, 10)
    assert subset.has_groups
    shown = {image.tobytes() for image in source.read_images(source.read_samples(subset.name, Split.TEST))}
    assert shown == {draw(100 + number).tobytes() for number in range(10)}
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert read(tmp_path / "kept", *overrides)[0] == catalog


def test_a_column_that_the_set_does_not_have_is_told(tmp_path: Path) -> None:
    write_hub_set(tmp_path / "set")
    common = ["data=huggingface", f"data.path={tmp_path}/set", "data.elements={modality: CT, area: Lung, task: Cancer}"]
    with pytest.raises(UserError, match="no column 'lable'.*Did you mean 'label'"):
        read(tmp_path, *common, "data.columns.label=lable")
    with pytest.raises(UserError, match="data.columns.image: 'label' is .*, not a column of images"):
        read(tmp_path, *common, "data.columns.image=label")
    with pytest.raises(UserError, match="split 'dev' can't be opened"):
        read(tmp_path, *common, "data.splits=[dev]")


# Several sources together


def test_several_sources_are_one_catalogue_and_a_film_of_two_of_them_is_on_one_side(tmp_path: Path) -> None:
    write_images(tmp_path / "folders", ["X-ray/Lung/Pneumonia/normal", "X-ray/Lung/Pneumonia/pneumonia"], 40)
    lines = ["image,label,modality,area,task"]
    (tmp_path / "films").mkdir()
    for place, label in enumerate(("normal", "tuberculosis")):
        for number in range(40):  # the normal films are those of the folders
            Image.fromarray(draw(5000 * place + number)).save(tmp_path / f"films/{label}{number}.png")
            lines.append(f"{label}{number}.png,{label},X-ray,Lung,Tuberculosis")
    (tmp_path / "films/manifest.csv").write_text("\n".join(lines))
    (tmp_path / "conf/data").mkdir(parents=True)
    (tmp_path / "conf/data/both.yaml").write_text(
        "defaults:\n  - joined\n  - imagefolder@parts.folders\n  - manifest@parts.films\n  - _self_\n"
        f"parts:\n  folders: {{path: {tmp_path}/folders}}\n  films: {{path: {tmp_path}/films/manifest.csv}}\n"
    )
    from cg_lab.config import Request, read_studies

    (named,) = read_studies(Request(overrides=("data=both",), config_dir=tmp_path / "conf"))
    catalog = read_catalog(named.study.data, tmp_path / "kept")
    source = open_source(catalog, tmp_path / "kept")
    assert catalog.names == ("x-ray-lung-pneumonia", "x-ray-lung-tuberculosis")
    shown = {
        split: {
            image.tobytes() for name in catalog.names for image in source.read_images(source.read_samples(name, split))
        }
        for split in Split
    }
    assert not shown[Split.TRAIN] & shown[Split.TEST]
    assert count(catalog, "shares a patient or film with a test image") > 0
    assert json.dumps(sorted(shown[Split.TEST], key=hash), default=len)
