"""What people have: each form of listing is read as it is usually given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data.samples import Sample, Split, ask
from cg_lab.data.sources import list_sources, load_source, open_source, read_catalog
from cg_lab.data.table import TableSource
from cg_lab.errors import UserError
from cg_lab.mat import Kind
from tests.data.making_films import make_film

BREAST = "data.elements={modality: US, area: Breast, task: Find}"
CHEST = "data.elements={modality: X-ray, area: Chest, task: Findings}"


def draw(number: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, shape or (16, 16), dtype=np.uint8)


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(number)).save(path)


def read(folder: Path, *overrides: str) -> tuple[Catalog, TableSource]:
    catalog = read_catalog(read_study([*overrides, "data.test_share=0.25"]).data, folder / "kept")
    source = open_source(catalog, folder / "kept")
    assert isinstance(source, TableSource)
    return catalog, source


def list_samples(catalog: Catalog, source: TableSource) -> list[Sample]:
    return [sample for subset in catalog.names for split in Split for sample in source.read_samples(subset, split)]


def tell(catalog: Catalog, reason: str) -> int:
    return sum(note.count for note in catalog.notes if reason in note.reason)


def test_every_source_has_its_parts_and_a_choice_in_the_configuration() -> None:
    conf = Path(__file__).resolve().parents[2] / "conf" / "data"
    assert {path.stem for path in conf.glob("*.yaml")} - {"med_mat"} == set(list_sources())
    for name in list_sources():
        assert load_source(name).Settings.__doc__


# Tables of findings


def write_chexpert(folder: Path) -> list[str]:
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA,Edema,Cardiomegaly,No Finding"]
    values = ("1.0,0.0,", ",1.0,", ",,1.0", "-1.0,,", "1.0,1.0,", ",-1.0,1.0")
    for number in range(48):
        path = f"train/patient{number // 2:05d}/study1/view{number % 2}_frontal.jpg"
        save(folder / path, number)
        lines.append(f"CheXpert-v1.0-small/{path},Male,60,Frontal,AP,{values[number // 2 % 6]}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return ["data=findings", f"data.path={folder}/train.csv", "data.columns.image=Path", CHEST,
            "data.labels=[Edema,Cardiomegaly,No Finding]"]  # fmt: skip


@pytest.mark.parametrize(
    ("uncertain", "labels", "left"),
    [
        ("left_out", ("Cardiomegaly", "Edema", "Edema, Cardiomegaly", "No Finding"), 16),
        ("negative", ("Cardiomegaly", "Edema", "Edema, Cardiomegaly", "No Finding"), 0),
        ("positive", ("Cardiomegaly", "Edema", "Edema, Cardiomegaly", "No Finding"), 0),
    ],
)
def test_uncertain_findings_are_left_out_or_count_as_the_user_says(
    uncertain: str, labels: tuple[str, ...], left: int, tmp_path: Path
) -> None:
    overrides = write_chexpert(tmp_path)
    catalog, source = read(tmp_path, *overrides, f"data.uncertain={uncertain}")
    assert set(catalog.subsets[0].labels) == set(labels)
    assert tell(catalog, "finding is uncertain") == left
    groups = [{sample.group for sample in source.read_samples(catalog.names[0], split)} for split in Split]
    assert not groups[0] & groups[1]  # views of a patient, by the folder's name
    assert None not in groups[0]


def test_one_finding_is_asked_about_alone(tmp_path: Path) -> None:
    catalog, _ = read(tmp_path, *write_chexpert(tmp_path), "data.finding=Edema")
    assert catalog.subsets[0].labels == ("Edema", "no Edema")
    assert tell(catalog, "finding is uncertain") == 8
    with pytest.raises(UserError, match="data.finding: no 'Oedema'; known: .* Did you mean 'Edema'"):
        read(tmp_path, *write_chexpert(tmp_path), "data.finding=Oedema")


def test_several_labels_of_one_column_are_parted(tmp_path: Path) -> None:
    lines = ["Image Index,Finding Labels,Patient ID,Patient Age"]
    for number in range(48):
        save(tmp_path / f"images_{number % 3:03d}" / f"{number // 3:08d}_{number % 3:03d}.png", number)
        label = ("No Finding", "Mass", "Mass|Edema", "Edema|Mass")[number // 3 % 4]
        lines.append(f"{number // 3:08d}_{number % 3:03d}.png,{label},{number // 3},40")
    (tmp_path / "entry.csv").write_text("\n".join(lines))
    catalog, source = read(tmp_path, "data=findings", f"data.path={tmp_path}/entry.csv", CHEST,
                           "data.columns={image: Image Index, label: Finding Labels}")  # fmt: skip
    assert catalog.subsets[0].labels == ("Edema, Mass", "Mass", "No Finding")
    assert len({sample.group for sample in list_samples(catalog, source)}) == 16
    assert tell(catalog, "column not used") == 1


def test_one_hot_columns_are_found_and_images_need_no_ending(tmp_path: Path) -> None:
    lines = ["image,MEL,NV,BCC"]
    for number in range(36):
        save(tmp_path / "jpg" / f"ISIC_{number:07d}.jpg", number)
        lines.append(f"ISIC_{number:07d}," + ",".join("1.0" if number % 3 == place else "0.0" for place in range(3)))
    (tmp_path / "truth.csv").write_text("\n".join(lines))
    elements = "data.elements={modality: Der, area: Skin, task: Cancer}"
    catalog, _ = read(
        tmp_path, "data=findings", f"data.path={tmp_path}/truth.csv", f"data.root={tmp_path}/jpg", elements
    )
    assert catalog.subsets[0].labels == ("BCC", "MEL", "NV")
    (tmp_path / "truth.csv").write_text("\n".join([*lines, "ISIC_0000001,1.0,1.0,0.0"]))
    with pytest.raises(UserError, match=r"name those of findings such as data.labels=\[MEL,NV,BCC\]"):
        read(tmp_path, "data=findings", f"data.path={tmp_path}/truth.csv", elements)


@pytest.mark.parametrize("value", ["2", "maybe"])
def test_a_finding_that_is_neither_there_nor_not_is_refused(value: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"image,Edema,Mass\na.png,1,0\nb.png,{value},0\n")
    with pytest.raises(UserError, match=f"line 3: Edema '{value}' is none of 1, 0, -1 and empty"):
        read(tmp_path, "data=findings", f"data.path={tmp_path}/t.csv", CHEST, "data.labels=[Edema,Mass]")


@pytest.mark.parametrize("source", ["findings", "dicom_table"])
def test_a_column_of_labels_that_is_not_there_is_told(source: str, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,dx\na,yes\n")
    with pytest.raises(UserError, match=r"data.columns.label: no column 'diagnosis'; known: dx, image"):
        read(tmp_path, f"data={source}", f"data.path={tmp_path}/m.csv", "data.columns={label: diagnosis}",
             "data.elements={modality: CT, area: Lung, task: T}")  # fmt: skip


def test_a_finding_that_no_line_has_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,label\na,Edema\nb,Mass | Edema\n")
    with pytest.raises(UserError, match=r"data.finding: no 'Edma'; known: Edema, Mass. Did you mean 'Edema'"):
        read(tmp_path, "data=findings", f"data.path={tmp_path}/m.csv", "data.finding=Edma",
             "data.elements={modality: CT, area: Lung, task: T}")  # fmt: skip


# DICOM with a table


@pytest.mark.parametrize("by", ["name", "path", "SOPInstanceUID", "StudyInstanceUID"])
def test_a_table_names_films_by_name_path_or_tag(by: str, tmp_path: Path) -> None:
    lines = ["image,target"]
    for number in range(24):
        uid = f"1.2.3.{number + 1}"
        film = make_film(draw(number), patient=f"Erika{number // 2}", SOPInstanceUID=uid, StudyInstanceUID=f"{uid}.7")
        film.file_meta.MediaStorageSOPInstanceUID = uid
        path = Path(f"s{number % 3}/f{number}.dcm")
        (tmp_path / "films" / path.parent).mkdir(parents=True, exist_ok=True)
        film.save_as(tmp_path / "films" / path, enforce_file_format=True)
        name = {"name": path.stem, "path": str(path), "SOPInstanceUID": uid, "StudyInstanceUID": f"{uid}.7"}[by]
        lines.append(f"{name},{number % 2}")
    (tmp_path / "labels.csv").write_text("\n".join([*lines, "nobody,1"]))
    catalog, source = read(
        tmp_path, "data=dicom_table", f"data.path={tmp_path}/labels.csv", f"data.root={tmp_path}/films",
        "data.elements={task: Pneumonia}", "data.columns.label=target",
    )  # fmt: skip
    assert catalog.subsets[0].triplet == "CT:Chest:Pneumonia"
    assert tell(catalog, "line names no DICOM image that is there") == 1
    assert len({sample.group for sample in list_samples(catalog, source)}) == 12
    written = b"".join(path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert b"Erika" not in written


def test_boxes_of_films_are_x_y_width_and_height_and_negatives_are_not_asked(tmp_path: Path) -> None:
    lines = ["patientId,x,y,width,height,Target"]
    for number in range(24):
        make_film(draw(number), patient=f"P{number}").save_as(tmp_path / f"id{number}.dcm", enforce_file_format=True)
        lines += [f"id{number},2,3,4,5,1", f"id{number},8,8,2,2,1"] if number % 2 else [f"id{number},,,,,0"]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    catalog, source = read(
        tmp_path, "data=dicom_table", f"data.path={tmp_path}/l.csv", f"data.boxes={tmp_path}/l.csv",
        "data.columns={image: patientId, label: Target}", "data.box_columns={image: patientId}",
        "data.elements={task: Opacity}",
    )  # fmt: skip
    assert catalog.subsets[0].kind is Kind.DETECTION
    samples = list_samples(catalog, source)
    assert len(samples) == 12
    assert samples[0].boxes == ((2 / 16, 3 / 16, 6 / 16, 8 / 16), (0.5, 0.5, 10 / 16, 10 / 16))
    assert tell(catalog, "line without corners") == 12


# Boxes and masks


def test_a_box_table_may_lack_corners_but_not_some_of_them(tmp_path: Path) -> None:
    lines = ["image,label,modality,area,task"]
    for number in range(24):
        save(tmp_path / f"{number}.png", number)
        lines.append(f"{number}.png,opacity,CT,Lung,Opacity")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    boxes = ["image;label;x_min;y_min;x_max;y_max;rad"]
    boxes += [f"{number};mass;{'1;1;4;4' if number % 2 else ';;;'};R1" for number in range(24)]
    (tmp_path / "b.csv").write_text("\n".join(boxes))
    catalog, source = read(tmp_path, "data=manifest", f"data.path={tmp_path}/m.csv", f"data.boxes={tmp_path}/b.csv")
    assert len(list_samples(catalog, source)) == 12
    assert {sample.label for sample in list_samples(catalog, source)} == {"mass"}
    assert tell(catalog, "column not used") == 1
    (tmp_path / "b.csv").write_text("\n".join([*boxes, "1;mass;1;;4;4;R1"]))
    with pytest.raises(UserError, match="line 26: y_min is empty, and the others are not"):
        read(tmp_path, "data=manifest", f"data.path={tmp_path}/m.csv", f"data.boxes={tmp_path}/b.csv")


def write_busi(folder: Path) -> list[str]:
    for label in ("benign", "malignant"):
        for number in range(12):
            save(folder / label / f"{label} ({number}).png", 100 * len(label) + number)
            for place in range(1 + number % 2):
                mask = np.zeros((16, 16), np.uint8)
                mask[2 + place * 8 : 5 + place * 8, 3:7] = 255
                name = f"{label} ({number})_mask{f'_{place}' if place else ''}.png"
                Image.fromarray(mask).save(folder / label / name)
    return ["data=imagefolder", f"data.path={folder}", "data.levels=[label]",
            "data.elements={modality: US, area: Breast, task: Cancer}"]  # fmt: skip


def test_masks_beside_images_are_no_images_of_their_own(tmp_path: Path) -> None:
    catalog, source = read(tmp_path, *write_busi(tmp_path / "busi"))
    assert len(list_samples(catalog, source)) == 24
    assert tell(catalog, "mask of the image beside it, left out") == 36


def test_masks_beside_images_are_boxes_where_the_user_says_so(tmp_path: Path) -> None:
    catalog, source = read(tmp_path, *write_busi(tmp_path / "busi"), "data.masks=boxes")
    assert catalog.subsets[0].kind is Kind.DETECTION
    samples = list_samples(catalog, source)
    assert {len(sample.boxes) for sample in samples} == {1, 2}
    assert samples[0].boxes[0] == (3 / 16, 2 / 16, 7 / 16, 5 / 16)


def test_cocos_boxes_are_asked_for_by_category(tmp_path: Path) -> None:
    for number in range(16):
        save(tmp_path / "img" / f"{number}.png", number)
    annotations = [
        {"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": [1, 2, 3, 4], "iscrowd": number == 15}
        for number in range(16)
    ]
    whole = {
        "images": [{"id": number, "file_name": f"{number}.png", "patient": f"{number // 4}"} for number in range(17)],
        "annotations": [*annotations, {"id": 99, "image_id": 3, "category_id": 2, "bbox": [0, 0, 0, 5]}],
        "categories": [{"id": 1, "name": "mass"}, {"id": 2, "name": "cyst"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(whole))
    overrides = [
        "data=coco",
        f"data.path={tmp_path}/coco.json",
        "data.elements={modality: US, area: Breast, task: Find}",
    ]
    catalog, source = read(tmp_path, *overrides)
    samples = list_samples(catalog, source)
    assert len(samples) + len(source.read_rows(catalog.names[0], "moved")) == 15
    assert samples[0].boxes == ((1 / 16, 2 / 16, 4 / 16, 6 / 16),)
    assert catalog.subsets[0].has_groups
    assert [tell(catalog, reason) for reason in ("of a crowd", "without a box", "without an annotation")] == [1, 1, 2]
    whole["annotations"] = [{"image_id": 0, "category_id": 7}]
    (tmp_path / "coco.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match="annotation 1: no category 7 in the file"):
        read(tmp_path, *overrides)


def test_voc_counts_pixels_from_one_and_declares_nothing(tmp_path: Path) -> None:
    xml = "<annotation><filename>{0}.png</filename><object><name>mass</name><bndbox>{1}</bndbox></object></annotation>"
    corners = "<xmin>1</xmin><ymin>3</ymin><xmax>16</xmax><ymax>4</ymax>"
    (tmp_path / "Annotations").mkdir()
    for number in range(12):
        save(tmp_path / "JPEGImages" / f"{number}.png", number)
        (tmp_path / f"Annotations/{number}.xml").write_text(xml.format(number, corners))
    overrides = [
        "data=voc",
        f"data.path={tmp_path}/Annotations",
        "data.elements={modality: US, area: Breast, task: Find}",
    ]
    catalog, source = read(tmp_path, *overrides)
    assert list_samples(catalog, source)[0].boxes == ((0.0, 2 / 16, 1.0, 4 / 16),)
    (tmp_path / "Annotations/3.xml").write_text('<!DOCTYPE a [<!ENTITY x "y">]><annotation/>')
    with pytest.raises(UserError, match="3.xml: declares entities, which are not read"):
        read(tmp_path, *overrides)


# Conversations


@pytest.mark.parametrize("form", ["llava", "sharegpt"])
def test_conversations_give_labels_and_questions_of_their_own(form: str, tmp_path: Path) -> None:
    records: list[dict[str, object]] = []
    for number in range(24):
        save(tmp_path / f"{number}.png", number)
        text, answer = "<image>\nWhat is it?\nA. benign\nB. malignant", "AB"[number % 2]
        turns = (
            {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": f"{answer}."}]}
            if form == "llava"
            else {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]}
        )
        image = {"image": f"{number}.png"} if form == "llava" else {"images": [f"{number}.png"]}
        records.append({"id": number, **image, **turns, "subject_id": number // 3})
    (tmp_path / "l.json").write_text(json.dumps(records))
    catalog, source = read(tmp_path, "data=conversations", f"data.path={tmp_path}/l.json", "data.questions=own",
                           "data.elements={modality: CT, area: Lung, task: Cancer}")  # fmt: skip
    assert catalog.subsets[0].labels == ("benign", "malignant")
    samples = list_samples(catalog, source)
    assert len({sample.group for sample in samples}) == 8
    asked = ask(source, samples[0])
    assert (asked.text, asked.options) == ("<image> What is it?".removeprefix("<image> "), ("benign", "malignant"))


# Volumes and archives


@pytest.mark.parametrize(("plane", "slices", "ending"), [("axial", 1, ".nii.gz"), ("coronal", 3, ".nii")])
def test_slices_of_a_volume_are_chosen_and_stay_together(plane: str, slices: int, ending: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    for number in range(16):
        folder = tmp_path / "vol" / ("no", "yes")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).normal(0, 100, (10, 12, 14)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"v{number}{ending}")
    (tmp_path / "vol/no/broken.nii").write_bytes(b"no volume")
    catalog, source = read(
        tmp_path, "data=nifti", f"data.path={tmp_path}/vol", "data.levels=[label]", f"data.plane={plane}",
        f"data.slices={slices}", "data.window=[-100,100]", "data.elements={modality: MRI, area: Brain, task: Tumor}",
    )  # fmt: skip
    samples = list_samples(catalog, source)
    assert len(samples) == 16 * slices
    assert tell(catalog, "no volume, left out") == 1
    assert source.read_images(tuple(samples[:1]))[0].size == {"axial": (10, 12), "coronal": (10, 14)}[plane]
    if slices > 1:
        groups = [{sample.group for sample in source.read_samples(catalog.names[0], split)} for split in Split]
        assert not groups[0] & groups[1]
        assert len(groups[0] | groups[1]) == 16


def test_names_are_found_in_either_form_of_unicode(tmp_path: Path) -> None:
    lines = ["image\tlabel\tmodality\tarea\ttask"]
    for number in range(12):
        save(tmp_path / f"cafe\u0301{number}.PNG", number)
        lines.append(f"caf\u00e9{number}.PNG\t{'ab'[number % 2]}\tCT\tLung\tMass")
    (tmp_path / "m.tsv").write_text("\n".join(lines), encoding="utf-16")
    catalog, source = read(tmp_path, "data=manifest", f"data.path={tmp_path}/m.tsv")
    samples = list_samples(catalog, source)
    assert len(source.read_images(tuple(samples))) == 12


def test_boxes_of_images_that_are_not_there_are_counted_or_refused(tmp_path: Path) -> None:
    lines = ["image,label,modality,area,task"]
    boxes = ["image,label,x,y,width,height", "gone.png,a,1,1,4,4"]
    for number in range(12):
        Image.fromarray(draw(number)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},CT,Lung,T")
        boxes.append(f"{number}.png,{'ab'[number % 2]},1,1,4,4")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    (tmp_path / "b.csv").write_text("\n".join(boxes))
    overrides = ("data=manifest", f"data.path={tmp_path}/m.csv", f"data.boxes={tmp_path}/b.csv")
    assert tell(read(tmp_path, *overrides)[0], "image of the boxes that is not among the images") == 1
    (tmp_path / "b.csv").write_text("\n".join(boxes[:2]))
    with pytest.raises(UserError, match="data.boxes: none of its 1 images is among those read, such as 'gone.png'"):
        read(tmp_path, *overrides)
