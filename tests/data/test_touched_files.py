"""What a touched, linked or changed file costs: that file, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from cg_lab.config import read_study
from cg_lab.data import building, facts
from cg_lab.data.sources import read_catalog
from tests.data.test_sides import make_film, read, write


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the images that are opened, and tables that are made as `table`."""
    seen: list[str] = []
    measure, build = facts._measure_one, building.build_table
    monkeypatch.setattr(facts, "_measure_one", lambda *told: seen.append(told[1]) or measure(*told))
    monkeypatch.setattr(building, "build_table", lambda *told, **more: seen.append("table") or build(*told, **more))
    return seen


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def test_a_touched_image_of_the_same_content_is_opened_alone_and_no_table_is_made(
    tmp_path: Path, opened: list[str]
) -> None:
    path = write(tmp_path, {"no": 8, "yes": 8})
    (tmp_path / "README").write_text("beside the images")
    first, _ = read(path)
    opened.clear()
    touch(tmp_path / "a-0-3.png")
    assert read(path)[0] == first
    assert opened == ["a-0-3.png"]
    assert read(path)[0] == first
    assert opened == ["a-0-3.png"]


def test_changed_content_makes_the_table_anew_also_under_its_old_time(tmp_path: Path, opened: list[str]) -> None:
    path = write(tmp_path, {"no": 8, "yes": 8})
    first, _ = read(path)
    opened.clear()
    make_film(5).save(tmp_path / "a-0-0.png")
    touch(tmp_path / "a-1-1.png")
    assert read(path)[0].data != first.data
    assert sorted(opened) == ["a-0-0.png", "a-1-1.png", "table"]


@pytest.mark.parametrize("act", ["add", "remove", "touch", "list"])
def test_what_is_no_touched_image_makes_the_table_anew(act: str, tmp_path: Path, opened: list[str]) -> None:
    path = write(tmp_path, {"no": 8, "yes": 8})
    (tmp_path / "other.txt").write_text("")
    read(path)
    opened.clear()
    if act == "add":
        (tmp_path / "new.txt").write_text("")
    elif act == "remove":
        (tmp_path / "a-0-0.png").unlink()
    else:
        touch(tmp_path / ("other.txt" if act == "touch" else "manifest.csv"))
    read(path)
    assert opened == ["table"]


def test_touched_images_of_class_folders_are_opened_alone(tmp_path: Path, opened: list[str]) -> None:
    for number in range(16):
        file = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        make_film(number).save(file)
    settings = read_study(
        ["data=imagefolder", f"data.path={tmp_path / 'set'}", "data.levels=[label]",
         "data.elements={modality: CT, area: Lung, task: x}"]
    ).data  # fmt: skip
    first = read_catalog(settings, tmp_path / "kept")
    opened.clear()
    touch(tmp_path / "set" / "a" / "4.png")
    assert read_catalog(settings, tmp_path / "kept") == first
    assert opened == ["a/4.png"]
    make_film(99).save(tmp_path / "set" / "a" / "98.png")
    assert read_catalog(settings, tmp_path / "kept") != first


def test_a_file_of_several_names_is_opened_once_and_a_link_out_of_the_folder_never(
    tmp_path: Path, opened: list[str]
) -> None:
    root = tmp_path / "data"
    path = write(root, {"no": 8, "yes": 8})
    for name in ("again.png", "deep/again.png"):
        (root / name).parent.mkdir(exist_ok=True)
        os.link(root / "a-0-0.png", root / name)
    (tmp_path / "out").mkdir()
    os.link(root / "a-0-0.png", tmp_path / "out" / "x.png")
    (root / "away").symlink_to(tmp_path / "out")
    with path.open("a") as file:
        file.writelines(f"{name},no,b,MR,Lung,a\n" for name in ("again.png", "deep/again.png", "away/x.png"))
        file.write("a-1-1.png,yes,b,MR,Lung,a\n".replace("a-1-1", "b-1-1"))
        make_film(70).save(root / "b-1-1.png")
        file.write("b-1-2.png,no,b,MR,Lung,a\nb-1-3.png,yes,b,MR,Lung,a\n")
        make_film(71).save(root / "b-1-2.png")
        make_film(72).save(root / "b-1-3.png")
    catalog, _ = read(path)
    assert sorted(set(opened) - {"table"} - {f"a-{a}-{b}.png" for a in (0, 1) for b in range(8)}) == [
        "away/x.png", "b-1-1.png", "b-1-2.png", "b-1-3.png",
    ]  # fmt: skip
    told = {note.reason: note.examples for note in catalog.notes}
    assert "away/x.png (lies outside the data folder)" in told["image missing or not decodable, left out"][0]
    assert "deep/again.png" not in str(told["image missing or not decodable, left out"])
    assert "the same image is there twice in its subset, left out" in told


def test_facts_are_kept_once_for_equal_content_and_the_newest_counts(tmp_path: Path) -> None:
    from cg_lab.data.pictures import Folder

    for name in "abc":
        make_film(3).save(tmp_path / f"{name}.png")
    pictures, names, kept = Folder(tmp_path), [f"{name}.png" for name in "cab"], tmp_path / "kept"
    table = facts.measure_images(pictures, pictures.find(names), kept)
    assert table["origin"].to_pylist() == names
    assert len(table["thumbnail"].combine_chunks().dictionary) == len(table["pixels"].combine_chunks().dictionary) == 1
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    again = facts.measure_images(pictures, pictures.find(names), kept)
    assert again["width"].to_pylist() == [64, 9, 64]
    assert facts.measure_images(pictures, pictures.find(names), kept) == again
