"""Manifests: what is read, how it is split, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.asking import pose_test
from cg_lab.data.samples import DataSource, Split, ask
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.errors import UserError
from cg_lab.mat import Kind
from cg_lab.planning.work import ORIGINAL
from cg_lab.questions import BoxQuestion

HEADER = "image,label,modality,area,task,group"


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 12), dtype=np.uint8)).save(path)


def write_manifest(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def make_lines(folder: Path, num_each: int = 20, group_size: int = 2) -> list[str]:
    lines: list[str] = []
    for label in ("no", "yes"):
        for number in range(num_each):
            name = f"images/{label}{number}.png"
            write_image(folder / name, len(lines))
            lines.append(f"{name},{label},CT,Lung,Mass,{label}-{number // group_size}")
    return lines


def read(path: Path, *overrides: str) -> Catalog:
    """Read a manifest's catalogue; tables are kept beside it."""
    return read_catalog(read_study(["data=manifest", f"data.path={path}", *overrides]).data, path.parent / "kept")


def open_split(path: Path, *overrides: str) -> tuple[DataSource, Catalog]:
    catalog = read(path, *overrides)
    return open_source(catalog, path.parent / "kept"), catalog


def test_a_fourth_factor_is_a_column_more(tmp_path: Path) -> None:
    lines = [f"{line},{('AP', 'PA')[number % 2]}" for number, line in enumerate(make_lines(tmp_path))]
    path = tmp_path / "m.csv"
    path.write_text("\n".join(["image,label,modality,area,task,group,view", *lines]))
    catalog = read(path, "data.factors=[modality,area,task,view]")
    assert catalog.factors[3] == "view"
    assert {subset.elements[3] for subset in catalog.subsets} == {("AP",), ("PA",)}
    assert len(read(path).subsets) == 1


def test_no_group_stands_on_both_sides_and_tests_are_balanced(tmp_path: Path) -> None:
    source, catalog = open_split(write_manifest(tmp_path, make_lines(tmp_path)))
    train, test = (source.read_samples("ct-lung-mass", split) for split in Split)
    assert not {sample.group for sample in train} & {sample.group for sample in test}
    assert [sum(sample.label == label for sample in test) for label in ("no", "yes")] == [5, 5]
    assert catalog.subsets[0].num_train == len(train)
    assert catalog.subsets[0].has_groups


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_lines(tmp_path: Path) -> None:
    lines = make_lines(tmp_path)
    first, catalog_1 = open_split(write_manifest(tmp_path, lines))
    second, catalog_2 = open_split(write_manifest(tmp_path, lines[::-1]))
    other, _ = open_split(write_manifest(tmp_path, lines), "data.seed=1")
    sides = [[one.read_samples("ct-lung-mass", split) for split in Split] for one in (first, second, other)]
    assert sides[0] == sides[1]
    assert catalog_1.data == catalog_2.data
    assert sides[0] != sides[2]


def test_images_that_were_moved_and_renamed_are_found_where_they_lie_now(tmp_path: Path) -> None:
    """Their table has the same content, and with it the same place."""
    lines = make_lines(tmp_path)
    before, catalog = open_split(write_manifest(tmp_path, lines))
    shown = [image.tobytes() for image in before.read_images(before.read_samples("ct-lung-mass", Split.TEST))]
    (tmp_path / "images").rename(tmp_path / "scans")
    for path in (tmp_path / "scans").iterdir():
        path.rename(path.with_name(f"patient-{path.name}"))
    moved = [line.replace("images/", "scans/patient-") for line in lines]
    after, again = open_split(write_manifest(tmp_path, moved))
    assert again.data == catalog.data
    assert [image.tobytes() for image in after.read_images(after.read_samples("ct-lung-mass", Split.TEST))] == shown


def test_equal_bytes_stay_on_one_side_even_without_groups(tmp_path: Path) -> None:
    lines = [line.rsplit(",", 1)[0] + "," for line in make_lines(tmp_path)]
    for number in range(0, 20, 2):
        (tmp_path / f"images/no{number}.png").write_bytes((tmp_path / f"images/no{number + 1}.png").read_bytes())
    source, _ = open_split(write_manifest(tmp_path, lines))
    train, test = (
        {image.tobytes() for image in source.read_images(source.read_samples("ct-lung-mass", split))} for split in Split
    )
    assert not train & test


