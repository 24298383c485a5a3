"""Tables as spreadsheets and scripts write them, and Parquet that holds more than it seems."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cg_lab.catalog import Catalog
from cg_lab.config import read_study
from cg_lab.data import tabular
from cg_lab.data.sources import read_catalog
from cg_lab.data.tabular import read_lines
from cg_lab.errors import UserError

ELEMENTS = "data.elements={modality: CT, area: Lung, task: Mass}"


def read_text(folder: Path, payload: bytes) -> list[dict[str, str]]:
    (folder / "m.csv").write_bytes(payload)
    return [cells for _, cells in read_lines(folder / "m.csv", setting="data.path").cells]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [", ", ";", "\t", " | "])
def test_spaces_quotes_and_empty_lines_around_cells_mean_nothing(delimiter: str, ending: str, tmp_path: Path) -> None:
    lines = [["image", "label"], ['"a.png"', '"yes"'], ["", ""], ["b.png", "no"], [""]]
    text = ending.join(delimiter.join(cells) for cells in lines)
    assert [
        {name: text.strip() for name, text in cells.items()} for cells in read_text(tmp_path, text.encode("utf-16"))
    ] == [{"image": "a.png", "label": "yes"}, {"image": "b.png", "label": "no"}]


@pytest.mark.parametrize("payload", [b"PK\3\4\0\0workbook", "image,label\n".encode("utf-16-le"), b"\xd0\xcf\x11\xe0\n"])
def test_what_is_no_text_is_one_line(payload: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read_text(tmp_path, payload)
    assert str(refused.value).isprintable()
    assert "UTF-8" in str(refused.value)


def write_parquet(folder: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), folder / "m.parquet")
    return folder / "m.parquet"


def test_a_text_that_stands_for_many_is_held_once(tmp_path: Path) -> None:
    many = pa.DictionaryArray.from_arrays(np.zeros(8000, np.int32), ["x" * 1_000_000])
    path = write_parquet(tmp_path, image=many)
    tracemalloc.start()
    try:
        began = time.monotonic()
        assert sum(1 for _ in read_lines(path, setting="data.path").cells) == 8000
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 5


def test_parquet_beyond_the_limits_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path, image=pa.array([f"{number}.png" for number in range(2000)]))
    monkeypatch.setattr(tabular, "MAX_GROUP_BYTES", 10_000)
    with pytest.raises(UserError, match=r"a row group unpacks to \d+ bytes, at most 10000 are read"):
        read_lines(path, setting="data.path")
    monkeypatch.setattr(tabular, "MAX_LINES", 1000)
    with pytest.raises(UserError, match="2000 lines, at most 1000 are read"):
        read_lines(path, setting="data.path")
    with pytest.raises(UserError, match="more than 1000 lines"):
        read_text(tmp_path, b"image\n" + b"a\n" * 2000)


def test_what_arrow_can_not_say_is_no_text_and_stops_nothing(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path,
        image=pa.array(["a.png"]), took=pa.array([2**62], pa.duration("s")), when=pa.array([2**62], pa.timestamp("us")),
        zone=pa.array([0], pa.timestamp("us", "Mars/Olympus")), patient=pa.array([{"id": 7}]),
    )  # fmt: skip
    ((_, cells),) = read_lines(path, setting="data.path").cells
    assert cells["image"] == "a.png"
    assert cells["took"] == "<duration[s]>"
    assert cells["patient"] == '{"id": 7}'


# Beside class folders


def write_folders(folder: Path, patterns: tuple[str, ...] = ("{label}/{number}.png",)) -> list[str]:
    for place, pattern in enumerate(patterns):
        for number in range(12):
            path = folder / "f" / pattern.format(label="ab"[number % 2], number=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([place, number]).integers(0, 256, (9, 9), dtype=np.uint8)
            Image.fromarray(noise).save(path)
    return ["data=imagefolder", f"data.path={folder}/f", "data.levels=[label]", ELEMENTS]


def read(folder: Path, *overrides: str) -> Catalog:
    return read_catalog(read_study(list(overrides)).data, folder / "kept")


def tell(catalog: Catalog) -> dict[str, int]:
    return {note.reason: note.count for note in catalog.notes if "group" not in note.reason}


@pytest.mark.parametrize(
    "mask",
    ["{label}/{number}_mask.png", "{label}/{number}-GT.png", "{label}/{number} (seg).png", "{label}/{number}_label.PNG",
     "{label}/masks/{number}.png", "{label}/lung_masks/{number}_mask.png"],
)  # fmt: skip
def test_masks_are_known_by_their_own_names_or_their_folders(mask: str, tmp_path: Path) -> None:
    overrides = write_folders(tmp_path, ("{label}/{number}.png", mask))
    if "(" in mask:
        assert not tell(read(tmp_path, *overrides))  # nobody writes so: an image
        return
    assert tell(read(tmp_path, *overrides)) == {
        "mask of the image beside it, left out (data.masks=boxes asks for it)": 12
    }


def test_a_folder_of_masks_beside_the_one_of_images_gives_boxes(tmp_path: Path) -> None:
    overrides = write_folders(tmp_path, ("{label}/images/{number}.png", "{label}/masks/{number}.png"))
    catalog = read(tmp_path, *overrides, "data.masks=boxes")
    assert [subset.kind for subset in catalog.subsets] == ["detection"]
    assert sum(subset.num_train + subset.num_test for subset in catalog.subsets) == 12


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_patients_stand_beside_images_in_csv_or_json_lines(name: str, tmp_path: Path) -> None:
    overrides = write_folders(tmp_path)
    rows = [{"file_name": f"./{'ab'[number % 2]}\\{number}.png", "patient": number // 3} for number in range(12)]
    rows.append({"file_name": "a/gone.png", "patient": 9})
    lines = ["file_name,patient", *(f"{row['file_name']},{row['patient']}" for row in rows)]
    text = "\n".join(lines if name.endswith("csv") else map(json.dumps, rows))
    (tmp_path / "f" / name).write_text(text)
    catalog = read(tmp_path, *overrides)
    assert catalog.subsets[0].has_groups
    assert tell(catalog)[f"line of {name} names no image that is there"] == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0.png,1\n1.png,2", "none of its 2 lines names an image that is there, such as '0.png'"),
        ("a/0.png,1\na/0.png,2", "line 3: file_name 'a/0.png' is there already"),
    ],
)
def test_metadata_that_tells_nothing_or_twice_is_refused(lines: str, message: str, tmp_path: Path) -> None:
    overrides = write_folders(tmp_path)
    (tmp_path / "f/metadata.csv").write_text(f"file_name,patient\n{lines}\n")
    with pytest.raises(UserError, match=message):
        read(tmp_path, *overrides)


# Conversations


def make_record(number: int, answer: str, text: str = "<image><image>\nWhat?\n(A) yes\nB. no") -> dict[str, object]:
    turns = [{"from": "human", "value": text}, {"from": "gpt", "value": answer}]
    return {"image": f"f/{'ab'[number % 2]}/{number}.png", "conversations": turns}


@pytest.mark.parametrize("answers", [("A", "B"), ("(A)", "(B)"), ("A. yes", "B: no"), ("yes", "no."), ("a", "B. No")])
@pytest.mark.parametrize("name", ["l.json", "l.jsonl", "lines.json"])
def test_letters_and_their_options_are_one_label(name: str, answers: tuple[str, str], tmp_path: Path) -> None:
    write_folders(tmp_path)
    options = "What?\nA. yes\nB. no"
    records = [make_record(number, answers[number % 2], options) for number in range(12)]
    text = json.dumps(records) if name == "l.json" else "\n".join(map(json.dumps, records))
    (tmp_path / name).write_text(text)
    catalog = read(tmp_path, "data=conversations", f"data.path={tmp_path}/{name}", ELEMENTS)
    assert catalog.subsets[0].labels == ("no", "yes")


def test_records_without_an_image_or_with_several_are_left_out(tmp_path: Path) -> None:
    write_folders(tmp_path)
    records = [make_record(number, ("yes", "no")[number % 2], "What?") for number in range(12)]
    others = (None, [], ["f/a/0.png", "f/b/1.png"])
    records += [{**make_record(0, "yes"), "image": images} for images in others]
    (tmp_path / "l.json").write_text(json.dumps(records))
    catalog = read(tmp_path, "data=conversations", f"data.path={tmp_path}/l.json", ELEMENTS)
    assert tell(catalog) == {"record without an image, left out": 2, "record with several images, left out": 1}
