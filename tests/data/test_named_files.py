"""Names of files as tables, scanners and other systems write them, and what in a folder is no file."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.named_files import FileNames
from cg_lab.data.sources import read_catalog
from cg_lab.errors import UserError
from tests.data.making_films import make_film

ELEMENTS = "data.elements={modality: CT, area: Lung, task: Mass}"
BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>"


def draw(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (9, 9), dtype=np.uint8)


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(number)).save(path, "PNG")


def read(folder: Path, *overrides: str) -> Catalog:
    return read_catalog(read_study(list(overrides)).data, folder / "kept")


def tell(catalog: Catalog) -> dict[str, int]:
    return {note.reason: note.count for note in catalog.notes if "group" not in note.reason}


def count(catalog: Catalog) -> int:
    return sum(subset.num_train + subset.num_test for subset in catalog.subsets)


@pytest.mark.parametrize(
    "name", ["a/B1.dcm", "A\\b1", "b1.png", "train/a/b1.DCM", "./b1.dcm"],
)  # fmt: skip
def test_a_file_is_found_by_any_end_of_its_path_in_any_case(name: str) -> None:
    assert FileNames(["a/b1.dcm", "a/b2.dcm"]).find(name) == ("a/b1.dcm",)


def test_a_uid_has_no_ending() -> None:
    files = FileNames(["1.2.840.1", "1.2.840.2"])
    assert files.find("1.2.840.2") == ("1.2.840.2",)
    assert not files.find("1.2.840")
    assert FileNames(["a/1.png", "b/1.png"]).find("1.jpg") == ("a/1.png", "b/1.png")


@pytest.mark.parametrize("source", ["manifest", "findings"])
@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_folders_and_files_may_have_different_forms_of_unicode(
    source: str, forms: tuple[str, str], tmp_path: Path
) -> None:
    lines = ["image,label"]
    for number in range(12):
        folder, name = map(unicodedata.normalize, forms, ("M\u00fcller", f"\u00e4{number}.png"))
        write_image(tmp_path / folder / name, number)
        lines.append(f"M\u00fcller/\u00e4{number}.png,{'ab'[number % 2]}")
    (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    assert count(read(tmp_path, f"data={source}", f"data.path={tmp_path}/m.csv", ELEMENTS)) == 12


def write_films(folder: Path, pattern: str, names: list[str]) -> list[str]:
    for number in range(24):
        path = folder / "films" / pattern.format(number=number, part=number % 2, half=number // 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        make_film(draw(number), patient=f"p{number // 2}").save_as(path, enforce_file_format=True)
    lines = ["image,label", *(f"{name},{'ab'[number % 2]}" for number, name in enumerate(names))]
    (folder / "l.csv").write_text("\n".join(lines), encoding="utf-8")
    return ["data=dicom_table", f"data.path={folder}/l.csv", f"data.root={folder}/films", "data.elements={task: Mass}"]


@pytest.mark.parametrize("pattern", ["{}.png", "IM{}.DCM", "train/im{}", "im{}.dcm"])
def test_a_table_names_films_with_another_ending_case_or_folder(pattern: str, tmp_path: Path) -> None:
    kept = "IM" if "IM" in pattern or "im" in pattern else ""
    names = [pattern.format(number) for number in range(24)]
    assert count(read(tmp_path, *write_films(tmp_path, f"{kept.lower()}{{number}}.dcm", names))) == 24


def test_a_name_that_films_of_several_patients_have_is_refused(tmp_path: Path) -> None:
    overrides = write_films(tmp_path, "patient{part}/{half}.dcm", [f"{number}.dcm" for number in range(12)])
    with pytest.raises(UserError, match="line 2: its image is the name of 2 files; give the path"):
        read(tmp_path, *overrides)


def test_patients_of_a_table_of_films_are_written_nowhere(tmp_path: Path) -> None:
    overrides = write_films(tmp_path, "{number}.dcm", [])
    lines = ["image,label,patient_id", *(f"{number},{'ab'[number % 2]},Erika{number // 4}" for number in range(24))]
    (tmp_path / "l.csv").write_text("\n".join(lines), encoding="utf-8")
    assert read(tmp_path, *overrides).subsets[0].has_groups
    assert b"Erika" not in b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())


def write_annotations(folder: Path, body: str = "<annotation>{object}</annotation>") -> list[str]:
    for number in range(12):
        write_image(folder / "JPEGImages" / f"{number}.png", number)
        (folder / "Annotations").mkdir(exist_ok=True)
        found = f"<object><name>{'ab'[number % 2]}</name>{BOX}</object>"
        (folder / f"Annotations/{number}.xml").write_text(body.format(object=found, number=number))
    return ["data=voc", f"data.path={folder}/Annotations", ELEMENTS]


def test_an_annotation_without_a_name_is_of_the_image_that_is_called_so(tmp_path: Path) -> None:
    assert count(read(tmp_path, *write_annotations(tmp_path))) == 12


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    overrides = write_annotations(tmp_path)
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>'
    (tmp_path / "Annotations/3.xml").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match=r"3.xml: declares entities, which are not read"):
        read(tmp_path, *overrides)


def test_pipes_links_to_folders_and_links_out_are_counted(tmp_path: Path) -> None:
    (tmp_path / "out.xml").write_text("<annotation/>")
    overrides = write_annotations(tmp_path)
    os.mkfifo(tmp_path / "Annotations/pipe.xml")
    (tmp_path / "Annotations/link.xml").symlink_to(tmp_path / "out.xml")
    (tmp_path / "Annotations/more").symlink_to(tmp_path / "JPEGImages")
    assert tell(read(tmp_path, *overrides)) == {
        "pipe or device, left out": 1,
        "link to a folder, not followed": 1,
        "lies outside the data folder, left out": 1,
    }


@pytest.mark.parametrize("source", ["imagefolder", "dicom", "nifti"])
def test_a_pipe_among_images_stops_nothing(source: str, tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / f"f/{'ab'[number % 2]}/{number}.png", number)
    for ending in ("png", "dcm", "nii"):
        os.mkfifo(tmp_path / f"f/a/pipe.{ending}")
    overrides = [f"data={source}", f"data.path={tmp_path}/f", "data.levels=[label]", ELEMENTS]
    if source == "imagefolder":
        assert tell(read(tmp_path, *overrides)) == {"pipe or device, left out": 1}
        return
    with pytest.raises(UserError, match="no DICOM file below|no NIfTI file"):
        read(tmp_path, *overrides)


def test_a_file_whose_name_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / f"f/{'ab'[number % 2]}/{number}.png", number)
    with open(os.fsencode(tmp_path / "f/a") + b"/caf\xe9.png", "wb") as file:  # noqa: PTH123
        file.write(b"x")
    catalog = read(tmp_path, "data=imagefolder", f"data.path={tmp_path}/f", "data.levels=[label]", ELEMENTS)
    assert tell(catalog) == {"file name is not UTF-8, left out": 1}


@pytest.mark.parametrize("name", ["\ud800/a.png", "a\ud800.png", "a\0.png", "a\x1b[2J\n.png", "a" * 5000, "../a.png"])
@pytest.mark.parametrize("source", ["coco", "conversations"])
def test_a_name_that_no_file_has_is_one_line(source: str, name: str, tmp_path: Path) -> None:
    write_image(tmp_path / "0.png", 0)
    turns = [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]
    records: object = [{"image": name, "conversations": turns}]
    if source == "coco":
        records = {
            "images": [{"id": 1, "file_name": name}], "categories": [{"id": 1, "name": "y"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
        }  # fmt: skip
    (tmp_path / "l.json").write_text(json.dumps(records))
    with pytest.raises(UserError) as refused:
        read(tmp_path, f"data={source}", f"data.path={tmp_path}/l.json", ELEMENTS)
    text = str(refused.value)
    assert len(text) < 600
    assert all(line.isprintable() for line in text.splitlines())
    text.encode()


@pytest.mark.parametrize(
    ("part", "entries", "message"),
    [
        ("images", [{"id": 0, "file_name": "1.png"}], "images 1 and 13 both have the id '0'"),
        ("categories", [{"id": 0, "name": "c"}], "categories 1 and 3 both have the id '0'"),
        ("annotations", [{"image_id": "0", "category_id": 1, "bbox": [1, 1, 2, 2]}], "no image has the id '0'"),
        ("annotations", [{"image_id": 99, "category_id": 1, "bbox": [1, 1, 2, 2]}], "no image has the id '99'"),
    ],
)
def test_cocos_ids_mean_one_thing(part: str, entries: list[object], message: str, tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / f"{number}.png", number)
    whole: dict[str, list[object]] = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(12)],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
        "annotations": [{"image_id": number, "category_id": number % 2, "bbox": [1, 1, 4, 4]} for number in range(12)],
    }
    whole[part] += entries
    (tmp_path / "c.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match=message):
        read(tmp_path, "data=coco", f"data.path={tmp_path}/c.json", ELEMENTS)