def test_training_is_capped_evenly_over_labels(tmp_path: Path) -> None:
    source, _ = open_split(write_manifest(tmp_path, make_lines(tmp_path)), "data.max_train=10")
    train = source.read_samples("ct-lung-mass", Split.TRAIN)
    assert [sum(sample.label == label for sample in train) for label in ("no", "yes")] == [5, 5]


def test_a_question_depends_on_its_sample_alone(tmp_path: Path) -> None:
    source, _ = open_split(write_manifest(tmp_path, make_lines(tmp_path)))
    samples = source.read_samples("ct-lung-mass", Split.TRAIN)
    assert [ask(source, sample) for sample in samples] == [ask(source, sample) for sample in reversed(samples)][::-1]
    question = ask(source, samples[0])
    assert question.options[question.answer] == samples[0].label


def test_unreadable_images_are_counted_and_listed(tmp_path: Path) -> None:
    lines = make_lines(tmp_path)
    (tmp_path / "images/no0.png").unlink()
    (tmp_path / "images/no1.png").write_bytes((tmp_path / "images/no1.png").read_bytes()[:60])
    (tmp_path / "images/no2.png").write_text("not an image")
    catalog = read(write_manifest(tmp_path, lines))
    assert catalog.notes[0].count == 3
    assert "no0.png (missing)" in catalog.notes[0].examples[0]
    assert "no2.png (not an image)" in catalog.notes[0].examples[2]


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("image,label,modality,area,tasks", ["a.png,x,CT,Lung,Mass"], "no column 'task'; known:.*Did you mean 'tasks'"),
        ("image,label,label,modality,area,task", ["a.png,x,x,CT,Lung,Mass"], "column 'label' is there twice"),
        (HEADER, ["a.png,,CT,,Mass,"], "line 2: empty label, area"),
        (HEADER, [], "no line below the header"),
        (HEADER, ["../a.png,x,CT,Lung,Mass,"], "line 2: image '../a.png' lies outside"),
        (HEADER, ["gone.png,x,CT,Lung,Mass,"], "none of the 1 images of label 'x' can be read"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path: Path, header: str, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write_manifest(tmp_path, lines, header))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    lines = make_lines(tmp_path)
    bad = [lines[0], "b.png,x,,Lung,Mass,", "c.png,,CT,Lung,Mass,"]
    with pytest.raises(UserError) as caught:
        read(write_manifest(tmp_path, lines + bad))
    assert "3 faults" in str(caught.value)
    assert "is listed in line 2 already" in str(caught.value)


def test_an_empty_class_and_a_single_label_are_refused(tmp_path: Path) -> None:
    lines = make_lines(tmp_path)
    path = write_manifest(tmp_path, [line for line in lines if ",no," in line])
    with pytest.raises(UserError, match="needs two labels or more, it has only 'no'"):
        read(path)
    path = write_manifest(
        tmp_path, [line for line in lines if ",no," in line] + [next(line for line in lines if ",yes," in line)]
    )
    with pytest.raises(UserError, match="no train sample of 'yes'"):
        read(path)


def test_a_missing_file_names_the_columns_that_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file.*image, label, modality, area, task"):
        read(tmp_path / "none.csv")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, make_lines(tmp_path))
    plain = read(path)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read(path) == plain


def write_boxes(folder: Path, cells: list[tuple[str, str]]) -> Path:
    """Write a manifest whose lines have a box, a mask, or neither."""
    lines = ["image,label,modality,area,task,box,mask"]
    for number, (box, mask) in enumerate(cells):
        Image.new("L", (40, 20), number).save(folder / f"{number}.png")
        lines.append(f"{number}.png,tumour,CT,Lung,Find,{box},{mask}")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.csv"


def test_boxes_are_read_as_shares_and_masks_become_their_outline(tmp_path: Path) -> None:
    mask = Image.new("L", (40, 20))
    mask.putpixel((10, 5), 255)
    mask.putpixel((29, 14), 1)
    mask.save(tmp_path / "mask.png")
    source, _ = open_split(write_boxes(tmp_path, [("20 10 40 20; 0 0 10.0 5", ""), ("", "mask.png")]))
    samples = [sample for split in Split for sample in source.read_samples("ct-lung-find", split)]
    assert sorted(sample.boxes for sample in samples) == [
        ((0, 0, 0.25, 0.25), (0.5, 0.5, 1, 1)),
        ((0.25, 0.25, 0.75, 0.75),),
    ]


@pytest.mark.parametrize(
    ("box", "mask", "message"),
    [
        ("1 2 3", "", r"line 2: box '1 2 3' is not `x0 y0 x1 y1` in pixels"),
        ("0 0 41 5", "", r"box '0 0 41 5' does not lie within the 40 x 20 pixels"),
        ("5 0 5 5", "", "or is empty"),
        ("0 0 1 1", "mask.png", "both a box and a mask"),
        ("", "none.png", r"mask 'none.png' can't be read \(missing"),
        ("", "../mask.png", "lies outside the folder of images"),
        ("", "black.png", "shows nothing"),
        ("", "small.png", "mask 'small.png' has 4 x 4 pixels and its image 40 x 20"),
    ],
)
def test_a_box_that_can_not_be_is_refused_with_its_line(box: str, mask: str, message: str, tmp_path: Path) -> None:
    Image.new("L", (40, 20)).save(tmp_path / "black.png")
    Image.new("L", (4, 4), 255).save(tmp_path / "small.png")
    with pytest.raises(UserError, match=message):
        read(write_boxes(tmp_path, [(box, mask)]))


def test_a_subset_asks_for_boxes_in_all_of_its_lines_or_in_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 3: no box here, unlike line 2 of subset 'ct-lung-find'"):
        read(write_boxes(tmp_path, [("0 0 1 1", ""), ("", "")]))


def test_boxes_make_a_subset_of_detection_whose_questions_name_the_label(tmp_path: Path) -> None:
    path = write_boxes(tmp_path, [("0 0 10 10", "")] * 1 + [(f"{x} 0 20 10", "") for x in range(9)])
    source, catalog = open_split(path)
    (subset,) = catalog.subsets
    assert (subset.kind, subset.num_options, subset.chance) == (Kind.DETECTION, 0, 0)
    exam = pose_test(source, {subset.name: subset}, subset.name, ORIGINAL)
    assert all("tumour" in question.text for question in exam.questions)
    assert all(isinstance(question, BoxQuestion) and question.boxes for question in exam.questions)


def write_box_file(folder: Path, lines: list[str]) -> Path:
    (folder / "boxes.csv").write_text("\n".join(["image,label,x0,y0,x1,y1", *lines]), encoding="utf-8")
    return folder / "boxes.csv"


def test_a_file_of_boxes_makes_its_subsets_ask_where_its_labels_are(tmp_path: Path) -> None:
    """Images without a box of their own are left out there; other subsets keep asking for the manifest's label."""
    path = write_manifest(tmp_path, make_lines(tmp_path, num_each=10))
    for number in range(20):
        write_image(tmp_path / f"other{number}.png", 500 + number)
    with path.open("a") as file:
        file.writelines(f"other{number}.png,{('a', 'b')[number % 2]},MRI,Brain,Bleed,\n" for number in range(20))
    boxes = [
        f"images/no{number}.png,{label},0,0,{size},{size}"
        for number in range(8)
        for label, size in (("cell", 6), ("debris", 12))
    ]
    boxes.append("images/no0.png,cell,3,3,9,9")
    source, catalog = open_split(path, f"data.boxes={write_box_file(tmp_path, boxes)}")
    located = catalog.find("ct-lung-mass")
    assert (located.kind, located.labels) == (Kind.DETECTION, ("cell", "debris"))
    assert located.num_train + located.num_test == 16
    assert catalog.find("mri-brain-bleed").kind is Kind.CLASSIFICATION
    samples = [sample for split in Split for sample in source.read_samples("ct-lung-mass", split)]
    assert sorted(len(sample.boxes) for sample in samples) == [1] * 15 + [2]
    assert {sample.boxes[0] for sample in samples if sample.label == "debris"} == {(0, 0, 1, 1)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/no0.png,cell,0,0,13,6", "does not lie within the 12 x 12 pixels"),
        ("images/no0.png,cell,0,0,x,6", "is not `x0 y0 x1 y1`"),
        ("images/no0.png,,0,0,6,6", "line 2: empty image or label"),
    ],
)
def test_boxes_of_a_file_that_can_not_be_are_refused(line: str, message: str, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, make_lines(tmp_path))
    with pytest.raises(UserError, match=message):
        read(path, f"data.boxes={write_box_file(tmp_path, [line])}")
